"""Rows by number: any of them, in any order, by the native codecs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from store.codecs import native_codecs
from store.rows import read_rows

VALUES = np.random.default_rng(0).integers(0, 255, (50, 2, 3, 5), dtype=np.uint8)


@pytest.fixture(scope="module", params=[(8, 1), (8, 4), (None, 4)], ids=["a row a chunk", "rows a chunk", "no shards"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An array that ends within a shard."""
    shard, chunk = request.param
    place: Path = tmp_path_factory.mktemp("rows") / "array"
    array = zarr.create_array(
        place,
        shape=VALUES.shape,
        dtype="uint8",
        chunks=(chunk, 2, 3, 5),
        shards=None if shard is None else (shard, 2, 3, 5),
    )
    array[:] = VALUES
    return place


def opened(place: Path) -> zarr.Array[Any]:
    """Return the array, which raises where the native codecs would leave the work to Zarr's own."""
    with native_codecs(2), zarr.config.set({"codec_pipeline.strict": True}):
        return zarr.open_array(place, mode="r")


@given(rows=st.lists(st.integers(0, len(VALUES) - 1), max_size=120))
def test_rows_with_gaps_and_twice_are_read_by_native_codecs(written: Path, rows: list[int]) -> None:
    out = np.zeros((len(rows), *VALUES.shape[1:]), np.uint8)
    read_rows(opened(written), np.array(rows, np.int64), out)
    np.testing.assert_array_equal(out, VALUES[rows])


def test_rows_are_read_by_zarrs_own_codecs_too(written: Path) -> None:
    rows = np.random.default_rng(1).permutation(len(VALUES))[:30]
    out = np.zeros((len(rows), *VALUES.shape[1:]), np.uint8)
    read_rows(zarr.open_array(written, mode="r"), rows, out)
    np.testing.assert_array_equal(out, VALUES[rows])


@pytest.mark.parametrize("written", [(8, 1)], indirect=True, ids=["a row a chunk"])
def test_a_row_that_is_a_chunk_is_read_whatever_is_wrong_with_others(written: Path) -> None:
    array = opened(written)
    shard = written / "c" / "0" / "0" / "0" / "0"
    whole = shard.read_bytes()
    shard.write_bytes(b"\xff" * 8 + whole[8:])  # within the first row's chunk
    out = np.zeros((2, *VALUES.shape[1:]), np.uint8)
    try:
        read_rows(array, np.array([5, 2]), out)
        np.testing.assert_array_equal(out, VALUES[[5, 2]])
        with pytest.raises((OSError, RuntimeError), match="frame"):
            read_rows(array, np.array([5, 0]), out)
    finally:
        shard.write_bytes(whole)
