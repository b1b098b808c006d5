"""How far a training is: a live table on a terminal; nothing elsewhere, where the log's line an epoch is enough."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ecgtrain.loader import Batch

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

SHOWN_EPOCHS = 12
COLUMNS = ("epoch", "loss", "validation", "macro AUROC", "macro F1", "rows/s", "time left")


class Display:
    """Shows nothing."""

    def start(self, n_epochs: int, n_rows: int) -> None:
        """Hear how many epochs of how many training rows there are, at most."""

    def watch(self, batches: Iterable[Batch], n_batches: int, name: str) -> Iterable[Batch]:
        """Return the batches of a pass."""
        return batches

    def epoch(self, entry: dict[str, Any]) -> None:
        """Hear an epoch's entry of the history."""

    def close(self) -> None:
        """Leave what is shown as it is."""


class LiveTable(Display):
    """A row an epoch, and under them the pass that is under way."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self.entries: list[dict[str, Any]] = []
        self.n_epochs = self.n_rows = 0
        self.bar = Progress(*columns, console=console)
        self.live = Live(console=console, get_renderable=self._shown, refresh_per_second=4)

    def start(self, n_epochs: int, n_rows: int) -> None:
        """Hear how many epochs of how many training rows there are, at most, and show the table."""
        self.n_epochs, self.n_rows = n_epochs, n_rows
        self.entries.clear()
        self.live.start()

    def watch(self, batches: Iterable[Batch], n_batches: int, name: str) -> Iterator[Batch]:
        """Yield the batches of a pass and move its bar."""
        task = self.bar.add_task(name, total=n_batches)
        try:
            for batch in batches:
                yield batch
                self.bar.advance(task)
        finally:
            self.bar.remove_task(task)

    def epoch(self, entry: dict[str, Any]) -> None:
        """Add an epoch's row."""
        self.entries.append(entry)

    def close(self) -> None:
        """Leave the table as it is."""
        self.live.stop()

    def _shown(self) -> Group:
        from rich.console import Group

        return Group(self._table(), self.bar)

    def _table(self) -> Table:
        from rich.table import Table

        table = Table(*COLUMNS)
        for entry in self.entries[-SHOWN_EPOCHS:]:
            table.add_row(*self._row(entry))
        return table

    def _row(self, entry: dict[str, Any]) -> list[str]:
        scores = {name: math.nan if value is None else value for name, value in entry["validation"].items()}
        return [
            f"{entry['epoch'] + 1}/{self.n_epochs}",
            f"{entry['train_loss']:.4f}",
            f"{entry['validation_loss']:.4f}",
            f"{scores['auroc']:.3f}",
            f"{scores['f1']:.3f}",
            f"{self.n_rows / max(entry['seconds'], 1e-3):,.0f}",
            time_left(entry, self.n_epochs),
        ]


def time_left(entry: Mapping[str, Any], n_epochs: int) -> str:
    """Return how long the epochs after an entry of the history may take, by the time of that one."""
    return duration(entry["seconds"] * (n_epochs - entry["epoch"] - 1))


def duration(seconds: float) -> str:
    """Return a time in words, such as ``42 s`` or ``1.5 h``."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def make_display() -> Display:
    """Return a live table on a terminal, and elsewhere a display that shows nothing."""
    return LiveTable() if sys.stderr.isatty() else Display()
