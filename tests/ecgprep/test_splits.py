"""No patient on two sides, every usable row in exactly one part, and the same draw every time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgprep.config import Prepare
from ecgprep.datasets.mitdb import DATABASE as MITDB
from ecgprep.datasets.mitdb import DS1, DS1_VALIDATION, DS2, PACED
from ecgprep.splits import (
    Protocol,
    Rows,
    cross_protocol,
    leaking,
    patient_parts,
    patient_protocols,
    random_rows,
    strata,
    widened,
)
from store.plan import Values
from store.vocabulary import AAMI_CLASSES, TEST, TRAIN, UNUSED, VALIDATION


def make_rows(drawn: Sequence[tuple[int, int, bool]]) -> tuple[Rows, np.ndarray]:
    patients = np.array([f"p{patient}" for patient, _, _ in drawn])
    label = Values(np.array([c for _, c, _ in drawn], np.int8), {"classes": list("NSVF"), "multilabel": False})
    return Rows({"record": patients, "patient": patients}, {"aami": label}), np.array([u for _, _, u in drawn])


def draw_rows(n_patients: int, draw: int) -> tuple[Rows, np.ndarray]:
    """Return some six rows a patient, in any order; of lists that Hypothesis draws few have patients for a protocol."""
    generator = np.random.default_rng(draw)
    patients = generator.integers(n_patients, size=6 * n_patients)
    classes, usable = generator.integers(-1, 4, len(patients)), generator.random(len(patients)) < 0.8
    return make_rows(list(zip(patients.tolist(), classes.tolist(), usable.tolist(), strict=True)))


@settings(max_examples=40, deadline=None)
@given(n_patients=st.integers(1, 40), draw=st.integers(0, 2**32 - 1), seed=st.integers(0, 5))
def test_protocols_by_patient_keep_their_promise(n_patients: int, draw: int, seed: int) -> None:
    rows, usable = draw_rows(n_patients, draw)
    takes_part = usable & (strata(rows.labels["aami"]) >= 0)
    protocols = patient_protocols(rows, "aami", "NSVF", usable, seed)
    if n_patients >= 20:
        assert [p.name for p in protocols] == ["patient-70-15-15", "kfold-5", "kfold-10"]
    for protocol in protocols:
        assert protocol.leaks == ()
        np.testing.assert_array_equal(protocol.values != UNUSED, takes_part)
        top = int(protocol.name.removeprefix("kfold-")) - 1 if protocol.kind == "folds" else TEST
        assert protocol.values.max(initial=0) <= top
        for patient in np.unique(rows.columns["patient"][takes_part]):
            here = takes_part & (rows.columns["patient"] == patient)
            assert len(np.unique(protocol.values[here])) == 1
    again = patient_protocols(rows, "aami", "NSVF", usable, seed)
    assert [p.name for p in again] == [p.name for p in protocols]
    for one, other in zip(protocols, again, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_every_fold_is_used_and_the_shares_are_near_70_15_15() -> None:
    generator = np.random.default_rng(0)
    rows, usable = make_rows([(int(p), int(generator.integers(4)), True) for p in np.repeat(np.arange(100), 20)])
    protocols = {p.name: p.values for p in patient_protocols(rows, "aami", "NSVF", usable, 42)}
    assert set(protocols) == {"patient-70-15-15", "kfold-5", "kfold-10"}
    for k in (5, 10):
        assert np.unique(protocols[f"kfold-{k}"]).tolist() == list(range(k))
    shares = [(protocols["patient-70-15-15"] == part).mean() for part in (TRAIN, VALIDATION, TEST)]
    np.testing.assert_allclose(shares, [0.7, 0.15, 0.15], atol=0.03)
    for other in patient_protocols(rows, "aami", "NSVF", usable, 43):
        assert (other.values != protocols[other.name]).any(), "another seed is another draw"


def test_fewer_patients_than_folds_give_no_protocol() -> None:
    rows, usable = make_rows([(patient, 0, True) for patient in range(4)])
    assert patient_protocols(rows, "aami", "NSVF", usable, 0) == []
    assert patient_parts(np.zeros(4, np.int64), np.array(list("abcd")), np.zeros(4, bool), (0.5, 0.5), 0) is None


@given(
    stratum=st.lists(st.integers(-1, 4), min_size=1, max_size=300).map(lambda x: np.array(x, np.int64)),
    seed=st.integers(0, 9),
)
def test_random_rows_are_in_one_part_each_class_by_class(stratum: np.ndarray, seed: int) -> None:
    values = random_rows(stratum, (0.16, 0.20), seed)
    np.testing.assert_array_equal(values != UNUSED, stratum >= 0)
    for number in np.unique(stratum[stratum >= 0]):
        mine = values[stratum == number]
        assert (mine == TEST).sum() == round(0.20 * len(mine))
        assert (mine == VALIDATION).sum() == round(0.16 * len(mine))
    np.testing.assert_array_equal(values, random_rows(stratum, (0.16, 0.20), seed))


def test_random_rows_are_drawn_by_the_seed() -> None:
    one, other = (random_rows(np.zeros(100, np.int64), (0.16, 0.20), seed) for seed in (1, 2))
    assert (one != other).any()
    assert not np.isin(one[:20], TEST).all(), "rows stand by record and time: the first ones are of one patient"


@settings(max_examples=40, deadline=None)
@given(n_patients=st.integers(14, 40), draw=st.integers(0, 2**32 - 1), train_on=st.sampled_from("abc"))
def test_crossing_trains_on_one_database_and_tests_on_another(n_patients: int, draw: int, train_on: str) -> None:
    """Every seventh patient is in all three databases, as nstdb's are in mitdb."""
    rows, usable = draw_rows(n_patients, draw)
    database = np.random.default_rng(draw).choice(list("abc"), rows.n)
    number = np.char.strip(rows.columns["patient"], "p").astype(int)
    patient = np.where(number % 7 == 0, rows.columns["patient"], np.char.add(rows.columns["patient"], database))
    rows = Rows({**rows.columns, "patient": patient, "database": database}, rows.labels)
    takes_part = usable & (strata(rows.labels["aami"]) >= 0)
    for test_on in set("abc") - {train_on}:
        protocol = cross_protocol(rows, train_on, test_on, "aami", "NSVF", usable, 42)
        assert protocol is not None
        assert (protocol.name, protocol.leaks) == (f"cross-{train_on}-{test_on}", ())
        parts = {part: protocol.values == part for part in (TRAIN, VALIDATION, TEST)}
        np.testing.assert_array_equal(parts[TEST], takes_part & (database == test_on))
        tested = set(patient[parts[TEST]])
        may_train = takes_part & (database == train_on) & ~np.isin(patient, list(tested))
        np.testing.assert_array_equal(parts[TRAIN] | parts[VALIDATION], may_train)
        assert not set(patient[parts[TRAIN]]) & set(patient[parts[VALIDATION]])
        assert 0 < parts[VALIDATION].sum() < parts[TRAIN].sum() / 2
        other = cross_protocol(rows, train_on, test_on, "aami", "NSVF", usable, 43)
        assert other is not None
        np.testing.assert_array_equal(other.values == TEST, parts[TEST])


def test_crossing_needs_two_patients_to_train_and_a_row_to_test() -> None:
    rows, usable = make_rows([(0, 0, True), (0, 1, True), (1, 0, True), (1, 0, True)])
    of = {"database": np.array(list("aabb")), "record": rows.columns["record"], "patient": rows.columns["patient"]}
    assert cross_protocol(Rows(of, rows.labels), "a", "b", "aami", "NSVF", usable, 0) is None
    assert cross_protocol(Rows(of, rows.labels), "a", "c", "aami", "NSVF", usable, 0) is None


def test_protocol_of_one_database_leaves_the_rows_of_others_out() -> None:
    own = Protocol("p", np.array([TRAIN, TEST, VALIDATION], np.int8), "aami", "NSVF", "rule", leaks=("neighbour",))
    wide = widened(own, "b", np.array([False, True, True, False, True]))
    assert (wide.name, wide.leaks) == ("b-p", ("neighbour",))
    assert wide.values.tolist() == [UNUSED, TRAIN, TEST, UNUSED, VALIDATION]


def test_what_is_declared_to_leak_keeps_what_it_leaked_before() -> None:
    own = Protocol("p", np.zeros(1, np.int8), "aami", "NSVF", "rule", leaks=("neighbour",), leak_note="so")
    told = leaking(own, "no patients")
    assert (told.unit, told.leaks, told.leak_note) == ("record", ("patient", "neighbour"), "so; no patients")
    assert leaking(told, "").leaks == told.leaks


def test_strata_of_several_labels_are_their_combinations() -> None:
    values = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [1, 1], [255, 255]], np.uint8)
    assert strata(Values(values, {})).tolist() == [-1, 1, 2, 3, 3, -1]


def test_strata_tell_all_of_71_classes_apart() -> None:
    values = np.eye(71, dtype=np.uint8)
    assert sorted(strata(Values(values, {})).tolist()) == list(range(71))


def test_lists_of_de_chazal() -> None:
    ds1, ds2, paced = (set(records.split()) for records in (DS1, DS2, PACED))
    assert (len(ds1), len(ds2), len(paced)) == (22, 22, 4)
    assert not ds1 & ds2
    assert not (ds1 | ds2) & paced
    assert (sum(map(int, ds1)), sum(map(int, ds2))) == (3485, 3964)  # of the records that the paper lists
    assert set(DS1_VALIDATION.split()) == {"114", "118", "205", "207", "223"} <= ds1
    assert "201" in ds1
    assert "202" in ds2


def test_mitdb_uses_neither_paced_records_nor_another_lead_between_patients() -> None:
    name = np.repeat(f"{DS1} {DS2} {PACED}".split(), 10)
    patient = np.char.add("mitdb/", np.where(name == "202", "201", name))
    columns = {"record": name, "patient": patient, "lead_substituted": name == "100"}
    facts = {"classes": list(AAMI_CLASSES), "multilabel": False}
    label = Values(np.tile(np.arange(5, dtype=np.int8), 2 * 48), facts)
    rows, prepare = Rows(columns, {"aami": label, "aami_bxb": label}), MITDB.resolve(Prepare(dataset="mitdb"))
    protocols = {p.name: p for p in MITDB.protocols(rows, [{"name": each} for each in name], prepare)}
    by_patient = ("interpatient", "interpatient-strict", "patient-70-15-15", "kfold-5", "kfold-10")
    assert set(protocols) == {*by_patient, "intrapatient"}
    for protocol in by_patient:
        unused = [*PACED.split(), "100", *(["201"] if protocol == "interpatient-strict" else [])]
        np.testing.assert_array_equal(protocols[protocol].values == UNUSED, np.isin(name, unused))
        assert protocols[protocol].leaks == (("patient",) if protocol == "interpatient" else ())
    assert protocols["intrapatient"].leaks == ("patient", "neighbour")
