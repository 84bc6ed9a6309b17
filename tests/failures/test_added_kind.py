"""To add a failure kind, one file is edited."""

import shutil
import subprocess
import sys
from pathlib import Path

import cortex_trio

MEMBER = """class FailureKind(str, enum.Enum):
    MAINTENANCE = "maintenance"
"""
ROW = """REACTIONS: Mapping[FailureKind, Reaction] = {
    K.MAINTENANCE: Reaction(
        SameWorker.NEVER, NextKey.NO, NextWorker.YES, cooldown=CooldownRule(Scope.WORKER, (300.0,), (60.0,))
    ),
"""
USES = """
from cortex_trio import AllWorkersFailed, Failure, FailureKind, ProviderError
from cortex_trio.failures import PRIMARY_ORDER, same_worker_of, SameWorker
from cortex_trio.gateway.request.errors import all_failed
from cortex_trio.gateway.workers.cooldowns import Cooldowns
from cortex_trio.gateway.workers.worker import breaker_weight

failure = Failure(FailureKind("maintenance"))
assert same_worker_of(failure) is SameWorker.NEVER
assert breaker_weight(failure) is None
cooldowns = Cooldowns()
cooldowns.failed("w", "m", None, failure, started=0.0, now=0.0)
assert cooldowns.of_worker("w", "m", 299.0).kind is failure.kind
assert cooldowns.of_worker("w", "m", 301.0) is None
errors = [ProviderError(Failure(FailureKind.SERVER), "a"), ProviderError(failure, "w")]
error = all_failed(errors, (), None)
assert isinstance(error, AllWorkersFailed) and error.primary is errors[1]
"""


def test_to_add_a_failure_kind_its_member_and_its_row_are_written_in_one_file(tmp_path: Path) -> None:
    """An Enum cannot be extended at run time, so a copy of the package is edited."""
    shutil.copytree(Path(cortex_trio.__file__).parent, tmp_path / "cortex_trio")
    table = tmp_path / "cortex_trio" / "failures" / "reactions.py"
    text = table.read_text(encoding="utf-8")
    for added in (MEMBER, ROW):
        first_line = added.partition("\n")[0] + "\n"
        assert text.count(first_line) == 1
        text = text.replace(first_line, added)
    table.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", USES], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
