"""A finished run with its rows at hand again, and what is made of it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgtrain.benchmark import benchmark
from ecgtrain.explain import Chosen, attribute, choose_rows, over_time, write_explanations
from ecgtrain.export import PARITY_ROWS, export_onnx, export_weights, model_card
from ecgtrain.features import penultimate_features, write_features
from ecgtrain.inputs import lead_numbers
from ecgtrain.loader import Loaders, load
from ecgtrain.loop import BEST
from ecgtrain.plan import input_sizes
from ecgtrain.predictions import read_predictions
from ecgtrain.pretraining import past_of
from ecgtrain.run_folder import RunFolder, check_same_store
from ecgtrain.scores import score
from ecgtrain.trained_run import TrainedRun, load_trained
from store.errors import UserError
from store.files import write_whole
from store.read import Store, open_store

EXPLAINED_AT_ONCE = 8


@dataclass(frozen=True)
class Reopened:
    """A finished run with its store.

    Parameters
    ----------
    folder : RunFolder
        The run's folder.
    trained : TrainedRun
        Its network.
    store : Store
        What it was trained on.
    data : Loaders
        Its rows.
    """

    folder: RunFolder
    trained: TrainedRun
    store: Store
    data: Loaders

    @property
    def n_leads(self) -> int:
        """Leads of a row."""
        return len(self.data.leads)


def reopen(folder: RunFolder, device: str = "auto") -> Reopened:
    """Open a finished run and its store again.

    Raises
    ------
    UserError
        If the run is an ensemble or one over folds, or its store holds other rows now.
    MissingDataError
        If the run is not finished.
    """
    if folder.is_ensemble:
        raise UserError(f"{folder.name} is an ensemble; name one of its members: {', '.join(folder.members)}")
    if folder.config().folds is not None:
        raise UserError(f"{folder.name} is a run over folds; name one of them, such as {folder.name}/fold-0")
    trained = load_trained(folder.path, device)
    assert trained.config.store is not None
    store = open_store(trained.config.store)
    check_same_store(folder, store)
    return Reopened(folder, trained, store, load(store, trained.config.model_copy(update={"device": device})))


def save_features(run: Reopened) -> Path:
    """Write what the network's head reads of each test row, and return the file."""
    features = penultimate_features(run.trained.model, run.data.test, run.trained.config.precision)
    return write_features(run.folder.path, run.data.test.rows, features)


def save_benchmark(run: Reopened) -> dict[str, Any]:
    """Measure the network, write ``benchmark.json`` and return what it says."""
    sizes = input_sizes(run.trained.config, run.data.shape)
    measured = benchmark(run.trained.model, sizes, run.data.test.device)
    measured["size_bytes"] = (run.folder.checkpoints / BEST).stat().st_size
    run.folder.write_json("benchmark.json", measured)
    return measured


def save_explanations(run: Reopened, method: str) -> Path:
    """Explain the test rows that are right and wrong with most confidence and those between, and return the file.

    Of a row that is read in windows, what is explained is the mean over them.
    """
    facts = run.trained.facts
    table, _ = read_predictions(run.folder.path / "predictions" / "test.parquet")
    by_row = table.to_pandas().groupby("row")
    truth, probability = (
        by_row[[f"{prefix}_{name}" for name in facts["classes"]]].mean().to_numpy() for prefix in "yp"
    )
    rows = np.array(sorted(by_row.groups), np.int64)
    chosen = choose_rows(rows, truth, probability, multilabel=facts["multilabel"])
    place = {row: i for i, row in enumerate(rows.tolist())}
    maps, signals = [], []
    for first in range(0, len(chosen), EXPLAINED_AT_ONCE):
        part = chosen[first : first + EXPLAINED_AT_ONCE]
        maps.append(_attribution(run, part, method))
        signals.append(_counts(run, part) * facts["row"]["scale_mv"])
    return write_explanations(
        run.folder.path,
        method,
        {
            "row": np.array([one.row for one in chosen], np.int64),
            "signal_mv": np.concatenate(signals).astype(np.float32),
            "attribution": np.concatenate(maps),
            "leads": np.array(run.data.leads),
            "fs_hz": np.float64(facts["row"]["fs_hz"]),
            "explained": np.array([facts["classes"][one.explained] for one in chosen]),
            "kind": np.array([one.kind for one in chosen]),
            "label": np.array([_label(truth[place[one.row]], facts["classes"]) for one in chosen]),
            "probability": np.array([probability[place[one.row], one.explained] for one in chosen], np.float32),
        },
    )


def _label(truth: np.ndarray, classes: list[str]) -> str:
    return "+".join(name for name, has in zip(classes, truth, strict=True) if has)


def _attribution(run: Reopened, chosen: Sequence[Chosen], method: str) -> NDArray[np.float32]:
    """Return how much each sample of some rows mattered, shape (n, n_leads, n_samples), the mean over their windows."""
    loader = run.data.test
    classes, rows = [one.explained for one in chosen], np.array([one.row for one in chosen])
    found = np.zeros((len(chosen), run.n_leads, loader.n_samples), np.float32)
    for first, batch in zip(loader.windows, loader.windows_of(rows), strict=True):
        part = over_time(attribute(run.trained.model, batch, classes, method), loader, run.n_leads)
        found[:, :, first : first + part.shape[2]] += part / len(loader.windows)
    return found


def _counts(run: Reopened, chosen: Sequence[Chosen]) -> NDArray[np.int16]:
    """Return the signals of some rows as they are stored."""
    leads = lead_numbers(run.store, run.trained.config.channels)
    return np.stack([np.asarray(run.store.signal[one.row])[leads] for one in chosen])


def export_run(run: Reopened, to: str, *, head: bool, folder: Path | None = None) -> list[Path]:
    """Export the network, with a card beside it, and return the files.

    Parameters
    ----------
    run : Reopened
        The run.
    to : str
        ``onnx`` or ``weights``.
    head : bool
        Whether the layer that gives the logits is exported.
    folder : Path, optional
        Where to; by default ``export`` in the run's folder.

    Raises
    ------
    UserError
        If the network cannot be exported so.
    """
    place = folder or run.folder.path / "export"
    place.mkdir(parents=True, exist_ok=True)
    model, facts = run.trained.model, {**run.trained.facts, "model": run.trained.config.model}
    if to == "weights":
        past = {"trained_on": past_of(run.folder)}
        file = export_weights(
            model, place / "weights.safetensors", facts | past, head=head, n_classes=len(run.trained.classes)
        )
    else:
        rows = next(run.data.test.windows_of(run.data.test.rows[:PARITY_ROWS]))
        file = export_onnx(model, place / "model.onnx", rows.inputs, facts)
    _, footer = read_predictions(run.folder.path / "predictions" / "test.parquet")
    config = run.folder.config_data()
    card = place / "MODEL_CARD.md"
    write_whole(card, model_card(run.folder.name, config, facts, footer, _figures(run)))
    return [file, card]


def _figures(run: Reopened) -> list[str]:
    """Return lines with macro figures, at the threshold 0.5 or by the most probable class."""
    lines = []
    for part in ("validation", "test"):
        table, footer = read_predictions(run.folder.path / "predictions" / f"{part}.parquet")
        truth, probability = (
            np.stack([table[f"{prefix}_{name}"].to_numpy() for name in footer["classes"]], axis=1) for prefix in "yp"
        )
        found = score(truth == 1, probability, multilabel=footer["task"] == "multi")
        chosen = [footer["classes"].index(name) for name in footer["score_classes"]]
        figures = ", ".join(f"{name} {value:.3f}" for name, value in found.macro(chosen).items())
        lines.append(f"{part}: macro {figures} over {', '.join(footer['score_classes'])}, {table.num_rows} rows.")
    return lines
