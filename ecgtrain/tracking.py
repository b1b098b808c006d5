"""What a run leaves of its course: ``history.jsonl``, ``steps.jsonl``, TensorBoard's files, its log and its display."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ecgtrain.config import RunConfig
from ecgtrain.listener import Listener, StepLoss
from ecgtrain.loader import Batch
from ecgtrain.progress import Display, LiveTable, time_left
from ecgtrain.run_folder import FILE_ONLY, RunFolder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunListener(Listener):
    """Writes the course of a run into its folder.

    Parameters
    ----------
    folder : RunFolder
        The run's folder.
    config : RunConfig
        Its configuration.
    log : logging.Logger
        Its log.
    display : Display
        What a person sees meanwhile.
    """

    def __init__(self, folder: RunFolder, config: RunConfig, log: logging.Logger, display: Display) -> None:
        self.folder, self.config, self.log, self.display = folder, config, log, display
        self.steps_seen = 0
        self.board: SummaryWriter | None = None

    def go_on(self, epoch: int, step: int) -> None:
        """Forget what was written of the steps that are taken again."""
        kept = [entry for entry in self.folder.steps() if (entry["epoch"], entry["step"]) < (epoch, step)]
        self.folder.write_lines("steps.jsonl", kept)
        self.folder.write_lines("history.jsonl", self.folder.history()[:epoch])
        self.steps_seen = len(kept)
        self.board = _board(self.folder, self.steps_seen)
        if epoch or step:
            self.log.info("goes on with epoch %d, step %d", epoch + 1, step + 1)

    def warn(self, message: str) -> None:
        """Write a warning to the log."""
        self.log.warning(message)

    def watch(self, batches: Iterable[Batch], n_batches: int, name: str) -> Iterable[Batch]:
        """Return the batches behind the run's display."""
        return self.display.watch(batches, n_batches, name)

    def steps(self, losses: Sequence[StepLoss]) -> None:
        """Write the losses of some steps."""
        self.folder.append_lines("steps.jsonl", [step._asdict() for step in losses])
        assert self.board is not None
        for step in losses:
            self.board.add_scalar("loss/step", step.loss, self.steps_seen)
            self.board.add_scalar("learning_rate", step.learning_rate, self.steps_seen)
            self.steps_seen += 1

    def epoch(self, entry: dict[str, Any]) -> None:
        """Write an epoch's entry."""
        self.folder.append_lines("history.jsonl", [entry])
        assert self.board is not None
        for name, value in _scalars(entry).items():
            self.board.add_scalar(name, value, self.steps_seen)
        self.board.flush()
        self.display.epoch(entry)
        self.log.info(
            "epoch %d/%d  loss %.4f  validation %.4f  %s  %.1f s, up to %s left",
            entry["epoch"] + 1, self.config.epochs, entry["train_loss"], entry["validation_loss"],
            describe_scores(entry), entry["seconds"], time_left(entry, self.config.epochs),
            extra={FILE_ONLY: isinstance(self.display, LiveTable)},
        )  # fmt: skip


@contextmanager
def following(
    folder: RunFolder, config: RunConfig, log: logging.Logger, display: Display, n_rows: int
) -> Iterator[RunListener]:
    """Follow a training of so many rows: show the display before it, and close TensorBoard's file after it."""
    listener = RunListener(folder, config, log, display)
    display.start(config.epochs, n_rows)
    try:
        yield listener
    finally:
        display.close()
        if listener.board is not None:
            listener.board.close()


def describe_scores(entry: dict[str, Any]) -> str:
    """Return an epoch's macro scores in words."""
    values = {name: math.nan if value is None else value for name, value in entry["validation"].items()}
    return f"macro F1 {values['f1']:.3f}  macro AUROC {values['auroc']:.3f}"


def _board(folder: RunFolder, steps_seen: int) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder.path / "tensorboard"), purge_step=steps_seen)


def _scalars(entry: dict[str, Any]) -> dict[str, float]:
    """Return an epoch's figures by TensorBoard's names, without those that are undefined."""
    figures = {"loss/train": entry["train_loss"], "loss/validation": entry["validation_loss"]}
    figures |= {f"validation/macro_{kind}": value for kind, value in entry["validation"].items()}
    for name, scores in entry["per_class"].items():
        figures |= {f"{kind}/{name}": value for kind, value in scores.items()}
    return {name: value for name, value in figures.items() if value is not None}
