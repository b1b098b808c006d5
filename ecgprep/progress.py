"""Progress of long work: a bar on a terminal, plain lines elsewhere, always on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
LINES_PER_STEP = 4


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Return a function that is told what is being done, how much of it is done, and how much there is."""
    if sys.stderr.isatty():
        with _bar() as update:
            yield update
    else:
        yield _lines()


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {}

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield update


def _lines() -> Progress:
    shown: dict[str, int] = {}

    def update(what: str, done: int, total: int) -> None:
        step = LINES_PER_STEP * done // max(total, 1)
        if step > shown.get(what, 0):
            shown[what] = step
            sys.stderr.write(f"{what}: {done:,} of {total:,}\n")

    return update
