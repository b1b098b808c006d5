"""Rows by number: any of them, in any order, each chunk decoded once."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from store.codecs import ForkedProcessError, native_codecs
from store.rows import RowFiles, row_reader
from store.shard_file import ShardLayout

VALUES = np.random.default_rng(0).integers(0, 255, (50, 2, 3, 5), dtype=np.uint8)
VALUES[20:24] = 0  # fill value: of four rows a chunk one is absent
VALUES[40:48] = 0  # and a whole shard


@pytest.fixture(scope="module", params=[(8, 1), (8, 4), (None, 4)], ids=["a row a chunk", "rows a chunk", "no shards"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An array that ends within a shard and a chunk, with checksums, as Zarr itself writes it."""
    shard, chunk = request.param
    place: Path = tmp_path_factory.mktemp("rows") / "array"
    array = zarr.create_array(
        place,
        shape=VALUES.shape,
        dtype="uint8",
        chunks=(chunk, 2, 3, 5),
        shards=None if shard is None else (shard, 2, 3, 5),
        compressors=zarr.codecs.ZstdCodec(level=1, checksum=True),
    )
    array[:] = VALUES
    return place


def opened(place: Path) -> zarr.Array[Any]:
    """Return the array as a store at hand opens it."""
    with native_codecs(2):
        return zarr.open_array(place, mode="r")


def taken(place: Path, rows: Any) -> np.ndarray:
    out = np.full((len(rows), *VALUES.shape[1:]), 7, np.uint8)
    row_reader(opened(place))(np.array(rows, np.int64), out)
    return out


@given(rows=st.lists(st.integers(0, len(VALUES) - 1), max_size=120))
def test_rows_with_gaps_and_twice_are_read(written: Path, rows: list[int]) -> None:
    np.testing.assert_array_equal(taken(written, rows), VALUES[rows])


def test_all_rows_are_read(written: Path) -> None:
    np.testing.assert_array_equal(taken(written, range(len(VALUES))), VALUES)


@pytest.mark.parametrize("written", [(8, 4)], indirect=True, ids=["rows a chunk"])
def test_each_chunk_is_decoded_once(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, decompress = [], ShardLayout.decompress
    monkeypatch.setattr(
        ShardLayout, "decompress", lambda self, frame, chunk: decoded.append(1) or decompress(self, frame, chunk)
    )
    rows = np.random.default_rng(0).permutation(16)
    np.testing.assert_array_equal(taken(written, rows), VALUES[rows])
    assert len(decoded) == 4


def test_places_that_do_not_lie_together_are_filled(written: Path) -> None:
    out = np.zeros((6, 4, 3, 5), np.int32)
    rows = np.array([0, 1, 2, 3, 49, 8])
    row_reader(opened(written))(rows, out[:, 1:3])
    np.testing.assert_array_equal(out[:, 1:3], VALUES[rows])
    assert not out[:, 0].any()
    assert not out[:, 3].any()


def test_rows_at_a_url_are_read_by_zarrs_own_codecs(written: Path) -> None:
    array = zarr.open_array(f"file://{written}", mode="r")
    rows = np.random.default_rng(1).permutation(len(VALUES))[:30]
    out = np.zeros((len(rows), *VALUES.shape[1:]), np.uint8)
    row_reader(array)(rows, out)
    np.testing.assert_array_equal(out, VALUES[rows])


@pytest.mark.parametrize("written", [(8, 1), (8, 4)], indirect=True, ids=["a row a chunk", "rows a chunk"])
def test_rows_of_a_file_that_is_gone_are_fill_value(written: Path) -> None:
    """Whether it may be gone is the store's to say, which knows what its manifest lists."""
    shard = written / "c" / "1" / "0" / "0" / "0"
    whole = shard.read_bytes()
    shard.unlink()
    try:
        assert not taken(written, range(8, 16)).any()
        np.testing.assert_array_equal(taken(written, [3, 16]), VALUES[[3, 16]])
    finally:
        shard.write_bytes(whole)


@pytest.mark.parametrize("written", [(8, 1)], indirect=True, ids=["a row a chunk"])
def test_a_row_that_is_a_chunk_is_read_whatever_is_wrong_with_others(written: Path) -> None:
    shard = written / "c" / "0" / "0" / "0" / "0"
    whole = shard.read_bytes()
    shard.write_bytes(b"\xff" * 8 + whole[8:])  # within the first row's chunk
    try:
        np.testing.assert_array_equal(taken(written, [5, 2]), VALUES[[5, 2]])
        with pytest.raises((ValueError, RuntimeError), match="Zstd"):
            taken(written, [5, 0])
    finally:
        shard.write_bytes(whole)


@pytest.mark.parametrize("written", [(8, 1), (8, 4)], indirect=True, ids=["a row a chunk", "rows a chunk"])
@given(data=st.data())
def test_a_changed_or_missing_byte_raises_or_changes_nothing(written: Path, data: st.DataObject) -> None:
    shard = written / "c" / "0" / "0" / "0" / "0"
    whole = shard.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    shard.write_bytes(data.draw(st.sampled_from([bytes(changed), whole[:place], whole[place + 1 :]])))
    try:
        found = taken(written, range(8))
    except (ValueError, RuntimeError):
        return
    finally:
        shard.write_bytes(whole)
    np.testing.assert_array_equal(found, VALUES[:8])


def _read_in_child(reader: RowFiles, answer: Any) -> None:
    try:
        reader.read(np.arange(8), np.zeros((8, *VALUES.shape[1:]), np.uint8))
    except ForkedProcessError as error:
        answer.put(str(error))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
@pytest.mark.parametrize("written", [(8, 1)], indirect=True, ids=["a row a chunk"])
def test_a_forked_process_is_told_so(written: Path) -> None:
    reader = RowFiles(opened(written))
    reader.read(np.arange(8), np.zeros((8, *VALUES.shape[1:]), np.uint8))
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    process = context.Process(target=_read_in_child, args=(reader, answer))
    process.start()
    assert "forked" in answer.get(timeout=60)
    process.join()
