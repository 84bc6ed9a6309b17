"""A limit for all calls inside a block, in child tasks too: `async with cortex.budget(usd=1.0):`.

The block is found by a context variable, which Trio copies into every task that is started inside. What calls take is
known only when their attempts are over. So a budget does not stop a call that has begun, and calls that begin at the
same time can together go beyond it: it stops the next one. Knows no gateway.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any, Literal, final

import attrs

from ..events import Attempt
from ..failures import CortexError, InvalidRequest
from ..failures.shown import shown
from .spending import Spending

MOST = 10**15
"""US dollars or tokens; a higher limit is a mistake."""


class BudgetExceeded(CortexError):
    """A call was to begin although a budget around it is used up. Nothing was sent."""

    spent: float
    """What the calls in the block took: US dollars, or tokens."""

    limit: float
    """The limit of the budget, in the same unit."""

    unit: Literal["usd", "tokens"]
    """What was limited."""

    def __init__(self, spent: float, limit: float, unit: Literal["usd", "tokens"] = "usd") -> None:
        of, so_far = (f"{limit:,} tokens", f"{spent:,}") if unit == "tokens" else (_usd(limit), _usd(spent))
        super().__init__(f"the budget of {of} is used up ({so_far} so far); nothing was sent")
        self.spent = spent
        self.limit = limit
        self.unit = unit

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.spent, self.limit, self.unit)


def _usd(amount: float) -> str:
    """Return an amount with two decimals at least, and as many as a small one needs."""
    plain = f"{amount:,.6f}".rstrip("0")
    whole, _, decimals = plain.partition(".")
    return f"${whole}.{decimals:0<2}"


def _check_limit(name: str, value: Any, *, whole: bool) -> None:
    if value is None:
        return
    kind = int if whole else int | float
    if isinstance(value, bool) or not isinstance(value, kind) or not 0 <= value <= MOST:  # NaN is not
        wanted = f"{'a whole number' if whole else 'a number of US dollars'} from 0 to {MOST:.0e}"
        raise InvalidRequest(f"{name}: {wanted} or None is allowed, not {shown(value, 40)}")


@final
@attrs.define(eq=False, repr=False)
class Budget:
    """What the calls in a block took, and what is left of its limits. Made by `budget`."""

    usd_limit: float | None = attrs.field(on_setattr=attrs.setters.frozen)
    """US dollars. None: not limited."""

    token_limit: int | None = attrs.field(on_setattr=attrs.setters.frozen)
    """Tokens of requests and answers. None: not limited."""

    _spending: Spending = attrs.field(factory=Spending, init=False)

    @property
    def spent(self) -> float:
        """US dollars of the attempts that are over. Only those count whose price is known; see `unpriced`."""
        return self._spending.known

    @property
    def remaining(self) -> float | None:
        """US dollars until the limit, 0 beyond it. None: dollars are not limited."""
        return None if self.usd_limit is None else max(0.0, self.usd_limit - self.spent)

    @property
    def tokens(self) -> int:
        """Tokens of the attempts that are over, as far as providers reported them."""
        return self._spending.usage.known_tokens if self._spending.usage else 0

    @property
    def remaining_tokens(self) -> int | None:
        """Tokens until the limit, 0 beyond it. None: tokens are not limited."""
        return None if self.token_limit is None else max(0, self.token_limit - self.tokens)

    @property
    def unpriced(self) -> int:
        """Attempts that cost something that is not known: it is not in `spent`."""
        return self._spending.unpriced

    def check(self) -> None:
        """Raise BudgetExceeded if a limit was reached."""
        if self.usd_limit is not None and self.spent >= self.usd_limit:
            raise BudgetExceeded(self.spent, self.usd_limit, "usd")
        if self.token_limit is not None and self.tokens >= self.token_limit:
            raise BudgetExceeded(self.tokens, self.token_limit, "tokens")

    def charge(self, attempt: Attempt) -> None:
        """Count `attempt`, which is over."""
        self._spending.add(attempt)

    def __repr__(self) -> str:
        limits = [_usd(self.usd_limit)] if self.usd_limit is not None else []
        limits += [f"{self.token_limit:,} tokens"] if self.token_limit is not None else []
        used = f"{_usd(self.spent)} and {self.tokens:,} tokens used"
        return f"<Budget of {' and '.join(limits) or 'any size'}: {used}>"


_BUDGETS: ContextVar[tuple[Budget, ...]] = ContextVar("cortex_trio_budgets", default=())
"""The budgets around the running code, the innermost last."""


def budget(usd: float | None = None, tokens: int | None = None) -> AbstractAsyncContextManager[Budget]:
    """Limit what the calls inside an `async with` block take together.

    Every call of any gateway that begins in the block counts, also in tasks that are started there, and streams that
    are read on behind it. Each attempt counts with what its provider reported when it is over, also one that failed,
    lost a hedge or was cancelled. Budgets may be nested: a call counts in all of them. Cancelling changes nothing.

    Args:
        usd: US dollars. Attempts whose price is not known do not count. None: no limit.
        tokens: tokens of requests and answers. None: no limit. Without any limit the budget only counts.

    Returns:
        A context manager whose value is the Budget, which shows what was spent and what is left.

    Raises:
        InvalidRequest: a limit is negative or not a number.
        BudgetExceeded: raised by a call inside that begins after the limit was reached. Nothing is sent.
    """
    _check_limit("usd", usd, whole=False)
    _check_limit("tokens", tokens, whole=True)
    return _scope(Budget(usd, tokens))


@asynccontextmanager
async def _scope(made: Budget) -> AsyncIterator[Budget]:
    token = _BUDGETS.set((*_BUDGETS.get(), made))
    try:
        yield made
    finally:
        _BUDGETS.reset(token)


def budgets_in_force() -> Sequence[Budget]:
    """Return the budgets around a call that is about to begin, the innermost first.

    Raises:
        BudgetExceeded: one of them is used up.
    """
    budgets = _BUDGETS.get()[::-1]
    for made in budgets:
        made.check()
    return budgets
