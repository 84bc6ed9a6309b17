"""The result of `Cortex.embed`: the vectors, and what the call took. A value; knows no request and no provider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import attrs

from .reply import Attempt
from .stream import Usage


@attrs.frozen(eq=False)
class Embeddings(Sequence[Sequence[float]]):
    """The vectors of a call of `embed`, in the order of the texts. It is a sequence: index it, iterate it, unpack it.

    It is equal to another one with the same fields, and to any list or tuple of the same vectors.
    """

    vectors: Sequence[Sequence[float]] = attrs.field(repr=lambda vectors: f"<{len(vectors)} vectors>")
    """One vector for each text."""

    model: str
    """The model that was requested."""

    worker: str
    """The name of the worker that served; of several requests, the last one."""

    provider: str
    """The name of that worker's provider."""

    usage: Usage
    """The token counts of the requests that served, in total. A long list of texts takes several requests."""

    attempts: Sequence[Attempt]
    """All attempts of the call, in the order in which they began; of more than 32 the first ones."""

    cost: float | None = attrs.field(default=None, kw_only=True)
    """US dollars of all attempts, as far as providers reported tokens. None: the price of one of them is not known."""

    call: str | None = attrs.field(default=None, kw_only=True)
    """The id of the call, which its events have as well. None: it was not made by a gateway."""

    @overload
    def __getitem__(self, index: int) -> Sequence[float]: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sequence[float]]: ...

    def __getitem__(self, index: int | slice) -> Sequence[float] | Sequence[Sequence[float]]:
        return self.vectors[index]

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[Sequence[float]]:
        return iter(self.vectors)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Embeddings):
            return self._facts() == other._facts()
        if isinstance(other, list | tuple):
            return list(self.vectors) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # vectors are lists

    def _facts(self) -> tuple[object, ...]:
        """Return what is compared; as in Reply, the id of the call is not."""
        vectors = [list(vector) for vector in self.vectors]
        return vectors, self.model, self.worker, self.provider, self.usage, tuple(self.attempts), self.cost
