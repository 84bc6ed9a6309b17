"""Bugs in what a failure leads to, in what servers say about time, and in what hides API keys."""

from .mutant import Mutant, exam
from .operators import Before, Constant, Result, Returns

REACTIONS = "tests/failures/test_reactions.py"
RETRY_AFTER = ("tests/failures/test_retry_after.py",)
SECRETS = "tests/gateway/test_secrets.py"

MUTANTS = (
    Mutant(
        "another worker is asked after a refusal by policy",
        "failures.reactions:REACTIONS",
        Constant("{**value, K.CONTENT_POLICY: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES)}"),
        "a refusal by policy is raised",
        (REACTIONS, exam("S13")),
    ),
    Mutant(
        "a silent worker is asked again",
        "failures.reactions:REACTIONS",
        Constant("{**value, K.STALLED: attrs.evolve(value[K.STALLED], same_worker=SameWorker.ONCE)}"),
        "a worker that was silent is not asked again",
        (REACTIONS, exam("S06", "S07")),
    ),
    Mutant(
        "a server error uses up every key",
        "failures.reactions:REACTIONS",
        Constant("{**value, K.SERVER: attrs.evolve(value[K.SERVER], next_key=NextKey.YES)}"),
        "an overloaded provider does not cost all the keys",
        (REACTIONS, exam("S03")),
    ),
    Mutant(
        "milliseconds are taken for seconds",
        "failures.retry_after:_values",
        Before("unit = 1.0"),
        "every form of a hint is honoured alike",
        RETRY_AFTER,
    ),
    Mutant(
        "a hint may be infinite",
        "failures.retry_after:_sane",
        Result("seconds if seconds == float('inf') else result"),
        "an impossible number in a header makes no worker unavailable for ever",
        RETRY_AFTER,
    ),
    Mutant(
        "a key is shown in a repr",
        "gateway.settings.secrets:ApiKey.__repr__",
        Returns("self._value"),
        "a key is seen nowhere",
        (SECRETS,),
    ),
    Mutant(
        "the frames of an invalid configuration hold its keys",
        "gateway.settings.secrets:without_keys",
        Returns("read"),
        "no error reporter finds a key in a frame of the traceback",
        ("tests/gateway/test_config.py", SECRETS),
    ),
)
