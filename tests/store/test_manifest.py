"""The manifest's text, digests and what it takes to be equal."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.manifest import Manifest, file_digest
from store.places import place_at

digests = st.text("0123456789abcdef", min_size=64, max_size=64)
paths = st.lists(st.text("abcxyz019._-", min_size=1, max_size=8), min_size=1, max_size=4).map("/".join)


@given(files=st.dictionaries(paths, digests, max_size=8), empty=st.frozensets(paths, max_size=4))
def test_text_is_parsed_back(files: dict[str, str], empty: frozenset[str]) -> None:
    files = {**files, "zarr.json": "e" * 64}
    manifest = Manifest(files, empty - files.keys())
    parsed = Manifest.parse(manifest.text())
    assert parsed == manifest
    assert parsed.text() == manifest.text()
    assert parsed.digest == hashlib.sha256(manifest.text().encode()).hexdigest()


@given(files=st.dictionaries(paths, digests, max_size=8))
def test_text_does_not_depend_on_the_order_of_files(files: dict[str, str]) -> None:
    assert Manifest(dict(reversed(files.items()))).text() == Manifest(files).text()


ROWS = {"signal/c/0/0/0": "a" * 64, "label/aami/zarr.json": "b" * 64, "split/x/c/0": "c" * 64}


@pytest.mark.parametrize("path", ["rep/gaf/c/0/0/0/0", "rep/gaf/zarr.json", "zarr.json", "croissant.json"])
def test_rows_digest_leaves_out_what_makes_no_row(path: str) -> None:
    manifest = Manifest(ROWS, frozenset({"column/age/c/0"}))
    other = manifest.with_files(Manifest({path: "d" * 64}, frozenset({"rep/mtf/c/0/0/0/0"})))
    assert other.rows_digest == manifest.rows_digest
    assert other.digest != manifest.digest


@pytest.mark.parametrize("path", sorted(ROWS))
def test_rows_digest_covers_what_makes_a_row(path: str) -> None:
    manifest = Manifest(ROWS)
    assert manifest.with_files(Manifest({path: "d" * 64})).rows_digest != manifest.rows_digest


def test_rows_digest_covers_empty_columns() -> None:
    assert Manifest(ROWS, frozenset({"column/age/c/0"})).rows_digest != Manifest(ROWS).rows_digest


@pytest.mark.parametrize("line", ["", "abc  path", f"{'a' * 64} path", f"{'a' * 63}  path", "# other comment"])
def test_line_that_is_no_entry_raises_with_its_number(line: str) -> None:
    with pytest.raises(ValueError, match="line 2: expected '<sha256>  <path>'"):
        Manifest.parse(f"{'a' * 64}  zarr.json\n{line}\n")


def test_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"ecg")
    expected = hashlib.sha256(b"ecg").hexdigest()
    assert file_digest(tmp_path / "x") == expected
    assert place_at(tmp_path).digests(["x"]) == {"x": expected}
