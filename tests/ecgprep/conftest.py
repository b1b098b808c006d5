"""Tiny databases, written once, and what builds them in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecgprep.build import BuildResult, build
from ecgprep.config import Prepare
from pipelines.workspace import Workspace
from tests.recordings import write_mitdb, write_ptbxl

Build = Callable[..., BuildResult]


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds mitdb/ (twelve records) and ptb-xl/ (24 of 30 records); read only."""
    folder = tmp_path_factory.mktemp("raw")
    write_mitdb(folder)
    write_ptbxl(folder, 24, n_rows=30)
    return folder


@pytest.fixture
def build_in(tmp_path: Path) -> Build:
    """Build in this process, without Dask, in a workspace of its own."""

    def run(source: Path, home: str = "home", replace: bool = False, **section: Any) -> BuildResult:
        prepare = Prepare.model_validate({"workers": 0, **section})
        return build(prepare, Workspace(tmp_path / home), source, replace)

    return run
