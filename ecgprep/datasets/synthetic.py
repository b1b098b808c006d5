"""Synthetic recordings that the build itself writes: two minutes of each record of MIT-BIH, from no patient."""

from __future__ import annotations

from pathlib import Path

from ecgprep.datasets.mitdb import MitBih
from store.files import make_folder

MINUTES = 2.0


class Synthetic(MitBih):
    """MIT-BIH's layout with computed recordings: the same rows, labels and protocols, marked SYNTHETIC."""

    name = "synthetic"
    folder = "synthetic/mitdb"
    title = "Synthetic recordings in the layout of the MIT-BIH Arrhythmia Database"
    licence = "MIT, as the program that writes them"
    citation = "ecgprep synth"
    url = ""
    download_size = "none: written by the build"

    def how_to_get(self, options: str = "") -> str:
        """Return which command writes them."""
        return "`ecgprep build --dataset synthetic` writes them"

    def make_raw(self, raw: Path) -> None:
        """Write the recordings unless they are there.

        Raises
        ------
        UserError
            If their folder cannot be made.
        """
        from filelock import FileLock

        from ecgprep.synth import write_mitdb

        folder = raw / self.folder
        if folder.is_dir():
            return
        make_folder(folder.parent, "name another --home")
        with FileLock(folder.with_name(f".{folder.name}.lock")):  # of two builds at once the second waits
            if not folder.is_dir():
                write_mitdb(folder.parent, n_minutes=MINUTES)


DATABASE = Synthetic()
