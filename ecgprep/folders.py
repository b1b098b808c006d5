"""The files in a folder and in all below it, also where links lead to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and of all below, each folder once whatever links lead to it.

    Parameters
    ----------
    folder : Path
        Where to begin.
    """
    seen = {folder.resolve()}
    for name, below, files in os.walk(folder, followlinks=True):
        place = Path(name)
        links = [child for child in below if (place / child).is_symlink()]
        for link in sorted(links):
            real = (place / link).resolve()
            if real.is_relative_to(folder.resolve()) or real in seen:
                below.remove(link)
            seen.add(real)
        yield from (place / file for file in files)
