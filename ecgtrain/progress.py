"""A progress bar a pass on a terminal; nothing elsewhere, where the log's line an epoch is enough."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from ecgtrain.loader import Batch


def show_progress(batches: Iterable[Batch], n_batches: int, name: str) -> Iterator[Batch]:
    """Yield the batches of a pass and show on standard error how far it is."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        yield from bar.track(batches, total=n_batches, description=name)
