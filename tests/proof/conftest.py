"""Whatever is proved here, the keys of simulated providers are not to be seen in any log."""

import logging
import traceback
from collections.abc import Iterator

import pytest

SIMULATED_KEYS = ("sk-sim-", "sk-proof-of-worker-")
"""How the keys begin that simulated providers hand out; their masked form shows less, or another end."""


class _KeyWatch(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        told = record.getMessage()
        if record.exc_info:
            told += "".join(traceback.format_exception(*record.exc_info))
        if any(beginning in told for beginning in SIMULATED_KEYS):
            self.leaks.append(told)


@pytest.fixture(autouse=True)
def no_key_is_logged() -> Iterator[None]:
    watch = _KeyWatch()
    logging.getLogger().addHandler(watch)
    yield
    logging.getLogger().removeHandler(watch)
    assert not watch.leaks, watch.leaks
