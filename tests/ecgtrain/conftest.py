"""Small stores that a model can learn: beats that differ by shape and timing, records that differ by rhythm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import ecgtrain.plan
from ecgprep.representations import Representation, parse_reps, render_all
from store.balance import Balance
from store.patients import patient_shares
from store.plan import StorePlan, Values
from store.read import Store, open_store
from store.schema import representation_spec, signal_spec
from store.shards import write_task
from store.vocabulary import AAMI_CLASSES, SUPERCLASSES, TEST, TRAIN, UNUSED, VALIDATION
from store.write import Building, publish

N_RECORDS, BEATS_OF_RECORD, BEAT_SAMPLES = 12, 60, 186
N_ECGS, ECG_SAMPLES, ECG_LEADS = 90, 250, ("II", "V1", "V5")
PICTURE = 32
PARTS = (TRAIN, TRAIN, TRAIN, TRAIN, VALIDATION, TEST)

MakeStore = Callable[..., Store]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _plan_of_one_step() -> Iterator[None]:
    """Time one step for the plan that a command prints: no test reads how long a run may take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ecgtrain.plan, "TIMED_STEPS", 1)
        yield


def write_store(
    place: Path,
    signal: NDArray[np.int16],
    leads: tuple[str, ...],
    fs_hz: float,
    values: Mapping[str, Values],
    pictures: Mapping[str, NDArray[np.uint8]],
    attributes: Mapping[str, Any],
    reps: Sequence[Representation] = (),
) -> Store:
    """Write a complete store and open it; `reps` are drawn, the pictures are as they come."""
    pictures = {**pictures, **render_all(reps, signal)}
    parameters = {rep.name: rep.parameters() for rep in reps}
    spec = signal_spec(len(signal), leads, signal.shape[2], {"fs_hz": fs_hz})
    specs = [
        representation_spec(
            name, spec, drawn.shape[2:], "uint8", {"value_range": [0.0, 1.0], "parameters": parameters.get(name, {})}
        )
        for name, drawn in pictures.items()
    ]
    whole = {"unit": "record", "synthetic": True, "card": {"title": "made for tests"}, "recipe_hash": "0" * 64}
    plan = StorePlan(place.name, (spec, *specs), values, {"schema": 1, **whole, **attributes}, {})
    building = Building(place.with_name(f".building-{place.name}"), plan)
    building.prepare()
    arrays = {"signal": signal} | {f"rep/{name}": drawn for name, drawn in pictures.items()}
    for task in plan.tasks():
        blocks = {path: array[task.start : task.stop] for path, array in arrays.items()}
        write_task(building.folder, building.digest, task, blocks)
    publish(building, place)
    return open_store(place)


def split_values(values: NDArray[np.int8], scheme: str, score: tuple[str, ...], **facts: Any) -> Values:
    """Return a split with the attributes that readers need."""
    known = {"leaks": [], "leak_note": "", "score_classes": list(score), "scheme": scheme, "unit": "patient"}
    return Values(values, known | {"kind": "split"} | facts)


@pytest.fixture(scope="session")
def beats_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Twelve records of sixty beats of five classes; one lead; a picture of each."""
    return make_beats_store(tmp_path_factory.mktemp("beats") / "store" / "beats.zarr")


@pytest.fixture(scope="session")
def linked_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The beats store with the rows of each beat's neighbours."""
    rows = np.arange(N_RECORDS * BEATS_OF_RECORD)
    links = {
        "column/prev_row": Values(np.where(rows % BEATS_OF_RECORD == 0, -1, rows - 1), {}),
        "column/next_row": Values(np.where(rows % BEATS_OF_RECORD == BEATS_OF_RECORD - 1, -1, rows + 1), {}),
    }
    return make_beats_store(tmp_path_factory.mktemp("linked") / "store" / "linked.zarr", links)


@pytest.fixture(scope="session")
def drawn_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The beats store with a picture that says how it is drawn, and with synthetic rows, mixed and copied."""
    mixed, of_fold = make_balance("interpatient", None), make_balance("kfold-3", 1)
    copied = replace(mixed, name="over", parents=mixed.parents[:, [0, 0]], weights=np.zeros_like(mixed.weights))
    balances = {**mixed.stored(), **of_fold.stored(), **copied.stored()}
    reps = parse_reps("gaf:size=16", kind="beat", fs_hz=360.0, n_samples=BEAT_SAMPLES)
    return make_beats_store(tmp_path_factory.mktemp("drawn") / "store" / "drawn.zarr", balances, reps)


def make_balance(protocol: str, fold: int | None, n: int = 40) -> Balance:
    """Return a balance of the beats store: rows mixed from training rows of records that train, of class S."""
    generator = np.random.default_rng(3)
    record_of = np.repeat(np.arange(N_RECORDS), BEATS_OF_RECORD)
    unused = np.arange(len(record_of)) % 53 == 7
    trains = (
        np.isin(record_of % len(PARTS), [0, 1, 2, 3]) & ~unused if fold is None else record_of % 3 == (fold + 2) % 3
    )
    parents = generator.choice(np.flatnonzero(trains), (n, 2))
    keep = trains & (generator.random(len(trains)) < 0.9)
    weights = generator.random(n, dtype=np.float32)
    return Balance(protocol, fold, "smote", parents, weights, np.ones(n, np.int8), keep, {"method": "smote"})


def make_beats_store(
    place: Path, more: Mapping[str, Values] | None = None, reps: Sequence[Representation] = ()
) -> Store:
    """Write the beats store, with some more columns and pictures."""
    generator = np.random.default_rng(5)
    place.parent.mkdir(parents=True, exist_ok=True)
    n = N_RECORDS * BEATS_OF_RECORD
    label = generator.choice(5, n, p=(0.55, 0.15, 0.15, 0.1, 0.05)).astype(np.int8)
    time = np.arange(BEAT_SAMPLES) - 93
    width = np.array([6.0, 6.0, 18.0, 11.0, 25.0])[label][:, None]
    beat_mv = np.exp(-((time / width) ** 2)) + 0.05 * generator.standard_normal((n, BEAT_SAMPLES))
    record_of = np.repeat(np.arange(N_RECORDS), BEATS_OF_RECORD)
    rr_prev = np.where(label == 1, 0.5, 0.8) + 0.02 * generator.standard_normal(n)
    first, last = np.arange(n) % BEATS_OF_RECORD == 0, np.arange(n) % BEATS_OF_RECORD == BEATS_OF_RECORD - 1
    rr_next = np.where(last, np.nan, np.roll(rr_prev, -1))
    unknown = np.arange(n) % 97 == 5
    records = np.array([f"made/{100 + record}" for record in record_of])
    part_of = np.array([PARTS[record % len(PARTS)] for record in range(N_RECORDS)], dtype=np.int8)[record_of]
    split = np.where(np.arange(n) % 53 == 7, UNUSED, part_of).astype(np.int8)
    random_beats = generator.choice(PARTS, n).astype(np.int8)
    score = AAMI_CLASSES[:4]
    values = {
        "label/aami": Values(
            np.where(unknown, -1, label).astype(np.int8),
            {"classes": list(AAMI_CLASSES), "rule": "made", "multilabel": False},
        ),
        "split/interpatient": split_values(split, "aami", score),
        "split/intrapatient": split_values(
            random_beats, "aami", score, leaks=["patient"], leak_note="beats of one patient on both sides"
        ),
        "split/undeclared": split_values(random_beats, "aami", score),
        "split/kfold-3": split_values((record_of % 3).astype(np.int8), "aami", score, kind="folds"),
        "column/record": Values(records, {}),
        "column/patient": Values(records, {}),
        "column/database": Values(np.full(n, "made"), {}),
        "column/sample": Values(np.cumsum(np.full(n, 288)).astype(np.int64), {}),
        "column/fs_raw_hz": Values(np.full(n, 360.0, dtype=np.float32), {}),
        "column/symbol": Values(np.array(list("NAVF/"))[label], {}),
        "column/rr_prev_s": Values(np.where(first, np.nan, rr_prev).astype(np.float32), {}),
        "column/rr_next_s": Values(rr_next.astype(np.float32), {}),
        "column/record_mean_mv": Values(np.full(n, 0.1, dtype=np.float32), {}),
        "column/record_sd_mv": Values(np.full(n, 0.3, dtype=np.float32), {}),
    }
    signal = np.round(beat_mv * 1000).astype(np.int16)[:, None]
    pictures = {"cwt": draw(signal, PICTURE)}
    attributes = {"default_protocol": "interpatient", "default_scheme": "aami", "unit": "beat"}
    return write_store(place, signal, ("MLII",), 360.0, values | dict(more or {}), pictures, attributes, reps)


@pytest.fixture(scope="session")
def records_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Ninety records of three leads with several superclasses each, and two pictures of each."""
    return make_records_store(tmp_path_factory.mktemp("records") / "store" / "records.zarr")


def make_records_store(place: Path) -> Store:
    """Write ninety records of three leads and open them."""
    generator = np.random.default_rng(6)
    place.parent.mkdir(parents=True)
    label = (generator.random((N_ECGS, 5)) < 0.35).astype(np.uint8)
    label[::31] = 255
    time_s = np.arange(ECG_SAMPLES) / 100
    waves = np.sin(2 * np.pi * np.array([1.0, 3.0, 6.0, 10.0, 17.0])[:, None] * time_s)
    ecg_mv = (label == 1).astype(float) @ waves + 0.1 * generator.standard_normal((N_ECGS, ECG_SAMPLES))
    signal = np.round(np.stack([ecg_mv, 0.5 * ecg_mv, -ecg_mv], axis=1) * 1000).astype(np.int16)
    patients = np.array([f"made/{row // 2}" for row in range(N_ECGS)])
    split = np.array([PARTS[row // 2 % len(PARTS)] for row in range(N_ECGS)], dtype=np.int8)
    values = {
        "label/superclass": Values(label, {"classes": list(SUPERCLASSES), "rule": "made", "multilabel": True}),
        "split/ptbxl-folds": split_values(split, "superclass", SUPERCLASSES),
        "column/record": Values(np.array([f"made/{row:05d}" for row in range(N_ECGS)]), {}),
        "column/patient": Values(patients, {}),
        "column/patient_number": Values(np.arange(N_ECGS) // 2, {}),
        "column/patient_share": Values(patient_shares(N_ECGS // 2)[np.arange(N_ECGS) // 2], {}),
        "column/database": Values(np.full(N_ECGS, "made"), {}),
        "column/sample": Values(np.zeros(N_ECGS, dtype=np.int64), {}),
        "column/fs_raw_hz": Values(np.full(N_ECGS, 100.0, dtype=np.float32), {}),
        "column/age": Values(np.where(np.arange(N_ECGS) % 9, 60.0, np.nan).astype(np.float32), {}),
        "column/sex": Values(np.array(["male", "female", ""])[np.arange(N_ECGS) % 3], {}),
    }
    pictures = {"cwt": draw(signal, PICTURE), "gaf": 255 - draw(signal, PICTURE)}
    attributes = {"default_protocol": "ptbxl-folds", "default_scheme": "superclass"}
    return write_store(place, signal, ECG_LEADS, 100.0, values, pictures, attributes)


def draw(signal: NDArray[np.int16], side: int) -> NDArray[np.uint8]:
    """Return a picture of each lead: its scaled samples against themselves."""
    points = signal[:, :, np.linspace(0, signal.shape[2] - 1, side).astype(int)] / 4000.0 + 0.5
    return np.clip(255 * points[..., :, None] * points[..., None, :], 0, 255).astype(np.uint8)


@pytest.fixture
def workspace(beats_store: Store) -> Path:
    """The workspace that holds the beats store alone."""
    return Path(beats_store.location).parent.parent
