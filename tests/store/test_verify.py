"""A damaged store is named, by file, and never read as if it were whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.errors import DamagedStoreError, IncompleteStoreError
from store.read import damage_named, open_store
from store.verify import Damage, find_damage
from store.write import read_manifest


def flip(file: Path, position: int, bit: int = 0) -> bytes:
    """Flip one bit of a file; return what it held."""
    whole = file.read_bytes()
    changed = bytearray(whole)
    changed[position] ^= 1 << bit
    file.write_bytes(changed)
    return whole


def test_whole_store_has_no_damage(store_place: Path) -> None:
    assert list(find_damage(store_place)) == []


def test_flipped_byte_in_any_listed_file_is_found_by_its_path(store_place: Path) -> None:
    files = [path for path in read_manifest(store_place).digests if (store_place / path).stat().st_size]
    assert len(files) > 30
    generator = np.random.default_rng(0)
    for path in files:
        size = (store_place / path).stat().st_size
        whole = flip(store_place / path, int(generator.integers(size)), int(generator.integers(8)))
        assert [damage.path for damage in find_damage(store_place)] == [path]
        (store_place / path).write_bytes(whole)
    assert list(find_damage(store_place)) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_plain_read_of_a_shard_with_a_flipped_bit_raises(store_place: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["signal", "rep/gaf", "column/rr_prev_s", "label/aami"]))
    shard = data.draw(st.sampled_from(sorted(p for p in (store_place / name / "c").rglob("*") if p.is_file())))
    expected = zarr.open_group(store_place, mode="r")[name][:]  # type: ignore[index]
    whole = flip(shard, data.draw(st.integers(0, shard.stat().st_size - 1)), data.draw(st.integers(0, 7)))
    try:
        try:
            read = zarr.open_group(store_place, mode="r")[name][:]  # type: ignore[index]
        except Exception:
            return
        # One bit of a Zstandard frame's header is reserved and says nothing: then the data must be what it was.
        np.testing.assert_array_equal(read, expected)
    finally:
        shard.write_bytes(whole)


@pytest.mark.parametrize("position", [0.3, 0.6, 0.95])
def test_store_read_of_a_flipped_shard_raises(store_place: Path, position: float) -> None:
    shard = store_place / "signal/c/1/0/0"
    flip(shard, int(position * shard.stat().st_size))
    store = open_store(store_place)
    with pytest.raises(DamagedStoreError, match="damaged"), damage_named(store.location):
        store.signal[128:256]


def test_error_of_a_disk_is_not_taken_for_damage(store_place: Path) -> None:
    with pytest.raises(OSError, match="Input/output") as caught, damage_named(str(store_place)):
        raise OSError(errno.EIO, "Input/output error")
    assert not isinstance(caught.value, DamagedStoreError)


def test_truncated_shard_is_found(store_place: Path) -> None:
    shard = store_place / "rep/gaf/c/0/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-5])
    assert [damage.path for damage in find_damage(store_place)] == ["rep/gaf/c/0/0/0/0"]


@pytest.mark.parametrize("array", ["signal", "rep/gaf", "column/patient", "label/aami", "split/interpatient"])
def test_deleted_shard_is_an_error_when_the_array_is_opened(store_place: Path, array: str) -> None:
    shard = next(path for path in sorted((store_place / array / "c").rglob("*")) if path.is_file())
    shard.unlink()
    store = open_store(store_place)
    kind, _, name = array.partition("/")
    opened = {
        "signal": lambda: store.signal,
        "rep": lambda: store.representation(name),
        "column": lambda: store.column(name),
        "label": lambda: store.label(name),
        "split": lambda: store.split(name),
    }[kind]
    path = shard.relative_to(store_place).as_posix()
    with pytest.raises(DamagedStoreError, match=f"{path} is missing"):
        opened()
    assert list(find_damage(store_place)) == [Damage(path, "is missing")]


def test_file_where_none_should_be_is_damage(store_place: Path) -> None:
    extra = store_place / "column/age/c/0"
    extra.parent.mkdir(exist_ok=True)
    extra.write_bytes(b"x")
    assert list(find_damage(store_place)) == [Damage("column/age/c/0", "is listed as empty and has a file")]


@pytest.mark.parametrize("content", [b"nonsense\n", b"\xff\xfe"])
def test_garbled_manifest_is_damage_and_is_not_opened(store_place: Path, content: bytes) -> None:
    (store_place / "MANIFEST.sha256").write_bytes(content)
    (damage,) = find_damage(store_place)
    assert damage.path == "MANIFEST.sha256"
    with pytest.raises(DamagedStoreError, match="build the store again"):
        open_store(store_place)


@pytest.mark.parametrize("n_lines", [0, 1, -1])
def test_manifest_that_ends_early_is_damage_and_is_not_opened(store_place: Path, n_lines: int) -> None:
    manifest = store_place / "MANIFEST.sha256"
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:n_lines]))
    assert list(find_damage(store_place)) == [
        Damage("MANIFEST.sha256", "MANIFEST.sha256 ends before the line of zarr.json")
    ]
    with pytest.raises(DamagedStoreError, match=r"ends before.*build the store again"):
        open_store(store_place)


@pytest.mark.parametrize("path", ["signal/c/1/0/0", "signal/zarr.json", "column/age/c/0"])
def test_manifest_without_a_line_of_an_array_is_damage_and_the_array_is_not_read(store_place: Path, path: str) -> None:
    manifest = store_place / "MANIFEST.sha256"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if not line.endswith(f" {path}\n")))
    assert list(find_damage(store_place)) == [Damage(path, "has no line in MANIFEST.sha256")]
    store = open_store(store_place)
    with pytest.raises(DamagedStoreError, match=f"{path} has no line"):
        assert store.signal.shape == store.column("age").shape


@pytest.mark.skipif(os.name == "nt", reason="named pipes")
@pytest.mark.timeout(30)
def test_pipe_in_the_place_of_a_file_is_damage_and_is_not_waited_for(store_place: Path) -> None:
    shard = store_place / "signal/c/0/0/0"
    shard.unlink()
    os.mkfifo(shard)
    assert list(find_damage(store_place)) == [Damage("signal/c/0/0/0", "cannot be read: is no regular file")]


@pytest.mark.parametrize("text", [None, "", "{]", '{"zarr_format": 3}'], ids=["absent", "empty", "no JSON", "no group"])
def test_damaged_metadata_is_said_to_be_damaged(store_place: Path, text: str | None) -> None:
    metadata = store_place / "zarr.json"
    if text is None:
        metadata.unlink()
    else:
        metadata.write_text(text)
    with pytest.raises(DamagedStoreError, match="cannot be opened"):
        open_store(store_place)
    assert [damage.path for damage in find_damage(store_place)] == ["zarr.json"]


def test_folder_without_a_manifest_is_refused(store_place: Path, tmp_path: Path) -> None:
    (store_place / "MANIFEST.sha256").unlink()
    for place in (store_place, tmp_path / "absent"):
        with pytest.raises(IncompleteStoreError, match=r"MANIFEST.sha256 is absent"):
            open_store(place)
        with pytest.raises(IncompleteStoreError, match=r"MANIFEST.sha256 is absent"):
            list(find_damage(place))
