"""Balances of a built store: of training rows alone, imbalanced-learn's own rows, added without a rebuild."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import mlcroissant
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import ADASYN, SMOTE, RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from pydantic import ValidationError

import ecgprep.additions
from ecgprep.balance import BalanceTask, draw_balance, plan_balances, read_rows
from ecgprep.build import BuildResult, build
from ecgprep.config import Prepare
from ecgprep.inspect import SHOWN_CLASSES, print_store
from ecgprep.synth import write_cinc2017, write_mitdb, write_svdb
from pipelines.recipe import override
from pipelines.workspace import Workspace
from store.balance import Balance, mix_rows
from store.errors import UnknownNameError, UserError
from store.plan import Values
from store.read import Split, Store, open_store
from store.verify import find_damage
from store.vocabulary import TRAIN

Build = Callable[..., BuildResult]
PER_CLASS, SEED = 60, 42
N_RUNS = 4 + 5 + 10  # DS1/DS2 twice, random beats, 70/15/15, and the folds
METHODS = ("smote", "adasyn", "over", "under")
REQUEST: Mapping[str, Any] = {
    "dataset": "mitdb",
    "balance": METHODS,
    "samples_per_class": PER_CLASS,
    "balance_neighbours": 2,
}
NAMES = {"smote": "smote-60-k2", "adasyn": "adasyn-60-k2", "over": "over-60", "under": "under-60"}


@pytest.fixture(scope="module")
def built(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    prepare = Prepare.model_validate({**REQUEST, "workers": 0})
    return build(prepare, Workspace(tmp_path_factory.mktemp("home")), raw)


@pytest.fixture(scope="module")
def store(built: BuildResult) -> Store:
    return open_store(built.place)


def runs(store: Store) -> Iterator[tuple[Split, int | None, np.ndarray]]:
    """Yield every protocol and run over folds with its training rows."""
    for protocol in store.protocols:
        split = store.split(protocol)
        for fold in range(split.n_folds) if split.n_folds else (None,):
            yield split, fold, split.of_fold(fold).rows(TRAIN)


def oracle(method: str, signals: np.ndarray, classes: np.ndarray, scored: set[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return what imbalanced-learn itself gives: under-sampled to `PER_CLASS`, then over-sampled to it."""
    n = {c: int((classes == c).sum()) for c in scored}
    few = {c: PER_CLASS for c in scored if n[c] < PER_CLASS}
    many = {c: PER_CLASS for c in scored if n[c] > PER_CLASS}
    steps: list[Any] = [RandomUnderSampler(sampling_strategy=many, random_state=SEED)] if many else []
    if method != "under" and few:
        steps.append(
            {
                "smote": SMOTE(sampling_strategy=few, k_neighbors=2, random_state=SEED),
                "adasyn": ADASYN(sampling_strategy=few, n_neighbors=2, random_state=SEED),
                "over": RandomOverSampler(sampling_strategy=few, random_state=SEED),
            }[method]
        )
    for step in steps:
        signals, classes = step.fit_resample(signals, classes)
    return signals, classes


def in_some_order(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return rows with their class in an order that does not depend on how they were listed."""
    table = np.column_stack([classes, rows])
    return table[np.lexsort(table.T[::-1])]


@pytest.mark.parametrize("method", METHODS)
def test_every_protocol_and_fold_is_balanced_as_imbalanced_learn_balances_its_training_rows(
    store: Store, method: str
) -> None:
    n_runs = 0
    for split, fold, training in runs(store):
        if not len(training):
            assert store.balances(split.protocol, fold) == []
            continue
        n_runs += 1
        label = store.label(split.scheme)
        balance = store.balance(split.protocol, NAMES[method], fold)
        counts = store.signal[:].reshape(store.n_rows, -1)
        scored = {label.classes.index(name) for name in split.score_classes}
        first, second = (counts[parent].astype(np.float64) for parent in balance.parents.T)
        made = first + balance.weights[:, None].astype(np.float64) * (second - first)
        rows = np.concatenate([counts[balance.keep], made])
        classes = np.concatenate([label.values[balance.keep], balance.classes])
        expected = oracle(method, counts[training].astype(np.float64), label.values[training], scored)
        found, wanted = in_some_order(rows, classes), in_some_order(*expected)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=0.01)  # counts; weights are stored as float32
    assert n_runs == N_RUNS


def test_no_synthetic_row_has_a_parent_outside_its_training_rows(store: Store) -> None:
    assert_parents_train(store)


@pytest.mark.parametrize(
    ("write", "section", "protocols"),
    [
        pytest.param(
            (partial(write_mitdb, n_minutes=0.3), partial(write_svdb, n_minutes=0.4, n_records=12)),
            {"dataset": "mitdb,svdb", "balance": ("smote", "over")},
            {"cross-mitdb-svdb", "cross-svdb-mitdb", "patient-70-15-15", "kfold-10"},
            id="two databases",
        ),
        pytest.param(
            (partial(write_cinc2017, n_records=60),),
            {"dataset": "cinc2017", "balance": "over,under"},
            {"record-75-5-20", "patient-70-15-15", "kfold-10"},
            id="records",
        ),
    ],
)
def test_no_row_of_other_databases_has_a_parent_outside_its_training_rows(
    write: Sequence[Callable[[Path], object]],
    section: Mapping[str, Any],
    protocols: set[str],
    tmp_path: Path,
    build_in: Build,
) -> None:
    for write_database in write:
        write_database(tmp_path / "raw")
    given = {**REQUEST, **section, "samples_per_class": 30, "balance_leave": ["F", "Q"] if len(write) > 1 else []}
    store = open_store(build_in(tmp_path / "raw", **given).place)
    assert_parents_train(store)
    assert protocols <= {facts["protocol"] for facts in store.balance_facts.values()}


def assert_parents_train(store: Store) -> None:
    """By hand, from the columns and values alone: the reader's own check is not asked."""
    patients = store.column("patient")
    assert store.balance_facts
    for path, facts in store.balance_facts.items():
        split = store.split(facts["protocol"])
        parents, keep = np.asarray(store.group[f"{path}/parent"][:]), np.asarray(store.group[f"{path}/keep"][:])
        used = np.union1d(parents.ravel(), np.flatnonzero(keep))
        if split.kind == "folds":
            k = facts["fold"]
            assert not np.isin(split.values[used], [-1, k, (k + 1) % split.n_folds]).any()
            held_out = np.isin(split.values, [k, (k + 1) % split.n_folds])
        else:
            assert (split.values[used] == TRAIN).all()
            held_out = split.values > TRAIN
        if not split.leaks:
            assert not set(patients[used]) & set(patients[held_out])


def test_classes_reach_the_number_and_those_that_are_not_scored_are_left(store: Store) -> None:
    for facts in store.balance_facts.values():
        split = store.split(facts["protocol"])
        balance = store.balance(facts["protocol"], facts["name"], facts["fold"])
        for number, name in enumerate(facts["classes"]):
            kept = int((store.label(split.scheme).values[balance.keep] == number).sum())
            made = int((balance.classes == number).sum())
            assert facts["after"][name] == kept + made
            before = facts["before"][name]
            if name not in split.score_classes:
                assert (kept, made, name in facts["left"]) == (before, 0, True)
            elif facts["method"] == "under":
                assert (kept, made) == (min(before, PER_CLASS), 0)
            else:
                assert kept == min(before, PER_CLASS)
                rounding = before / 2 if facts["method"] == "adasyn" else 0  # of each row's share
                assert kept + made == pytest.approx(PER_CLASS, abs=rounding)
            assert facts["replication"].get(name) == (round(facts["after"][name] / before, 3) if before else None)


def test_pictures_of_mixed_rows_are_drawn_from_mixed_counts(store: Store) -> None:
    balance = store.balance("interpatient", NAMES["smote"])
    first, second = (store.signal[:][parent] for parent in balance.parents.T)
    counts = mix_rows(first, second, balance.weights)
    assert counts.dtype == np.int16
    assert (counts >= np.minimum(first, second)).all()
    assert (counts <= np.maximum(first, second)).all()


# adding


def tree(place: Path) -> dict[str, tuple[int, int]]:
    files = (path for path in place.rglob("*") if path.is_file())
    return {str(path.relative_to(place)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_balance_is_added_to_a_complete_store_and_touches_nothing_else(build_in: Build, raw: Path) -> None:
    place = build_in(raw, dataset="mitdb").place
    before = tree(place)
    result = build_in(raw, **REQUEST)
    assert (result.place, result.state, len(result.balances)) == (place, "added", 4 * N_RUNS)
    after = tree(place)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"MANIFEST.sha256", "zarr.json", "croissant.json"}
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"synthetic"}
    assert build_in(raw, **REQUEST).state == "complete"
    assert tree(place).keys() == after.keys()
    assert list(find_damage(place)) == []


def test_digest_does_not_depend_on_the_order_in_which_things_were_added(
    build_in: Build, raw: Path, built: BuildResult
) -> None:
    reps = {"reps": "gaf:size=16"}
    whole = build_in(raw, "a", **REQUEST, **reps)
    build_in(raw, "b", dataset="mitdb")
    for method in reversed(METHODS):
        build_in(raw, "b", **{**REQUEST, "balance": (method,)})
    assert open_store(build_in(raw, "b", dataset="mitdb").place).digest == built.digest
    assert build_in(raw, "b", dataset="mitdb", **reps).digest == whole.digest


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")  # in rdflib
def test_croissant_describes_balances(built: BuildResult) -> None:
    place = built.place / "croissant.json"
    assert not mlcroissant.Dataset(jsonld=place).metadata.ctx.issues.errors
    sets = {item["name"]: item["field"] for item in json.loads(place.read_text())["recordSet"]}
    balance = {field["name"]: field["description"] for field in sets["synthetic/interpatient-smote-60-k2"]}
    assert balance == {
        "synthetic/interpatient-smote-60-k2/class": "synthetic int8",
        "synthetic/interpatient-smote-60-k2/parent": "synthetic × parent int64",
        "synthetic/interpatient-smote-60-k2/weight": "synthetic float32",
    }
    rows = {field["name"]: field["description"] for field in sets["rows"]}
    assert rows["synthetic/kfold-5-0-under-60/keep"] == "row bool"


def test_other_parameters_make_another_balance(build_in: Build, raw: Path) -> None:
    ask = {**REQUEST, "balance": ("smote",), "balance_protocols": ("interpatient",)}
    place = build_in(raw, **ask).place
    first = open_store(place).balance("interpatient", "smote-60-k2")
    others = [{"samples_per_class": 70}, {"balance_neighbours": 3}, {"balance_copies": 2.0}, {"balance_leave": ("F",)}]
    for other in others:
        assert build_in(raw, **{**ask, **other}).place == place
    store = open_store(place)
    names = ["smote-60-k2", "smote-60-k2-without-F", "smote-60-k2-x2", "smote-60-k3", "smote-70-k2"]
    assert store.balances("interpatient") == names
    np.testing.assert_array_equal(store.balance("interpatient", "smote-60-k2").parents, first.parents)
    capped = store.balance("interpatient", "smote-60-k2-x2").facts
    assert all(n <= 2 * capped["before"][name] for name, n in capped["after"].items())
    left = store.balance("interpatient", "smote-60-k2-without-F").facts
    assert left["after"]["F"] == left["before"]["F"]


@pytest.mark.parametrize("n_classes", [7, 9])
def test_table_of_many_classes_and_long_names_fits_on_a_terminal(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], n_classes: int
) -> None:
    classes = [f"Atrial flutter, type {number}" for number in range(n_classes)]
    facts = {"classes": classes, "before": dict.fromkeys(classes, 1234), "after": dict.fromkeys(classes, 4321)}
    path = "synthetic/patient-70-15-15-over-100-without-Irregular sinus rhythm+Sinus tachycardia"
    monkeypatch.setattr(Store, "balance_facts", {path: facts})
    monkeypatch.setenv("COLUMNS", "80")
    print_store(store)
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    if n_classes > SHOWN_CLASSES:
        assert "9 classes, counted" in " ".join(shown.split())
    else:
        assert any(line.count("1,234") == line.count("│") - 2 == 7 for line in lines)


def test_slash_in_a_class_does_not_nest_the_balance() -> None:
    values = values_of(np.repeat([0, 1], 6), np.zeros(12), score_classes=["N", "A/B"])
    label = values["label/aami"]
    values["label/aami"] = Values(label.values, {**label.attributes, "classes": ["N", "A/B"]})
    prepare = Prepare(dataset="wfdb", unit="record", balance=("over",), balance_leave=("A/B",))
    (task,) = plan_balances(values, prepare)
    assert task.path == "synthetic/p-over-without-A~1B"


@pytest.mark.parametrize("keys", [{"samples_per_class": 10**23}, {"balance_copies": float("inf")}])
def test_number_that_no_array_can_have_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(keys))):
        Prepare(dataset="mitdb", balance=("over",), **keys)


def test_stop_while_balances_are_added_is_mended(
    build_in: Build, raw: Path, built: BuildResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_in(raw, dataset="mitdb")
    publish, calls = ecgprep.additions.publish_addition, []

    def stop_at_the_third(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return publish(*given)

    monkeypatch.setattr(ecgprep.additions, "publish_addition", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        build_in(raw, **REQUEST)
    monkeypatch.undo()
    result = build_in(raw, **REQUEST)
    assert {balance.facts["method"] for balance in result.balances} == {"over", "under"}, "two were there already"
    assert result.digest == built.digest


def test_progress_ends_at_its_total(raw: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    prepare = Prepare.model_validate({**REQUEST, "balance": ("smote", "adasyn"), "workers": 0})
    build(prepare, Workspace(tmp_path), raw, progress=lambda *step: told.append(step))
    steps = [step for step in told if "neighbours" in step[0]]
    for what in {what for what, _, _ in steps}:
        done, total = next((d, t) for w, d, t in reversed(steps) if w == what)
        assert done == total > 0


# refusals


def values_of(label: np.ndarray, split: np.ndarray, **facts: Any) -> dict[str, Values]:
    """Return labels of N, S and V, of which N and V are scored, and one protocol."""
    about = {"scheme": "aami", "score_classes": ["N", "V"], "unit": "patient", "leaks": [], **facts}
    return {
        "label/aami": Values(label.astype(np.int8), {"classes": ["N", "S", "V"], "multilabel": False}),
        "split/p": Values(split.astype(np.int8), about),
    }


@settings(max_examples=8)
@given(draw=st.integers(0, 2**32 - 1), kind=st.sampled_from(["split", "folds"]))
@pytest.mark.parametrize("method", METHODS)
def test_of_any_split_a_balance_takes_training_rows_alone(method: str, kind: str, draw: int) -> None:
    """Any rows may be in any part, as random beats are: a parent from elsewhere is not saved by its patient."""
    generator = np.random.default_rng(draw)
    of_each, parts = np.repeat([0, 1, 2], [30, 5, 4]), np.arange(-1, 5 if kind == "folds" else 3)
    rows = generator.permutation(len(of_each) * len(parts))
    label, part = np.tile(of_each, len(parts))[rows], np.repeat(parts, len(of_each))[rows]
    signal = generator.integers(-500, 500, (len(rows), 2, 9)).astype(np.int16)
    store: Any = SimpleNamespace(signal=zarr.array(signal, chunks=(64, 2, 9)))
    ask = {"dataset": "mitdb", "unit": "beat:c360", "balance": method, "samples_per_class": 20, "balance_neighbours": 3}
    values = values_of(label, part, score_classes=["N", "S", "V"], kind=kind)
    drawn = [
        [draw_balance(task, store) for task in plan_balances(values, Prepare.model_validate({**ask, **keys}))]
        for keys in ({"seed": 1}, {"seed": 1}, {"seed": 2}, {"seed": 1, "balance_neighbours": 2})
    ]
    assert [balance.fold for balance in drawn[0]] == ([*range(5)] if kind == "folds" else [None])
    for balance, again, other, nearer in zip(*drawn, strict=True):
        held_out = [1, 2] if balance.fold is None else [balance.fold, (balance.fold + 1) % 5]
        trains = (part >= 0) & ~np.isin(part, held_out)
        assert trains[balance.parents].all()
        assert trains[balance.keep].all()
        assert (label[balance.parents] == balance.classes[:, None]).all()
        assert ((balance.weights >= 0) & (balance.weights <= 1)).all()
        assert balance.weights.any() == (method in ("smote", "adasyn")), "copies are no mixtures"
        np.testing.assert_array_equal(balance.parents, again.parents)
        np.testing.assert_array_equal(balance.weights, again.weights)
        np.testing.assert_array_equal(balance.keep, again.keep)
        assert not np.array_equal(balance.keep, other.keep), "another seed is another draw"
        assert method == "under" or not np.array_equal(balance.parents, other.parents)
        assert np.array_equal(balance.parents, nearer.parents) == (method in ("over", "under"))


def tasks_of(method: str, n_v: int, **keys: Any) -> list[BalanceTask]:
    """Plan a balance of 20 N, 1 S and `n_v` V training rows, with V rows in validation and test."""
    label = np.repeat([0, 1, 2, 2], [20, 1, n_v, 30])
    split = np.repeat([0, 0, 0, 1], [20, 1, n_v, 30])
    prepare = Prepare.model_validate({"dataset": "mitdb", "unit": "beat:c360", "balance": method, **keys})
    return plan_balances(values_of(label, split), prepare)


@pytest.mark.parametrize(("method", "n_v"), [("smote", 5), ("adasyn", 5), ("smote", 1), ("over", 0), ("under", 0)])
def test_class_with_too_few_rows_is_refused_with_the_way_out(method: str, n_v: int) -> None:
    with pytest.raises(UserError, match=r"class V has .*in p.*--set 'balance_leave=\[\"V\"\]'"):
        tasks_of(method, n_v)
    (task,) = tasks_of(method, n_v, balance_leave="V")
    assert task.left == ("S", "V")


def test_refusal_names_every_class_once_and_its_advice_is_enough() -> None:
    """Three classes, one of them of another scheme, that most runs over folds lack."""
    label = np.repeat([0, 1, 2], [20, 1, 1])
    values = values_of(label, np.arange(22) % 5, kind="folds", score_classes=["N", "S", "V"])
    other = {"classes": ["N", "flutter, typical"], "multilabel": False}
    values["label/rhythm"] = Values((label == 2).astype(np.int8), other)
    values["split/q"] = Values(np.arange(22) % 5, {**values["split/p"].attributes, "scheme": "rhythm"})
    values["split/q"].attributes["score_classes"] = other["classes"]
    ask: dict[str, Any] = {"dataset": "mitdb", "unit": "record", "balance": "over"}
    with pytest.raises(UserError, match=r"class S has .*class V has .*class flutter, typical has ") as caught:
        plan_balances(values, Prepare.model_validate(ask))
    advice = str(caught.value).partition("--set '")[2].partition("'")[0]
    prepare = Prepare.model_validate(override(ask, [advice], "prepare"))
    assert prepare.balance_leave == ("S", "V", "flutter, typical")
    assert len(plan_balances(values, prepare)) == 10
    with pytest.raises(UnknownNameError, match=r"mean 'flutter, typical'\? Write names with commas .* as a list"):
        plan_balances(values, Prepare.model_validate({**ask, "balance_leave": "flutter, typical"}))


@pytest.mark.parametrize(
    ("text", "names"), [("1", ("1",)), ("0,1", ("0", "1")), ('"no"', ("no",)), ('"nan"', ("nan",))]
)
def test_class_that_looks_like_a_value_can_be_left(text: str, names: tuple[str, ...]) -> None:
    section = override({"dataset": "wfdb"}, [f"balance_leave={text}"], "prepare")
    assert Prepare.model_validate(section).balance_leave == names


@pytest.mark.parametrize("text", ["no", "nan", "1.5"])
def test_class_that_is_read_as_a_value_is_refused_with_the_way_out(text: str) -> None:
    section = override({"dataset": "wfdb"}, [f"balance_leave={text}"], "prepare")
    with pytest.raises(ValidationError, match=r"no name.*in quotes"):
        Prepare.model_validate(section)


def test_protocol_of_several_labels_a_row_is_left_out_unless_it_is_named() -> None:
    values = values_of(np.repeat([0, 2], 10), np.zeros(20))
    values["label/form"] = Values(np.zeros((20, 2), np.uint8), {"classes": ["a", "b"], "multilabel": True})
    about = {**values["split/p"].attributes, "scheme": "form", "score_classes": ["a", "b"]}
    values["split/q"] = Values(values["split/p"].values, about)
    ask = {"dataset": "wfdb", "unit": "record", "balance": "over"}
    assert [task.protocol for task in plan_balances(values, Prepare.model_validate(ask))] == ["p"]
    with pytest.raises(UserError, match="rows of scheme 'form' have several labels"):
        plan_balances(values, Prepare.model_validate({**ask, "balance_protocols": "p,q"}))


def test_what_is_named_twice_is_drawn_once() -> None:
    (task,) = tasks_of("over,over", 6, balance_protocols="p,p", balance_leave="S,S")
    assert task.path == "synthetic/p-over-without-S"


@pytest.mark.parametrize("per_class", [5, 50])
@pytest.mark.parametrize("method", ["over", "under"])
def test_class_that_has_all_training_rows_is_left(method: str, per_class: int) -> None:
    prepare = Prepare(
        dataset="mitdb", unit="record", balance=(method,), balance_leave=("V",), samples_per_class=per_class
    )
    (task,) = plan_balances(values_of(np.zeros(9), np.zeros(9)), prepare)
    assert task.left == ("N", "S", "V")
    drawn = draw_balance(task, cast("Store", None))
    assert (drawn.keep.sum(), len(drawn.parents)) == (9, 0)


def test_fewer_neighbours_need_fewer_rows() -> None:
    assert len(tasks_of("smote", 6)) == 1
    assert len(tasks_of("smote", 5, balance_neighbours=4)) == 1
    assert len(tasks_of("over", 1)) == 1


def test_class_that_is_large_enough_needs_no_neighbours() -> None:
    (task,) = tasks_of("smote", 5, samples_per_class=5)
    assert task.wanted == {"N": 5, "S": 1, "V": 5}
    assert task.n_new() == {}


def test_protocol_without_training_rows_has_no_balance() -> None:
    values = values_of(np.zeros(9), np.full(9, -1))
    assert plan_balances(values, Prepare(dataset="mitdb", unit="beat:c360", balance=("smote",))) == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"balance": "smot"}, "unknown balance 'smot'. Did you mean 'smote'"),
        ({"balance": "over", "balance_protocols": "interpatent"}, "Did you mean 'interpatient'"),
        ({"balance": "over", "balance_leave": "f"}, "Did you mean 'F'"),
    ],
)
def test_wrong_names_are_named(build_in: Build, raw: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        build_in(raw, dataset="mitdb", **keys)


@pytest.mark.parametrize("method", METHODS)
def test_task_with_several_labels_a_row_is_refused_before_anything_is_built(
    build_in: Build, raw: Path, tmp_path: Path, method: str
) -> None:
    with pytest.raises(UserError, match=r"superclass.*several labels.*class_weights=inverse\)$"):
        build_in(raw, dataset="ptbxl", balance=method)
    assert not list((tmp_path / "home/store").glob("*.zarr"))


def test_records_are_not_mixed_sample_by_sample() -> None:
    with pytest.raises(UserError, match=r"R waves have to lie at one place.*--balance over or under"):
        tasks_of("smote", 10, unit="record")
    assert len(tasks_of("over", 10, unit="record")) == 1


def test_adasyn_without_hard_neighbours_names_smote(store: Store) -> None:
    """Each class at a place of its own: no row of V lies near one of N."""
    label = np.repeat([0, 2], [20, 8])
    values = values_of(label, np.zeros(28))
    keys = {"balance": "adasyn", "balance_neighbours": 2, "samples_per_class": 20}
    (task,) = plan_balances(values, Prepare.model_validate({"dataset": "mitdb", "unit": "beat:c360", **keys}))

    class Apart:
        signal = _as_array(np.where(label[:, None, None] == 0, 0, 30000) + np.arange(28)[:, None, None] % 5)

    with pytest.raises(UserError, match=r"in p no row of class V has .*another class.*--balance smote"):
        draw_balance(task, Apart())  # type: ignore[arg-type]


def _as_array(values: np.ndarray) -> Any:
    array = zarr.create_array(zarr.storage.MemoryStore(), shape=values.shape, dtype="int16", chunks=(7, 1, 1))
    array[:] = values
    return array


def test_rows_are_read_by_whole_shards(store: Store) -> None:
    rows = np.sort(np.random.default_rng(0).choice(store.n_rows, 100, replace=False))
    expected = store.signal[:][rows].reshape(100, -1)
    found = read_rows(store.signal, rows)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    assert read_rows(store.signal, rows[:0]).shape == (0, expected.shape[1])


def test_balance_is_what_its_facts_say(store: Store) -> None:
    balance: Balance = store.balance("interpatient", NAMES["smote"])
    assert balance.path == "synthetic/interpatient-smote-60-k2"
    assert balance.facts["seed"] == SEED
    assert balance.facts["neighbours"] == 2
    assert balance.facts["samples_per_class"] == PER_CLASS
