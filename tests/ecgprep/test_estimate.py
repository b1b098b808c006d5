"""A plan says how many bytes a build writes, within 15 %, and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ecgprep.balance import plan_balances
from ecgprep.build import build, index_databases
from ecgprep.config import Prepare
from ecgprep.estimate import Estimate, estimate
from ecgprep.execute import TaskRunner
from ecgprep.plan import make_plan
from pipelines.workspace import Workspace

TOLERANCE = 0.15
INDEXING_S = 3600.0


def predict(section: Mapping[str, Any], home: Path, raw: Path) -> tuple[int, Estimate]:
    prepare = Prepare.model_validate({"workers": 0, **section})
    with TaskRunner(0, None) as runner:
        indexes, prepare = index_databases(prepare, Workspace(home), raw, runner, lambda what, done, total: None)
    plan, reps = make_plan(indexes, prepare)
    return plan.n_rows, estimate(plan, indexes, prepare, reps, plan_balances(plan.values, prepare), INDEXING_S)


def written(place: Path) -> dict[str, int]:
    """Return the bytes of a store by what they are part of."""
    sizes: dict[str, int] = {}
    for file in place.rglob("*"):
        group, name, *_ = (*file.relative_to(place).parts, "", "")
        if not file.is_file():
            continue
        of = {"rep": f"rep/{name}", "signal": "signal", "synthetic": "balances"}.get(group, "labels, columns, splits")
        of = of if "c" in file.relative_to(place).parts else "metadata, lists"
        sizes[of] = sizes.get(of, 0) + file.stat().st_size
    return sizes


def assert_predicted(section: Mapping[str, Any], home: Path, raw: Path) -> None:
    n_rows, made = predict(section, home, raw)
    assert not home.exists(), "a plan writes nothing"
    result = build(Prepare.model_validate({"workers": 0, **section}), Workspace(home), raw)
    assert result.plan.n_rows == n_rows
    sizes = written(result.place)
    assert sizes.keys() == made.n_bytes.keys()
    for path in ("signal", *(path for path in sizes if path.startswith("rep/"))):
        assert made.n_bytes[path] == pytest.approx(sizes[path], rel=TOLERANCE), path
    assert sum(made.n_bytes.values()) == pytest.approx(sum(sizes.values()), rel=TOLERANCE)
    assert made.seconds > INDEXING_S, "a build makes the first pass too"


@pytest.mark.parametrize(
    "section",
    [
        {"dataset": "mitdb", "reps": "gaf:size=64,spectrogram:size=64", "balance": "under", "samples_per_class": 50},
        {"dataset": "ptbxl", "reps": "mtf:size=64", "leads": "II,V1"},
        {"dataset": "mitdb", "balance": "over,smote", "samples_per_class": 400, "balance_neighbours": 2},
        {"dataset": "mitdb", "balance": "over", "balance_protocols": "interpatient,kfold-5"},
        {"dataset": "mitdb", "balance": "smote", "balance_neighbours": 1, "balance_protocols": "interpatient,kfold-5"},
    ],
    ids=["beats", "records", "two balances", "copies of few rows", "pairs of few rows"],
)
def test_bytes_are_predicted(raw: Path, tmp_path: Path, section: dict[str, Any]) -> None:
    assert_predicted(section, tmp_path / "home", raw)


def test_the_bytes_of_a_large_balance_are_those_of_a_sample_of_its_rows(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    balance = {"balance": "over,smote", "samples_per_class": 60_000, "balance_neighbours": 2}
    whole, sampled = [], []
    for n_pairs, made in ((1_000_000, whole), (100_000, sampled)):  # a billion rows a class do not fit into memory
        monkeypatch.setattr("ecgprep.estimate.SAMPLED_PAIRS", n_pairs)
        made.append(predict({"dataset": "mitdb", **balance}, tmp_path / "home", raw)[1].n_bytes["balances"])
    assert sampled == pytest.approx(whole, rel=0.05)
    assert sampled != whole


@pytest.mark.real
@pytest.mark.parametrize(
    "section",
    [
        {"dataset": "mitdb", "patients": "0-15", "reps": "mtf:size=16", "balance": "over"},
        {"dataset": "ptbxl", "leads": "II,V1", "reps": "gaf:size=32,cwt:size=32"},
    ],
    ids=["mitdb", "ptbxl"],
)
def test_bytes_of_real_recordings_are_predicted(real_data: Path, tmp_path: Path, section: dict[str, Any]) -> None:
    assert_predicted(section, tmp_path / "home", real_data)
