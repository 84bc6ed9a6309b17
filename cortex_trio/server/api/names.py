"""What a client may name as a model: models, aliases, `worker/model`, nothing. Knows no dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from ...gateway.cortex import Cortex
from ...gateway.routing.eligibility import Target


@final
class ModelNames:
    """The names of one gateway.

    Args:
        cortex: The gateway.
        aliases: Names of the operator's own, each with the models to ask, in this order.
    """

    def __init__(self, cortex: Cortex, aliases: Mapping[str, Sequence[str]]) -> None:
        self._cortex = cortex
        self._aliases = {name: tuple(models) for name, models in aliases.items()}

    def targets(self, name: str) -> Sequence[Target]:
        """Return the workers that a name means, in the order in which they are asked; none for an unknown name."""
        if not name.isprintable():
            return ()  # it would have no place in a header or an address
        meanings = [self._cortex.meaning(model) for model in self._aliases.get(name, (name,))]
        return [meaning for meaning in meanings if meaning is not None]

    async def listed(self) -> Sequence[str]:
        """Return the aliases, then the models of all workers."""
        workers = await self._cortex.list_workers()
        models = (model for worker in workers for model in worker.models)
        return tuple(dict.fromkeys((*self._aliases, *models)))
