"""Bugs in one request: admission, reading, stream, hedging, health check."""

from .mutant import Mutant, exam
from .operators import Before, Calls, Drops, Keeps, Reads, Returns

GAPS = ("tests/mutation/test_gaps.py",)
HEDGING = ("tests/gateway/test_hedging.py",)

ATTEMPTS = (
    Mutant(
        "a trial blocks other calls until its stream ends",
        "gateway.request.admission:Admission.content_came",
        Keeps("self.permit.has_content"),
        "a trial that answers lets other calls begin",
        ("tests/real/test_class_05_waiting.py",),
    ),
    Mutant(
        "a reload forgets the time that the same server has named",
        "gateway.request.admission:Admission._is_asked_to_wait",
        Returns("False"),
        "never earlier than asked, whatever is configured anew",
        ("tests/gateway/test_reload.py",),
    ),
    Mutant(
        "silence in the middle is waited for",
        "gateway.request.reading:ResponseReader",
        Reads("idle", "float('inf')"),
        "a stream that stalls is left after the idle time-out",
        (exam("S09"),),
    ),
    Mutant(
        "pings keep a stream open for ever",
        "gateway.request.reading:ResponseReader",
        Reads("content", "float('inf')"),
        "bytes without content do not keep a stream open",
        (exam("S09"),),
    ),
    Mutant(
        "an empty answer is a success",
        "gateway.request.decoding:ResponseDecoder",
        Reads("NEEDS_CONTENT", "()"),
        "a 200 without content is a failure",
        (exam("S23"),),
    ),
    Mutant(
        "a failure directly behind the first content is delivered with it",
        "gateway.request.reading:ResponseReader.read_until_content",
        Drops("check"),
        "what broke before anything was delivered is failed over, unseen by the caller",
        GAPS,
    ),
    Mutant(
        "an answer may be twice as long as its limit",
        "gateway.request.decoding:ResponseDecoder",
        Reads("_max_bytes", "2 * value"),
        "an answer that is longer than its limit is left",
        ("tests/gateway/test_answer_limit.py",),
    ),
    Mutant(
        "an echoed key stays in the message",
        "gateway.request.prepared:PreparedAttempt.failed",
        Reads("key", "None"),
        "a key is removed from what a provider sends inside a stream",
        (exam("S22"),),
    ),
    Mutant(
        "a health check that hangs is not recorded",
        "gateway.workers.cooldowns:Cooldowns.suspect",
        Before("if kind is FailureKind.STALLED:\n    return"),
        "a health check that hangs makes its worker unavailable",
        (exam("S20"),),
    ),
)

STREAMS = (
    Mutant(
        "leaving a stream does not close its attempt",
        "gateway.request.stream:ChatStream._leave",
        Drops("_close_attempt"),
        "leaving closes the connection before control returns",
        (exam("S17"),),
    ),
    Mutant(
        "an answer starts again after a tool call",
        "gateway.request.stream:ChatStream",
        Reads("may_have_acted", "False"),
        "never a duplicate tool call",
        (exam("S24"),),
    ),
    Mutant(
        "a continuation repeats the text",
        "gateway.request.stream:ChatStream",
        Calls("ContinuationDeduplicator", "None"),
        "nothing is delivered twice",
        ("tests/gateway/test_interruptions.py", exam("S08")),
    ),
    Mutant(
        "a buffered answer keeps the broken beginning",
        "gateway.request.stream:ChatStream._fail_over",
        Drops("_pending.clear"),
        "complete() is one answer, not one and a half",
        (exam("S08", "S09"),),
    ),
)

RACES = (
    Mutant(
        "a race goes on after it was won",
        "gateway.request.hedging:Race",
        Drops("_scope.cancel"),
        "the loser of a race is left at once",
        HEDGING,
    ),
    Mutant(
        "an answer is lost because the other worker of a race fails",
        "gateway.request.hedging:Race._compete",
        Reads("_winner", "None"),
        "the answer that won stays, and the other one is closed",
        HEDGING,
    ),
    Mutant(
        "evaluating the candidates takes a turn",
        "gateway.request.candidates:CallCandidates.evaluate_all",
        Before("self.choose(trio.current_time())"),
        "to explain a choice changes nothing",
        ("tests/gateway/test_worker_index.py",),
    ),
)

MUTANTS = (*ATTEMPTS, *STREAMS, *RACES)
