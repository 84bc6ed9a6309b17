"""Every example runs as a reader runs it, and prints what it should."""

import ast
import sys
from pathlib import Path

import pytest
import trio

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))
PATIENCE_SECONDS = 60.0

NEEDS = {"telemetry": ("opentelemetry.sdk", "prometheus_client"), "two_processes": ("glide",)}
"""What an example imports that the package does not need."""

SAYS = {
    "telemetry": """\
log:    WARNING worker openai is unavailable (overloaded)
log:    INFO failover from openai to anthropic: overloaded (HTTP 503): \
The engine is currently overloaded, please try again later
span:   POST: openai, overloaded
span:   POST: anthropic, served
span:   chat claude-sonnet-5-5: anthropic, served
metric: cortex_worker_status{status="unavailable",worker="openai"} 1.0
metric: cortex_worker_status{status="available",worker="anthropic"} 1.0
metric: cortex_failovers_total{from="openai",kind="overloaded",to="anthropic"} 1.0
metric: gen_ai_client_inference_usage_output_tokens_total\
{model="claude-sonnet-5-5",provider="anthropic",worker="anthropic"} 3.0
""",
    "tool_loop": """\
get_weather({"city": "Atlantis"}) failed: LookupError: there is no city Atlantis
get_weather({"city": "Paris"}) returned: Paris: sun for 1 day
Paris has sun. Atlantis is not a city I know.
The rounds were answered by openai and anthropic
""",
    "structured_answer": """\
2 x tea
1 x cup
shipping: express
answered by anthropic, in 2 rounds
""",
    "conversation": """\
anthropic: It is 42.
You are welcome.
  system: Be brief.
  user: What is 17 + 25?
  assistant: ToolCall
  tool: ToolResult
  assistant: It is 42.
  user: Thank you!
  assistant: You are welcome.
saved and read: 7 messages, 38 tokens
""",
    "budget": """\
otters: $1.08 (anthropic $0.50, anthropic $0.50, openai $0.08)
then: the budget of $1.00 is used up ($1.08006 so far); nothing was sent
in all: $1.08 and 160,002 tokens
""",
    "files": """\
File: empty.pdf is empty
gemini: It fits the report.
asked: anthropic, anthropic, gemini
sent: image/png, application/pdf
""",
    "embeddings": """\
4 vectors of text-embedding-3-small: first served, first failed, second served
15 tokens, the last ones counted by second
most alike: what a supervisor restarts
""",
    "failover_unnoticed": """\
The user read: A good failover is invisible.
The attempts:
  1. openai failed (truncated)
  2. openai failed (truncated)
  3. anthropic served
""",
    "next_key": """\
request 1: sk-***st was limited, then sk-***er served
request 2: sk-***er served
request 3: sk-***er served
openai is available
the limited key was asked 1 time
""",
    "load_moves": """\
 0.0 s: openai was used   , anthropic served
 1.0 s: openai was used   , anthropic served
 2.0 s: openai was used   , anthropic served
 3.0 s: openai was skipped, anthropic served
 4.0 s: openai was skipped, anthropic served
 5.0 s: openai was skipped, anthropic served
 6.0 s: openai was skipped, anthropic served
 7.0 s: openai was used   , openai served
 8.0 s: openai was used   , openai served
""",
    "local_model": """\
with a network:    openai answers
without a network: ollama answers: I am still here.
unreachable were   openai, anthropic, groq, gemini, xai, cohere
""",
    "serve_in_your_nursery": """\
status:   200
worker:   anthropic
answer:   Hello from the other provider.
""",
    "echo_server": """\
first:  b''
second: b'hello'
""",
    "rate_limiter": """\
0.0 s: request 1 runs
0.1 s: request 2 runs
0.8 s: request 4 gave up
1.0 s: request 3 runs
1.1 s: request 5 runs
2.0 s: request 6 runs
""",
    "pipeline": """\
1
4
16
25
all steps are done
""",
    "periodic_job": """\
  0.0 s: run 1 is fine
  9.6 s: run 2 fails
 10.6 s: run 3 fails
 12.6 s: run 4 fails
 16.3 s: run 5 is fine
 26.4 s: run 6 is fine
 36.1 s: run 7 is fine
 45.2 s: run 8 is fine
""",
    "two_processes": """\
first: anthropic served, 2 attempts
second: anthropic served, 1 attempts
openai was asked 1 time
""",
    "quickstart": """\
Hello! I am a simulated openai, and all I can do is to say so.
openai answered with gpt-6.1-terra: 20 tokens.
""",
}

LOGS = {
    "load_moves": "worker openai is unavailable (overloaded)\n",
    "two_processes": 2 * "worker openai is rate_limited (rate_limit)\n",
    "structured_answer": "worker openai is unavailable (truncated)\n",
}
"""The log lines of an example: Python prints warnings to stderr."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.slow
async def test_an_example_runs_and_does_what_it_says(example: Path) -> None:
    """With the simulator's providers in the environment; those that bring their own do not look there."""
    for package in NEEDS.get(example.stem, ()):
        pytest.importorskip(package, reason=f"needs {package} (the extra `test` has it)")
    command = [sys.executable, "-m", "cortex_trio.simulator", sys.executable, str(example)]
    with trio.fail_after(PATIENCE_SECONDS):
        ended = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert (ended.returncode, ended.stderr.decode()) == (0, LOGS.get(example.stem, ""))
    assert ended.stdout.decode() == SAYS.get(example.stem, ended.stdout.decode()) != ""


def test_no_expectation_is_left_over() -> None:
    assert set(SAYS) <= {example.stem for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_what_it_shows(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    assert len(text.splitlines()) < (26 if example.stem == "quickstart" else 60)
    assert ast.get_docstring(ast.parse(text))
