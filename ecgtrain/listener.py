"""What a training tells whoever follows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ecgtrain.loader import Batch


class StepLoss(NamedTuple):
    """The loss of one step.

    Parameters
    ----------
    epoch, step : int
        Which step of which epoch, both counted from 0.
    loss : float
        Mean over the rows of the batch, of all processes.
    learning_rate : float
        Of the first group of weights.
    """

    epoch: int
    step: int
    loss: float
    learning_rate: float


class Listener:
    """Follows a training; each of its methods does nothing and may be replaced."""

    def go_on(self, epoch: int, step: int) -> None:
        """Hear with which step of which epoch a training starts or goes on; what was heard from there on is void."""

    def warn(self, message: str) -> None:
        """Hear of something that a person should know."""

    def watch(self, batches: Iterable[Batch], n_batches: int, name: str) -> Iterable[Batch]:
        """Return the batches of a pass, such as behind a progress bar."""
        return batches

    def steps(self, losses: Sequence[StepLoss]) -> None:
        """Hear the losses of some steps, in their order."""

    def epoch(self, entry: dict[str, Any]) -> None:
        """Hear an epoch's entry of the history."""
