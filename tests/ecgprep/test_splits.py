"""No patient on two sides, every usable row in exactly one part, and the same draw every time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgprep.datasets.mitdb import DS1, DS1_VALIDATION, DS2, PACED
from ecgprep.splits import Rows, patient_parts, patient_protocols, random_rows, strata
from store.plan import Values
from store.vocabulary import TEST, TRAIN, UNUSED, VALIDATION

rows_of_patients = st.lists(st.tuples(st.integers(0, 30), st.integers(-1, 3), st.booleans()), min_size=1, max_size=200)


def make_rows(drawn: Sequence[tuple[int, int, bool]]) -> tuple[Rows, np.ndarray]:
    patients = np.array([f"p{patient}" for patient, _, _ in drawn])
    label = Values(np.array([c for _, c, _ in drawn], np.int8), {"classes": list("NSVF"), "multilabel": False})
    return Rows({"record": patients, "patient": patients}, {"aami": label}), np.array([u for _, _, u in drawn])


@settings(max_examples=40, deadline=None)
@given(drawn=rows_of_patients, seed=st.integers(0, 5))
def test_protocols_by_patient_keep_their_promise(drawn: list[tuple[int, int, bool]], seed: int) -> None:
    rows, usable = make_rows(drawn)
    takes_part = usable & (strata(rows.labels["aami"]) >= 0)
    protocols = patient_protocols(rows, "aami", "NSVF", usable, seed)
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
