"""Which files of a folder have been compared with the published list, so that they need not be read again."""

from __future__ import annotations

from pathlib import Path

from ecgprep.download.checksums import ListedFile
from store.files import is_read_only

LEDGER_NAME = ".checked"


class Ledger:
    """The checked files of one folder, with size and time of change at the time of the check.

    Parameters
    ----------
    folder : Path
        The database's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / LEDGER_NAME
        self._lines = self._read()

    def holds(self, item: ListedFile) -> bool:
        """Tell whether a file had the listed digest when it was checked and was not changed since."""
        line = self._line(item)
        return line is not None and self._lines.get(item.path) == line

    def add(self, item: ListedFile) -> None:
        """Note that a file has been checked; for this call alone where the folder is read only."""
        line = self._line(item)
        if line is not None:
            self._note(item.path, line)

    def forget(self, item: ListedFile) -> None:
        """Note that a file is wrong, though its size and time of change may be those of the check."""
        if item.path in self._lines:
            self._note(item.path, "")

    def _note(self, path: str, line: str) -> None:
        self._lines[path] = line
        if is_read_only(self.folder):
            return
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{line}  {path}\n")

    def _line(self, item: ListedFile) -> str | None:
        try:
            state = (self.folder / item.path).stat()
        except OSError:
            return None
        return f"{item.digest} {state.st_size} {state.st_mtime_ns}"

    def _read(self) -> dict[str, str]:
        """Return the newest line of each path; one that a stop has cut is passed over and the file checked again."""
        if not self._file.is_file():
            return {}
        lines = self._file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        return {path: facts for facts, _, path in (line.partition("  ") for line in lines)}
