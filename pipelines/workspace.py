"""The workspace: where raw data, stores, runs and reports lie, and which store or run is newest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipelines.recipe import RecipeError, nearest

MANIFEST = "MANIFEST.sha256"


@dataclass(frozen=True)
class Workspace:
    """The folders of one workspace; none is made until something is written there.

    Parameters
    ----------
    home : Path
        The workspace's folder.
    """

    home: Path

    @classmethod
    def at(cls, home: Path | None = None) -> Workspace:
        """Return the workspace at `home`, else at ``$ECG_HOME``, else at ``./ecg-workspace``."""
        return cls(Path(os.path.expanduser(home or os.environ.get("ECG_HOME") or "ecg-workspace")))

    @property
    def raw(self) -> Path:
        """Folder of the databases, each in its own layout."""
        return self.home / "raw"

    @property
    def stores(self) -> Path:
        """Folder of the feature stores."""
        return self.home / "store"

    @property
    def runs(self) -> Path:
        """Folder of the training runs."""
        return self.home / "runs"

    @property
    def reports(self) -> Path:
        """Folder of the reports, one a store."""
        return self.home / "reports"

    def complete_stores(self) -> list[Path]:
        """Return the complete stores, the one whose manifest is youngest last."""
        found = [path for path in self.stores.glob("[!.]*.zarr") if (path / MANIFEST).is_file()]
        return sorted(found, key=lambda path: ((path / MANIFEST).stat().st_mtime_ns, path.name))

    def newest_store(self) -> Path | None:
        """Return the complete store whose manifest is youngest, or None."""
        stores = self.complete_stores()
        return stores[-1] if stores else None

    def find_store(self, name: str | None) -> str:
        """Return the location of a store given by name, path or URL; by default of the newest complete one.

        Raises
        ------
        RecipeError
            If there is none, with the nearest name.
        """
        if name is None:
            newest = self.newest_store()
            if newest is None:
                raise RecipeError(f"no complete store in {self.stores}; {self._what_to_build()}")
            return str(newest.resolve())
        if "://" in name:
            return name
        if Path(name).is_dir():
            return str(Path(name).resolve())  # a run names its store for whoever resumes it, from wherever
        place = self.stores / (name if name.endswith(".zarr") else f"{name}.zarr")
        if place.is_dir():
            return str(place.resolve())
        known = [path.stem for path in self.complete_stores()]
        hint = nearest(name, known) or f" There: {', '.join(known) or 'none'}."
        raise RecipeError(f"no store {name!r} here or in {self.stores}.{hint}")

    def _what_to_build(self) -> str:
        stopped = sorted(path.stem.removeprefix(".building-") for path in self.stores.glob(".building-*.zarr"))
        if stopped:
            return f"builds that were stopped: {', '.join(stopped)}; the same `ecgprep build` goes on"
        return "make one: ecgprep build --dataset ptbxl"

    def finished_runs(self) -> list[Path]:
        """Return the runs whose ``state`` file says finished, the one that finished last at the end."""
        found = [path.parent for path in self.runs.glob("*/state") if path.read_text().strip() == "finished"]
        return sorted(found, key=lambda path: ((path / "state").stat().st_mtime_ns, path.name))
