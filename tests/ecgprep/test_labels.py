"""Symbols and statements become classes as the literature groups them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ecgprep.config import Prepare
from ecgprep.datasets import get_database
from store.errors import UserError
from store.plan import Values
from store.vocabulary import BEAT_SCHEMES, STATEMENT_CLASSES, STATEMENT_SCHEMES

AAMI = {**dict.fromkeys("NLRBejn", "N"), **dict.fromkeys("AaJS", "S"), **dict.fromkeys("VrE", "V"), "F": "F"}
AAMI |= dict.fromkeys("/fQ?", "Q")
NOT_BEATS = "+~!\"x|[]pt u()`'^sT*D=@".replace(" ", "")


def test_every_beat_symbol_has_its_class() -> None:
    assert BEAT_SCHEMES["aami"] == AAMI
    assert BEAT_SCHEMES["aami_bxb"] == {**AAMI, "e": "S", "j": "S", "n": "S"}


@pytest.mark.parametrize("symbol", NOT_BEATS)
def test_other_annotations_are_never_beats(symbol: str) -> None:
    assert symbol not in BEAT_SCHEMES["aami"]
    assert symbol not in BEAT_SCHEMES["aami_bxb"]


def test_statements_of_each_superclass() -> None:
    sizes = Counter(STATEMENT_SCHEMES["superclass"].values())
    assert sizes == {"MI": 14, "STTC": 13, "CD": 11, "HYP": 5, "NORM": 1}


def test_levels_have_the_numbers_of_classes_of_the_benchmark() -> None:
    sizes = {scheme: len(classes) for scheme, classes in STATEMENT_CLASSES.items()}
    assert sizes == {"superclass": 5, "subclass": 23, "diagnostic": 44, "form": 19, "rhythm": 12, "statements": 71}


def labels_of(codes: dict[str, float], rule: str) -> dict[str, set[str]]:
    prepare = Prepare(dataset="ptbxl", label_rule=rule)
    labels = get_database("ptbxl").labels([{"scp_codes": codes}], np.array([""]), prepare)
    return {scheme: present_classes(label) for scheme, label in labels.items()}


def present_classes(label: Values) -> set[str]:
    return {name for name, value in zip(label.attributes["classes"], label.values[0], strict=True) if value == 1}


def superclasses(codes: dict[str, float], rule: str) -> set[str]:
    return labels_of(codes, rule)["superclass"]


def test_one_record_has_labels_at_every_level() -> None:
    assert labels_of({"ASMI": 15.0, "NDT": 100.0, "QWAVE": 0.0, "SR": 0.0}, "present") == {
        "superclass": {"MI", "STTC"},
        "subclass": {"AMI", "STTC"},
        "diagnostic": {"ASMI", "NDT"},
        "form": {"NDT", "QWAVE"},
        "rhythm": {"SR"},
        "statements": {"ASMI", "NDT", "QWAVE", "SR"},
    }


def test_a_rule_drops_unlikely_diagnoses_and_keeps_forms_and_rhythms() -> None:
    assert labels_of({"ASMI": 15.0, "NDT": 0.0, "QWAVE": 0.0, "AFIB": 0.0}, "likelihood50") == {
        "superclass": set(),
        "subclass": set(),
        "diagnostic": set(),
        "form": {"QWAVE"},
        "rhythm": {"AFIB"},
        "statements": {"QWAVE", "AFIB"},
    }


@pytest.mark.parametrize(
    ("codes", "present", "likely", "likelihood50", "certain"),
    [
        ({"NORM": 100.0, "SR": 0.0}, {"NORM"}, {"NORM"}, {"NORM"}, {"NORM"}),
        ({"IMI": 0.0}, {"MI"}, set(), set(), set()),
        ({"IMI": 15.0, "NDT": 50.0}, {"MI", "STTC"}, {"MI", "STTC"}, {"STTC"}, set()),
        ({"LVH": 80.0, "WPW": 100.0}, {"HYP", "CD"}, {"HYP", "CD"}, {"HYP", "CD"}, {"CD"}),
        ({"LAO/LAE": 100.0, "RAO/RAE": 0.0}, {"HYP"}, {"HYP"}, {"HYP"}, {"HYP"}),
        ({"SR": 0.0, "PVC": 100.0}, set(), set(), set(), set()),
        ({}, set(), set(), set(), set()),
    ],
)
def test_rules_differ_by_likelihood(
    codes: dict[str, float], present: set[str], likely: set[str], likelihood50: set[str], certain: set[str]
) -> None:
    expected = {"present": present, "likely": likely, "likelihood50": likelihood50, "certain": certain}
    assert {rule: superclasses(codes, rule) for rule in expected} == expected


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"dataset": "mitdb", "unit": "records"}, "unknown unit 'records'. Did you mean 'record'"),
        ({"dataset": "mitdb", "leads": "I"}, "unknown lead of mitdb 'I'"),
        ({"dataset": "ptbxl", "label_rule": "likly"}, "Did you mean 'likely'"),
        ({"dataset": "ptbxl", "unit": "beat:c360", "detector": "xqr"}, "Did you mean 'xqrs'"),
    ],
)
def test_request_that_a_database_cannot_meet_is_refused(section: dict[str, object], message: str) -> None:
    prepare = Prepare.model_validate(section)
    with pytest.raises(UserError, match=message):
        get_database(prepare.dataset).resolve(prepare)


def test_defaults_are_filled_in() -> None:
    mitdb = get_database("mitdb").resolve(Prepare(dataset="mitdb"))
    assert (mitdb.unit, mitdb.fs, mitdb.leads) == ("beat:centred186", 360.0, ("MLII",))
    short = get_database("mitdb").resolve(Prepare(dataset="mitdb", unit="beat:kachuee186"))
    assert short.fs == 125.0
    ptbxl = get_database("ptbxl").resolve(Prepare(dataset="ptbxl"))
    assert (ptbxl.unit, ptbxl.fs, ptbxl.leads, ptbxl.label_rule) == ("record", 100.0, ("II", "V1", "V5"), "present")
