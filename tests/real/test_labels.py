"""PTB-XL's whole table, whose signals need not be here: every record's labels, counted as published."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ecgprep.config import Prepare
from ecgprep.datasets import get_database
from ecgprep.datasets.ptbxl import TABLE, read_table, record_ref
from store.plan import Values
from store.vocabulary import STATEMENT_SCHEMES

pytestmark = pytest.mark.real

N_RECORDS = 21_837
# Version 1.0.1. Version 1.0.3 has 38 records fewer: NORM 9514, MI 5469, STTC 5235, CD 4898, HYP 2649, none 411.
SUPERCLASS_COUNTS = {
    "present": {"NORM": 9528, "MI": 5486, "STTC": 5250, "CD": 4907, "HYP": 2655, "none": 407},
    "likely": {"NORM": 9528, "MI": 5486, "STTC": 5123, "CD": 4907, "HYP": 2655, "none": 420},
    "likelihood50": {"NORM": 9452, "MI": 4145, "STTC": 5093, "CD": 4900, "HYP": 2264, "none": 1424},
    "certain": {"NORM": 7185, "MI": 2984, "STTC": 4579, "CD": 4787, "HYP": 1473, "none": 4578},
}
# As in the benchmark of PTB-XL (Strodthoff et al., 2021).
LABELLED = {"superclass": 21430, "subclass": 21430, "diagnostic": 21430, "form": 8988, "rhythm": 21066}


@pytest.fixture(scope="module")
def facts(real_data: Path) -> list[dict[str, object]]:
    folder = real_data / "ptb-xl"
    return [dict(record_ref(folder, row, 100.0).facts) for row in read_table(folder / TABLE)]


def labels(facts: list[dict[str, object]], rule: str) -> dict[str, Values]:
    database = get_database("ptbxl")
    return database.labels(facts, np.full(len(facts), ""), Prepare(dataset="ptbxl", label_rule=rule))


@pytest.mark.parametrize("rule", SUPERCLASS_COUNTS)
def test_superclasses_of_the_whole_table(facts: list[dict[str, object]], rule: str) -> None:
    label = labels(facts, rule)["superclass"]
    counts = dict(zip(label.attributes["classes"], label.values.sum(axis=0).tolist(), strict=True))
    assert counts | {"none": int((~label.values.any(axis=1)).sum())} == SUPERCLASS_COUNTS[rule]
    assert len(label.values) == N_RECORDS


def test_most_records_have_exactly_one_superclass(facts: list[dict[str, object]]) -> None:
    per_record = labels(facts, "present")["superclass"].values.sum(axis=1)
    assert int((per_record == 1).sum()) == 16_272  # 16,244 in version 1.0.3


def test_records_with_a_label_at_each_level(facts: list[dict[str, object]]) -> None:
    found = {scheme: int(label.values.any(axis=1).sum()) for scheme, label in labels(facts, "present").items()}
    assert found == {**LABELLED, "statements": N_RECORDS}


def test_every_statement_is_counted(facts: list[dict[str, object]]) -> None:
    expected = Counter(code for fact in facts for code in fact["scp_codes"])
    label = labels(facts, "present")["statements"]
    assert set(expected) == set(STATEMENT_SCHEMES["statements"])
    assert dict(zip(label.attributes["classes"], label.values.sum(axis=0).tolist(), strict=True)) == expected
