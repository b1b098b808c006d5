"""A small complete store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small_stores import make_blocks, make_plan, write_store


@pytest.fixture
def store_place(tmp_path: Path) -> Path:
    """A complete store of 300 rows with one representation."""
    plan = make_plan(reps=["gaf"])
    return write_store(tmp_path, plan, make_blocks(plan))
