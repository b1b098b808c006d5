"""The workspace: where things are, and which is newest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.recipe import RecipeError
from pipelines.workspace import Workspace


def make_store(home: Path, name: str, age_s: int, complete: bool = True) -> Path:
    place = home / "store" / name
    place.mkdir(parents=True)
    if complete:
        manifest = place / "MANIFEST.sha256"
        manifest.touch()
        os.utime(manifest, (10**9 - age_s, 10**9 - age_s))
    return place


def make_run(home: Path, name: str, state: str, age_s: int) -> Path:
    place = home / "runs" / name
    place.mkdir(parents=True)
    (place / "state").write_text(state)
    os.utime(place / "state", (10**9 - age_s, 10**9 - age_s))
    return place


def test_home_is_named_or_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECG_HOME", str(tmp_path / "env"))
    assert Workspace.at(tmp_path).home == tmp_path
    assert Workspace.at().home == tmp_path / "env"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ECG_HOME", "~/ecg")
    assert Workspace.at().home == tmp_path / "ecg"
    monkeypatch.delenv("ECG_HOME")
    assert Workspace.at().home == Path("ecg-workspace")


def test_newest_store_is_the_youngest_complete_one(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.newest_store() is None
    make_store(tmp_path, "mitdb-1.zarr", 5)
    young = make_store(tmp_path, "ptbxl-2.zarr", 1)
    make_store(tmp_path, "mitdb-3.zarr", 0, complete=False)
    for hidden in (".building-mitdb-1.zarr", ".adding-mitdb-1.zarr", ".replaced-mitdb-1.zarr"):
        make_store(tmp_path, hidden, 0)
    assert workspace.newest_store() == young
    assert [path.name for path in workspace.complete_stores()] == ["mitdb-1.zarr", "ptbxl-2.zarr"]


def test_store_is_found_by_name_path_url_or_default(tmp_path: Path) -> None:
    place = make_store(tmp_path, "mitdb-1.zarr", 5)
    workspace = Workspace(tmp_path)
    for name in ("mitdb-1", "mitdb-1.zarr", str(place), None):
        assert workspace.find_store(name) == str(place)
    assert workspace.find_store("https://host/x.zarr") == "https://host/x.zarr"


def test_absent_store_is_answered_with_the_nearest(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(RecipeError, match=r"no complete store in .*ecgprep build"):
        workspace.find_store(None)
    (tmp_path / "store/.building-mitdb-1.zarr").mkdir(parents=True)
    with pytest.raises(RecipeError, match="builds that were stopped: mitdb-1; the same `ecgprep build` goes on"):
        workspace.find_store(None)
    make_store(tmp_path, "mitdb-1.zarr", 5)
    with pytest.raises(RecipeError, match=r"no store 'mitdb-2'.*Did you mean 'mitdb-1'"):
        workspace.find_store("mitdb-2")


def test_finished_runs_come_in_the_order_in_which_they_finished(tmp_path: Path) -> None:
    make_run(tmp_path, "b", "finished\n", 3)
    make_run(tmp_path, "a", "finished", 1)
    make_run(tmp_path, "c", "running", 0)
    make_run(tmp_path, "d", "failed", 0)
    assert [path.name for path in Workspace(tmp_path).finished_runs()] == ["b", "a"]
