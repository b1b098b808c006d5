"""A shard that is written here is what Zarr and zarrs read, and what they would have written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.codecs import native_codecs
from store.plan import Task
from store.schema import ArraySpec
from store.shard_file import ShardLayout, ShardReader, is_all_fill, write_shard
from store.write import create_array

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _spec(dtype: str, n_rows: int, shard: int, chunk: int, width: int) -> ArraySpec:
    fill = {"int16": -32768, "uint8": 0, "float16": float("nan")}[dtype]
    return ArraySpec(
        "a", (n_rows, 2, width), dtype, fill, (chunk, 2, width), (shard, 2, width), ("row", "lead", "time")
    )


def _write(folder: Path, spec: ArraySpec, rows: np.ndarray) -> dict[str, str | None]:
    """Write all shards of an array and return their digests by name."""
    assert spec.shards is not None
    create_array(zarr.create_group(folder, overwrite=True), spec)
    layout = ShardLayout.parse((folder / "a" / "zarr.json").read_text())
    digests = {}
    for number, start in enumerate(range(0, len(rows), spec.shards[0])):
        task = Task(number, start, min(start + spec.shards[0], len(rows)))
        part = rows[task.start : task.stop]
        assert layout.holds(task, part)
        file = folder / "a" / layout.name(task.start)
        file.parent.mkdir(parents=True, exist_ok=True)
        pieces = map(layout.compressed, layout.pieces(part))
        digests[layout.name(task.start)] = write_shard(file, layout.chunks_per_shard, pieces)
    return digests


@st.composite
def _arrays(draw: st.DrawFn) -> tuple[ArraySpec, np.ndarray]:
    """Draw an array of some shards, the last of them short, of which some chunks hold nothing but fill value."""
    chunk, chunks_per_shard, width = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 40))
    n_rows = draw(st.integers(1, 3 * chunk * chunks_per_shard))
    spec = _spec(draw(st.sampled_from(["int16", "uint8", "float16"])), n_rows, chunk * chunks_per_shard, chunk, width)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    rows: np.ndarray[Any, Any] = rng.integers(0, 200, spec.shape).astype(spec.dtype)
    for start in draw(st.lists(st.integers(0, n_rows - 1), max_size=6)):
        rows[start // chunk * chunk : (start // chunk + 1) * chunk] = spec.fill
    return spec, rows


@QUICK
@given(_arrays())
def test_shards_are_read_by_zarr_and_by_zarrs_and_equal_those_of_zarrs(
    tmp_path: Path, array: tuple[ArraySpec, np.ndarray]
) -> None:
    spec, rows = array
    digests = _write(tmp_path / "ours", spec, rows)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "ours" / "a", mode="r")[:], rows)
    with native_codecs(1):
        np.testing.assert_array_equal(zarr.open_array(tmp_path / "ours" / "a", mode="r")[:], rows)
        theirs = create_array(zarr.create_group(tmp_path / "theirs", overwrite=True), spec)
        theirs[:] = rows
    for name, digest in digests.items():
        assert (tmp_path / "theirs" / "a" / name).exists() == (digest is not None)
        if digest is not None:
            ours, other = (tmp_path / of / "a" / name for of in ("ours", "theirs"))
            assert digest == hashlib.sha256(ours.read_bytes()).hexdigest()
            assert ours.stat().st_size == other.stat().st_size


def test_array_that_is_not_contiguous_is_written_as_it_reads(tmp_path: Path) -> None:
    rows = np.arange(480, dtype=np.int16).reshape(2, 12, 20).transpose(1, 0, 2)
    _write(tmp_path, _spec("int16", 12, 8, 2, 20), rows)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a", mode="r")[:], rows)


def test_changed_index_of_a_shard_raises(tmp_path: Path) -> None:
    spec = _spec("int16", 8, 8, 2, 20)
    (name,) = _write(tmp_path, spec, np.arange(320, dtype=np.int16).reshape(spec.shape))
    file = tmp_path / "a" / name
    content = bytearray(file.read_bytes())
    content[-60] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"[Cc]hecksum"):
        zarr.open_array(tmp_path / "a", mode="r")[:]
    with pytest.raises(ValueError, match="index of chunks fails its checksum"):
        ShardReader(file, 4)


def test_shard_of_fill_value_alone_leaves_no_file(tmp_path: Path) -> None:
    spec = _spec("float16", 10, 8, 2, 5)
    digests = _write(tmp_path, spec, np.full(spec.shape, np.nan, np.float16))
    assert digests == {"c/0/0/0": None, "c/1/0/0": None}
    assert not [path for path in (tmp_path / "a" / "c").rglob("*") if path.is_file()]


@pytest.mark.parametrize(("fill", "block"), [(0, [0, 0]), (float("nan"), [np.nan, np.nan]), ("", ["", ""])])
def test_block_of_fill_value_is_told_from_others(fill: Any, block: list[Any]) -> None:
    assert is_all_fill(np.array(block), fill)
    assert not is_all_fill(np.array([*block[1:], 1]), fill)
