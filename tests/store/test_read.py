"""Reading: names, refusals, the check for shared patients, URLs, and processes."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pytest
import zarrs
from hypothesis import given
from hypothesis import strategies as st

from store.errors import (
    DamagedStoreError,
    IncompleteStoreError,
    LeakError,
    ResourceError,
    UnknownNameError,
    UserError,
)
from store.plan import Values
from store.read import Split, check_patients, open_store
from store.schema import SIGNAL_FILL
from store.vocabulary import TEST, TRAIN, VALIDATION
from tests.small_stores import make_blocks, make_plan, make_values, write_store


def test_store_says_what_it_holds(store_place: Path) -> None:
    store = open_store(store_place)
    assert store.name == "mitdb-01234567.zarr"
    assert (store.n_rows, store.leads, store.fs_hz, store.scale_mv) == (300, ("II", "V1"), 360.0, 0.001)
    assert store.synthetic
    assert store.representations == ["gaf"]
    assert store.schemes == ["aami", "superclass"]
    assert store.protocols == ["interpatient", "kfold-5", "random"]
    assert "patient" in store.columns


def test_arrays_of_a_folder_are_read_by_native_codecs(store_place: Path) -> None:
    store = open_store(store_place)
    for array in (store.signal, store.representation("gaf")):
        assert isinstance(array._async_array.codec_pipeline, zarrs.ZarrsCodecPipeline)


def test_labels_are_read_with_their_classes(store_place: Path) -> None:
    store, values = open_store(store_place), make_values()
    label = store.label()
    assert (label.scheme, label.classes, label.multilabel) == ("aami", ("N", "V", "Q"), False)
    np.testing.assert_array_equal(label.values, values["label/aami"].values)
    assert store.label("superclass").multilabel
    np.testing.assert_array_equal(store.label("superclass").values, values["label/superclass"].values)


def test_split_gives_each_part_its_rows(store_place: Path) -> None:
    split = open_store(store_place).split()
    assert (split.protocol, split.leaks, split.unit) == ("interpatient", (), "patient")
    parts = [split.rows(part) for part in (TRAIN, VALIDATION, TEST)]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(300))
    assert all((np.diff(rows) > 0).all() for rows in parts)


@pytest.mark.parametrize(
    ("read", "nearest"),
    [
        pytest.param(lambda s: s.representation("gfa"), "gaf", id="representation"),
        pytest.param(lambda s: s.label("amai"), "aami", id="scheme"),
        pytest.param(lambda s: s.column("patients"), "patient", id="column"),
        pytest.param(lambda s: s.split("inter-patient"), "interpatient", id="protocol"),
    ],
)
def test_unknown_name_is_answered_with_the_nearest(store_place: Path, read: Callable, nearest: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean '{nearest}'"):
        read(open_store(store_place))


def test_long_list_of_names_is_cut() -> None:
    message = str(UnknownNameError("patient", "x", map(str, range(20_000))))
    assert message.endswith("78, 79 and 19920 more.")
    assert len(message) < 500


def test_another_schema_is_refused(tmp_path: Path) -> None:
    plan = make_plan()
    plan.attributes["schema"] = 99  # type: ignore[index]
    with pytest.raises(IncompleteStoreError, match="store schema 99, this version reads 1"):
        open_store(write_store(tmp_path, plan, make_blocks(plan)))


def test_representation_that_the_manifest_does_not_list_is_not_there(store_place: Path) -> None:
    """A stop while one is added can leave metadata that is ahead of the manifest."""
    manifest = store_place / "MANIFEST.sha256"
    lines = [line for line in manifest.read_text().splitlines(keepends=True) if "rep/" not in line]
    manifest.write_text("".join(lines))
    store = open_store(store_place)
    assert store.representations == []
    with pytest.raises(UnknownNameError):
        store.representation("gaf")


# the check for shared patients


def split_of(values: list[int], kind: str = "split", leaks: tuple[str, ...] = ()) -> Split:
    return Split("p", np.array(values, np.int8), leaks, "", ("N",), "aami", "patient", kind)


@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(-1, 4)), min_size=1, max_size=40),
    kind=st.sampled_from(["split", "folds"]),
)
def test_patients_on_two_sides_are_found(rows: list[tuple[str, int]], kind: str) -> None:
    top = 4 if kind == "folds" else 2
    rows = [(patient, min(part, top)) for patient, part in rows]
    sides: dict[str, set[int]] = {}
    for patient, part in rows:
        if part >= 0:
            sides.setdefault(patient, set()).add(part)
    shared = sorted(patient for patient, parts in sides.items() if len(parts) > 1)
    split = split_of([part for _, part in rows], kind)
    patients = np.array([patient for patient, _ in rows], dtype=object)
    if not shared:
        check_patients(split, patients)
        return
    with pytest.raises(LeakError, match=f"{len(shared)} patients on two sides .{', '.join(shared[:3])}"):
        check_patients(split, patients)


@pytest.mark.parametrize("protocol", ["interpatient", "kfold-5"])
def test_leaking_split_is_refused_unless_it_says_so(tmp_path: Path, protocol: str) -> None:
    values = make_values()
    values[f"split/{protocol}"].values[3] = 1  # patient 100 is in part 0
    place = write_store(tmp_path / "a", make_plan(values), make_blocks(make_plan(values)))
    with pytest.raises(LeakError, match=r"1 patients on two sides \(mitdb/100\)"):
        open_store(place).split(protocol)
    stored = values[f"split/{protocol}"]
    values[f"split/{protocol}"] = Values(stored.values, {**stored.attributes, "leaks": ["patient"], "leak_note": "so"})
    place = write_store(tmp_path / "b", make_plan(values), make_blocks(make_plan(values)))
    assert open_store(place).split(protocol).leaks == ("patient",)


def test_only_the_leak_that_is_declared_is_allowed(tmp_path: Path) -> None:
    values = make_values()
    stored = values["split/random"]
    values["split/random"] = Values(stored.values, {**stored.attributes, "leaks": ["neighbour"]})
    place = write_store(tmp_path, make_plan(values), make_blocks(make_plan(values)))
    with pytest.raises(LeakError):
        open_store(place).split("random")


# URLs


class RangeHandler(SimpleHTTPRequestHandler):
    """Serves byte ranges, as object stores and web servers do, so that single chunks of a shard can be read."""

    def do_GET(self) -> None:
        file = Path(self.translate_path(self.path))
        asked = self.headers.get("Range")
        if asked is None or not file.is_file():
            super().do_GET()
            return
        whole = file.read_bytes()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(len(whole) - int(last), 0)
        stop = min(int(last) + 1, len(whole)) if first and last else len(whole)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(whole)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(whole[start:stop])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(RangeHandler, directory=str(tmp_path))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_store_is_read_over_http(store_place: Path, server: str) -> None:
    here = open_store(store_place)
    there = open_store(f"{server}/{store_place.name}")
    assert (there.digest, there.rows_digest, there.name) == (here.digest, here.rows_digest, here.name)
    np.testing.assert_array_equal(there.signal[:], here.signal[:])
    np.testing.assert_array_equal(there.representation("gaf")[10:20], here.representation("gaf")[10:20])
    assert there.column("patient").tolist() == here.column("patient").tolist()
    np.testing.assert_array_equal(there.split().values, here.split().values)


def test_shard_that_is_missing_over_http_is_an_error(store_place: Path, server: str) -> None:
    (store_place / "signal/c/1/0/0").unlink()
    with pytest.raises(DamagedStoreError, match="signal/c/1/0/0 is missing"):
        _ = open_store(f"{server}/{store_place.name}").signal


def test_shard_that_goes_missing_while_it_is_read_over_http_is_an_error(store_place: Path, server: str) -> None:
    """Zarr reads what is gone as fill value."""
    signal = open_store(f"{server}/{store_place.name}").signal
    (store_place / "signal/c/1/0/0").unlink()
    assert signal[0, 0, 0] > SIGNAL_FILL, "the others are read"
    with pytest.raises(DamagedStoreError, match="signal/c/1/0/0 has gone"):
        signal[:]


def test_no_store_at_a_url(server: str) -> None:
    with pytest.raises(IncompleteStoreError, match="absent"):
        open_store(f"{server}/absent.zarr")


def test_server_that_does_not_answer_is_a_resource_that_gave_out() -> None:
    with pytest.raises(ResourceError, match=r"127\.0\.0\.1:9/"):
        open_store("http://127.0.0.1:9/x.zarr")


def test_url_of_an_unknown_kind_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="gopher"):
        open_store("gopher://host/x.zarr")


# processes


def read_sum(place: str, answers: Queue) -> None:
    """Run in another process: what it reads, or the error that it meets."""
    try:
        answers.put(int(open_store(place).signal[:].astype(np.int64).sum()))
    except Exception as error:
        answers.put(type(error).__name__)


def answer_of(method: str, place: Path) -> object:
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    process = context.Process(target=read_sum, args=(str(place), answers))
    process.start()
    try:
        return answers.get(timeout=60)
    finally:
        process.kill()
        process.join()
        answers.close()


@pytest.mark.timeout(120)
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
def test_forked_process_is_told_and_does_not_hang(store_place: Path) -> None:
    open_store(store_place).signal[:]
    assert answer_of("fork", store_place) == "ForkedProcessError"


@pytest.mark.timeout(120)
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
def test_store_that_was_opened_before_a_fork_is_not_read_in_the_child(store_place: Path) -> None:
    store = open_store(store_place)
    store.signal[:]
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def read() -> None:
        try:
            store.column("patient")
        except Exception as error:
            answers.put(type(error).__name__)

    process = context.Process(target=read)
    process.start()
    try:
        assert answers.get(timeout=60) == "ForkedProcessError"
    finally:
        process.kill()
        process.join()
        answers.close()


@pytest.mark.timeout(120)
def test_spawned_process_reads(store_place: Path) -> None:
    total = int(open_store(store_place).signal[:].astype(np.int64).sum())
    assert answer_of("spawn", store_place) == total
