"""A balance is written aside, added whole, read back, and refused where it reaches out of the training rows."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from store.balance import Balance, mix_rows
from store.errors import LeakError, UnknownNameError, UserError
from store.manifest import MANIFEST_NAME
from store.plan import StorePlan
from store.read import open_store
from store.verify import find_damage
from store.vocabulary import TEST, TRAIN, UNUSED, VALIDATION
from store.write import Building, merge_addition, publish_addition
from tests.small_stores import N_ROWS, make_blocks, make_plan, write_store


def make_balance(place: Path, protocol: str = "interpatient", fold: int | None = None, name: str = "smote") -> Balance:
    """Return a balance of a store with 40 synthetic rows, all of them drawn from training rows."""
    generator = np.random.default_rng(2)
    training = open_store(place).split(protocol).of_fold(fold).values == TRAIN
    return Balance(
        protocol=protocol,
        fold=fold,
        name=name,
        parents=generator.choice(np.flatnonzero(training), (40, 2)),
        weights=generator.random(40, dtype=np.float32),
        classes=generator.integers(0, 3, 40).astype(np.int8),
        keep=training & (generator.random(N_ROWS) < 0.8),
        facts={"method": "smote", "scheme": "aami", "samples_per_class": 100},
    )


def adding(place: Path, *balances: Balance) -> Building:
    store = open_store(place)
    values = {path: item for balance in balances for path, item in balance.stored().items()}
    plan = StorePlan(store.name, (), values, store.attributes, {"croissant.json": "{}\n"})
    building = Building(place.parent / f".adding-{store.name}", plan)
    building.prepare()
    return building


def add(place: Path, *balances: Balance) -> None:
    publish_addition(adding(place, *balances), place)


def assert_same(found: Balance, expected: Balance) -> None:
    for part in ("parents", "weights", "classes", "keep"):
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))
        assert getattr(found, part).dtype == getattr(expected, part).dtype
    assert (found.protocol, found.fold, found.name) == (expected.protocol, expected.fold, expected.name)
    assert found.facts == expected.facts


def test_balances_are_read_back_by_protocol_fold_and_name(store_place: Path) -> None:
    added = [
        make_balance(store_place),
        make_balance(store_place, name="adasyn"),
        make_balance(store_place, "kfold-5", 0),
        make_balance(store_place, "kfold-5", 4),
    ]
    add(store_place, *added)
    store = open_store(store_place)
    assert store.balances() == store.balances("interpatient") == ["adasyn", "smote"]
    assert store.balances("kfold-5", 0) == ["smote"]
    assert store.balances("kfold-5") == store.balances("kfold-5", 1) == store.balances("random") == []
    for expected in added:
        assert_same(store.balance(expected.protocol, expected.name, expected.fold), expected)
    assert_same(store.balance(None, "smote"), added[0])
    assert store.group["synthetic/kfold-5-4-smote/parent"].metadata.dimension_names == ("synthetic", "parent")
    assert list(find_damage(store_place)) == []


def test_balance_changes_no_other_file(store_place: Path) -> None:
    before, rows_digest = open_store(store_place).manifest.digests, open_store(store_place).rows_digest
    inodes = {name: (store_place / name).stat().st_ino for name in before}
    add(store_place, make_balance(store_place))
    store = open_store(store_place)
    changed = {name for name in before if store.manifest.digests[name] != before[name]}
    assert changed == {"zarr.json"}
    assert all((store_place / name).stat().st_ino == inodes[name] for name in before if name.startswith("signal/"))
    assert store.rows_digest == rows_digest, "runs with and without a balance are compared"


def test_balance_without_synthetic_rows(store_place: Path) -> None:
    whole = make_balance(store_place, name="under")
    under = replace(whole, parents=whole.parents[:0], weights=whole.weights[:0], classes=whole.classes[:0])
    add(store_place, under)
    assert_same(open_store(store_place).balance("interpatient", "under"), under)
    assert list(find_damage(store_place)) == []


def test_stop_before_the_manifest_leaves_no_balance_and_is_mended(store_place: Path) -> None:
    whole = (store_place / MANIFEST_NAME).read_text()
    building = adding(store_place, make_balance(store_place))
    building.seal()
    shutil.copytree(building.folder, aside := building.folder.with_name("aside"))
    merge_addition(building.folder, store_place)
    (store_place / MANIFEST_NAME).write_text(whole)  # as a stop just before the last step leaves it
    assert open_store(store_place).balances() == []
    merge_addition(aside, store_place)
    assert open_store(store_place).balances() == ["smote"]
    assert list(find_damage(store_place)) == []


@pytest.mark.parametrize(("protocol", "fold"), [("interpatient", None), ("random", None), ("kfold-5", 1)])
@pytest.mark.parametrize("part", [VALIDATION, TEST, "unused row"])
def test_row_that_does_not_train_is_refused(store_place: Path, protocol: str, fold: int | None, part: object) -> None:
    sound = make_balance(store_place, protocol, fold)
    split = open_store(store_place).split(protocol).of_fold(fold)
    stray = N_ROWS if part == "unused row" else int(split.rows(int(part))[0])  # type: ignore[call-overload]
    parents = sound.parents.copy()
    parents[17, 1] = stray
    add(store_place, replace(sound, parents=parents))
    with pytest.raises(LeakError, match=rf"1 rows are parents of synthetic rows .* train in '{protocol}'.*row {stray}"):
        open_store(store_place).balance(protocol, "smote", fold)


def test_kept_row_that_does_not_train_is_refused(store_place: Path) -> None:
    sound = make_balance(store_place)
    stray = int(open_store(store_place).split().rows(TEST)[3])
    keep = sound.keep.copy()
    keep[stray] = True
    add(store_place, replace(sound, keep=keep))
    with pytest.raises(LeakError, match=f"1 rows are kept that do not train .*row {stray}"):
        open_store(store_place).balance("interpatient", "smote")


def test_balance_of_one_fold_is_refused_in_another(store_place: Path) -> None:
    """What a program that mixed up two folds would write."""
    add(store_place, replace(make_balance(store_place, "kfold-5", 0), fold=2))
    with pytest.raises(LeakError, match="fold 2"):
        open_store(store_place).balance("kfold-5", "smote", 2)


def test_store_that_was_changed_behind_its_back_is_refused(store_place: Path) -> None:
    add(store_place, make_balance(store_place))
    split = zarr.open_array(store_place / "split/interpatient", mode="r+")
    split[:] = np.asarray(split[:]) ^ 1  # training and validation change places
    with pytest.raises(LeakError, match="are parents of synthetic rows"):
        open_store(store_place).balance("interpatient", "smote")


def test_unknown_balance_names_the_nearest(store_place: Path) -> None:
    add(store_place, make_balance(store_place))
    with pytest.raises(UnknownNameError, match=r"'smoke'\. Did you mean 'smote'"):
        open_store(store_place).balance("interpatient", "smoke")
    with pytest.raises(UnknownNameError, match="ecgprep build --balance smote"):
        open_store(store_place).balance("random", "smote")
    with pytest.raises(UnknownNameError, match=r"ecgprep build --balance smote --samples-per-class N$"):
        open_store(store_place).balance("interpatient", "smote-500")


# folds


@given(folds=st.lists(st.integers(-1, 4), min_size=5, max_size=60))
def test_runs_over_folds_test_each_row_once(store_of_folds: Path, folds: list[int]) -> None:
    values = np.array([*folds, 0, 1, 2, 3, 4], np.int8)
    split = replace(open_store(store_of_folds).split("kfold-5"), values=values)
    tested = np.zeros(len(values), int)
    for fold in range(split.n_folds):
        run = split.of_fold(fold)
        np.testing.assert_array_equal(run.values == TEST, values == fold)
        np.testing.assert_array_equal(run.values == VALIDATION, values == (fold + 1) % 5)
        np.testing.assert_array_equal(run.values == UNUSED, values == -1)
        assert run.kind == "split"
        tested += run.values == TEST
    np.testing.assert_array_equal(tested, values >= 0)


@pytest.fixture(scope="module")
def store_of_folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = make_plan()
    return write_store(tmp_path_factory.mktemp("folds"), plan, make_blocks(plan))


def test_fold_has_to_be_named_where_there_are_folds_and_only_there(store_of_folds: Path) -> None:
    store = open_store(store_of_folds)
    split = store.split("interpatient")
    assert split.of_fold(None) is split
    for protocol, fold in (("kfold-5", None), ("kfold-5", 5), ("interpatient", 0)):
        with pytest.raises(UserError, match="numbers no folds" if fold == 0 else "has folds 0 to 4; name one"):
            store.split(protocol).of_fold(fold)


# mixing


def test_mixed_rows_lie_between_their_parents() -> None:
    first = np.array([[[0, 10, -32767]], [[5, 5, 5]], [[0, 0, 0]]], np.int16)
    second = np.array([[[4, 20, 32767]], [[7, 8, 9]], [[1, 2, -1]]], np.int16)
    mixed = mix_rows(first, second, np.array([0.25, 1.0, 0.7], np.float32))
    assert mixed.dtype == np.int16
    assert mixed.tolist() == [[[1, 12, -16384]], [[7, 8, 9]], [[1, 1, -1]]]  # halves go to the even count
