"""What is written is read, whoever wrote it and in whatever order."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from store.errors import DamagedStoreError, IncompleteStoreError, UserError
from store.files import write_whole
from store.places import Folder
from store.plan import StorePlan, Task, Values
from store.read import open_store
from store.schema import SIGNAL_FILL, chunk_rows, task_rows, values_spec
from store.shards import write_task
from store.verify import find_damage
from store.write import Building, publish, publish_addition, read_manifest
from tests.small_stores import fill, make_blocks, make_plan, make_values, write_store

QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_signals_and_pictures_are_read_as_written(tmp_path: Path) -> None:
    plan = make_plan(reps=["gaf", "spectrogram16"])
    blocks = make_blocks(plan)
    store = open_store(write_store(tmp_path, plan, blocks))
    assert store.representations == ["gaf", "spectrogram16"]
    np.testing.assert_array_equal(store.signal[:], blocks["signal"])
    np.testing.assert_array_equal(store.representation("gaf")[:], blocks["rep/gaf"])
    np.testing.assert_array_equal(store.representation("spectrogram16")[:], blocks["rep/spectrogram16"])


column_values = st.integers(1, 40).flatmap(
    lambda n: st.one_of(
        hnp.arrays(np.int64, n),
        hnp.arrays(np.float32, n, elements=st.floats(width=32)),
        hnp.arrays(np.bool_, n),
        hnp.arrays(np.uint8, (n, 3)),
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), min_size=n, max_size=n).map(
            lambda texts: np.array(texts, dtype=object)
        ),
    )
)


@QUICK
@given(values=column_values)
def test_any_column_is_read_as_written(tmp_path: Path, values: np.ndarray) -> None:
    shutil.rmtree(tmp_path / "s", ignore_errors=True)
    (tmp_path / "s").mkdir()
    plan = make_plan({"column/any": Values(values, {})}, n_rows=len(values))
    store = open_store(write_store(tmp_path / "s", plan, make_blocks(plan)))
    read = store.column("any")
    assert read.shape == values.shape
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


@QUICK
@given(n_rows=st.integers(1, 700), row_bytes=st.integers(1, 1 << 22))
def test_tasks_cover_every_row_once_in_whole_shards(n_rows: int, row_bytes: int) -> None:
    rows = task_rows(row_bytes)
    assert rows % chunk_rows(row_bytes, rows) == 0
    plan = make_plan(n_rows=n_rows)
    tasks = plan.tasks()
    shard = plan.filled[0].shards
    assert shard is not None
    assert [task.start for task in tasks] == list(range(0, n_rows, shard[0]))
    assert [task.stop for task in tasks] == [*(task.start for task in tasks[1:]), n_rows]


@pytest.mark.parametrize(("row_bytes", "rows"), [(1 << 22, 64), (86_400_000, 2), (1 << 29, 1)])
def test_tasks_of_rows_that_are_days_fit_into_memory(row_bytes: int, rows: int) -> None:
    assert task_rows(row_bytes) == rows


@QUICK
@given(order=st.permutations([0, 1, 2]))
def test_any_order_of_tasks_gives_equal_bytes(tmp_path: Path, order: list[int]) -> None:
    plan = make_plan(reps=["gaf"])
    digests = set()
    for name, tasks in (("a", None), ("b", order)):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        (tmp_path / name).mkdir()
        digests.add(read_manifest(write_store(tmp_path / name, plan, make_blocks(plan), tasks)).digest)
    assert len(digests) == 1


def test_any_number_of_threads_gives_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(reps=["gaf", "spectrogram16"])
    digests = set()
    for threads in (1, 2, 5):
        monkeypatch.setattr("store.shards.COMPRESSING_THREADS", threads)
        (tmp_path / str(threads)).mkdir()
        digests.add(read_manifest(write_store(tmp_path / str(threads), plan, make_blocks(plan))).digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        pytest.param(Task(0, 1, 129), 128, id="does not start at a shard"),
        pytest.param(Task(0, 0, 100), 100, id="ends inside a shard"),
        pytest.param(Task(0, 0, 256), 256, id="two shards at once"),
        pytest.param(Task(0, 0, 128), 127, id="block is short"),
    ],
)
def test_misaligned_task_raises_and_leaves_nothing(tmp_path: Path, task: Task, rows: int) -> None:
    plan = make_plan()
    building = Building(tmp_path / ".building", plan)
    building.prepare()
    with pytest.raises(ValueError, match="not one whole shard"):
        write_task(
            building.folder, building.digest, task, {"signal": np.zeros((rows, *plan.filled[0].shape[1:]), np.int16)}
        )
    assert not list((building.folder / "signal").glob("c/*"))
    assert not list(building.folder.glob(".scratch-*"))


def test_plan_of_unequal_rows_raises() -> None:
    one, other = make_plan(), make_plan(n_rows=10)
    with pytest.raises(ValueError, match="equal rows"):
        StorePlan("x", (one.filled[0], other.filled[0]), {}, {}, {})


def test_shard_of_fill_values_is_listed_as_empty_and_read(tmp_path: Path) -> None:
    plan = make_plan(reps=["gaf"])
    blocks = make_blocks(plan)
    blocks["rep/gaf"][128:256] = 0
    place = write_store(tmp_path, plan, blocks)
    text = (place / "MANIFEST.sha256").read_text()
    assert "# empty rep/gaf/c/1/0/0/0\n" in text
    assert "# empty column/age/c/0\n" in text
    assert "# empty column/lead_substituted/c/0\n" in text
    assert not (place / "rep/gaf/c/1").exists()
    store = open_store(place)
    np.testing.assert_array_equal(store.representation("gaf")[:], blocks["rep/gaf"])
    assert np.isnan(store.column("age")).all()
    assert not list(find_damage(place))


def test_fill_values_are_never_plausible_data() -> None:
    assert SIGNAL_FILL == -32768
    assert values_spec("x", np.zeros(1, np.int8), {}).fill == -1
    assert values_spec("x", np.zeros((1, 5), np.uint8), {}).fill == 255
    assert np.isnan(values_spec("x", np.zeros(1, np.float32), {}).fill)


def test_manifest_lists_every_file_and_sha256sum_accepts_it(store_place: Path) -> None:
    files = {path.relative_to(store_place).as_posix() for path in store_place.rglob("*") if path.is_file()}
    assert set(read_manifest(store_place).digests) == files - {"MANIFEST.sha256"}
    sha256sum = shutil.which("sha256sum")
    if sha256sum is None:
        pytest.skip("sha256sum is not installed")
    command = [sha256sum, "--check", "--strict", "--quiet", "MANIFEST.sha256"]
    assert subprocess.run(command, cwd=store_place, capture_output=True, text=True, check=False).returncode == 0


def test_no_listed_file_names_its_place(store_place: Path) -> None:
    for path in read_manifest(store_place).digests:
        assert str(store_place.parent).encode() not in (store_place / path).read_bytes()


def test_equal_plans_are_taken_up_and_others_are_not(tmp_path: Path) -> None:
    plan = make_plan()
    building = Building(tmp_path / ".building", plan)
    assert not building.prepare()
    task = plan.tasks()[0]
    write_task(building.folder, building.digest, task, {"signal": make_blocks(plan)["signal"][:128]})
    assert Building(tmp_path / ".building", plan).prepare()
    assert [task.number for task in building.open_tasks()] == [1, 2]
    values = make_values()
    values["column/rr_prev_s"].values[0] += 1
    assert not Building(tmp_path / ".building", make_plan(values)).prepare()
    assert len(building.open_tasks()) == 3


def test_seal_needs_every_receipt(tmp_path: Path) -> None:
    building = Building(tmp_path / ".building", make_plan())
    building.prepare()
    with pytest.raises(ValueError, match="3 tasks have no receipt"):
        building.seal()


def test_file_that_changed_after_its_receipt_is_written_anew(tmp_path: Path) -> None:
    plan = make_plan()
    blocks = make_blocks(plan)
    building = Building(tmp_path / ".building", plan)
    building.prepare()
    fill(building, blocks)
    shard = building.folder / "signal/c/1/0/0"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DamagedStoreError, match="signal/c/1/0/0: changed since it was written"):
        publish(building, tmp_path / plan.name)
    assert not (tmp_path / plan.name).exists()
    fill(building, blocks)
    publish(building, tmp_path / plan.name)
    np.testing.assert_array_equal(open_store(tmp_path / plan.name).signal[:], blocks["signal"])


def test_column_lost_before_the_seal_is_damage_and_not_empty(tmp_path: Path) -> None:
    plan = make_plan()
    building = Building(tmp_path / ".building", plan)
    building.prepare()
    fill(building, make_blocks(plan))
    (building.folder / "column/patient/c/0").unlink()
    with pytest.raises(DamagedStoreError, match="column/patient/c/0"):
        publish(building, tmp_path / plan.name)
    assert not building.prepare(), "what is left must be made anew"


def test_leftovers_of_a_stopped_write_do_not_reach_the_manifest(tmp_path: Path) -> None:
    plan = make_plan()
    building = Building(tmp_path / ".building", plan)
    building.prepare()
    fill(building, make_blocks(plan))
    (building.folder / ".MANIFEST.sha256.77.tmp").write_text("half")
    (building.folder / "zarr.0123abcd.partial").write_text("half")
    taken_up = Building(tmp_path / ".building", plan)
    assert taken_up.prepare()
    manifest = publish(taken_up, tmp_path / plan.name)
    assert manifest.digest == read_manifest(write_store(tmp_path / "whole", plan, make_blocks(plan))).digest
    assert not list((tmp_path / plan.name).rglob("*.tmp"))
    assert not list((tmp_path / plan.name).rglob("*.partial"))


def test_manifest_of_another_build_of_the_same_store_is_not_listed(tmp_path: Path) -> None:
    """At a URL nothing keeps two builds apart: one may put its manifest while the other makes its own."""
    plan = make_plan()
    building = Building(tmp_path / ".building-s", plan)
    building.prepare()
    fill(building, make_blocks(plan))
    assert building._seal() == building._seal()


def test_incomplete_store_is_refused_under_any_name(tmp_path: Path) -> None:
    plan = make_plan()
    building = Building(tmp_path / ".building", plan)
    building.prepare()
    fill(building, make_blocks(plan))
    with pytest.raises(IncompleteStoreError, match=r"MANIFEST.sha256 is absent"):
        open_store(building.folder)


def _addition(plan: StorePlan, name: str) -> StorePlan:
    more = make_plan(reps=[name])
    return StorePlan(plan.name, more.filled[1:], {}, plan.attributes, {"croissant.json": "{}\n"})


def test_added_representation_gives_the_digest_of_one_built_at_once(tmp_path: Path) -> None:
    at_once = make_plan(reps=["gaf", "mtf"])
    blocks = make_blocks(at_once)
    whole = read_manifest(write_store(tmp_path / "whole", at_once, blocks))
    for first, second in (("gaf", "mtf"), ("mtf", "gaf")):
        plan = make_plan(reps=[first])
        place = write_store(tmp_path / first, plan, {path: blocks[path] for path in ("signal", f"rep/{first}")})
        before = read_manifest(place)
        aside = Building(tmp_path / first / ".adding", _addition(plan, second))
        aside.prepare()
        fill(aside, {f"rep/{second}": blocks[f"rep/{second}"]})
        after = publish_addition(aside, place)
        assert after.digest == whole.digest
        assert after.digest != before.digest
        assert after.rows_digest == before.rows_digest
        assert not list(find_damage(place))
        assert not aside.folder.exists()


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.json"
    write_whole(file, "old")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        write_whole(file, "new")
    assert file.read_text() == "old"


def test_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shard").write_bytes(b"new")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError, match="no"):
        Folder(str(tmp_path)).put(tmp_path / "shard", "signal/c/0")
    assert not (tmp_path / "signal/c/0").exists()


def test_receipt_is_given_for_what_is_in_its_place_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    building = Building(tmp_path / ".building", plan)
    building.prepare()
    monkeypatch.setattr(Folder, "put", lambda *_: (_ for _ in ()).throw(OSError("the disk is gone")))
    with pytest.raises(OSError, match="the disk is gone"):
        write_task(building.folder, building.digest, plan.tasks()[0], {"signal": make_blocks(plan)["signal"][:128]})
    assert building.receipts() == {}
    assert len(building.open_tasks()) == 3


WITHOUT_ZARRS = """
import importlib.metadata, sys

found = importlib.metadata.entry_points()

class OtherEntryPoints:
    groups = found.groups

    def select(self, **wanted):
        return [point for point in found.select(**wanted) if "zarrs" not in point.value]

importlib.metadata.entry_points = OtherEntryPoints
sys.modules["zarrs"] = None
"""


def test_plain_zarr_reads_a_store_without_the_native_codecs(tmp_path: Path) -> None:
    plan = make_plan(reps=["gaf"])
    blocks = make_blocks(plan)
    place = write_store(tmp_path, plan, blocks)
    code = WITHOUT_ZARRS + (
        "import zarr, numpy as np\n"
        f"group = zarr.open_group({str(place)!r}, mode='r')\n"
        "print(int(group['signal'][:].astype(np.int64).sum()), group['column/patient'][0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == [str(blocks["signal"].astype(np.int64).sum()), "mitdb/100"], done.stderr


def test_consolidated_metadata_names_every_array(store_place: Path) -> None:
    group = zarr.open_group(store_place, mode="r")
    metadata = group.metadata.consolidated_metadata
    assert metadata is not None
    listed = {path for path in metadata.flattened_metadata if (store_place / path / "c").exists()}
    assert {"signal", "rep/gaf", "label/aami", "split/interpatient", "column/record"} <= listed


def test_task_that_does_not_see_the_building_says_so(tmp_path: Path) -> None:
    plan = make_plan()
    with pytest.raises(UserError, match=r"nowhere: not seen where its tasks run"):
        write_task(tmp_path / "nowhere", plan.digest, plan.tasks()[0], make_blocks(plan))
    assert not (tmp_path / "nowhere").exists(), "a worker that was held up till the store was published leaves nothing"
