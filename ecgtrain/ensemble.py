"""An ensemble of finished runs, written as a run like any other; what it chooses, it chooses on validation alone.

References
----------
.. [1] Guo et al., On calibration of modern neural networks, ICML 2017: each member is calibrated before it is mixed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from ecgtrain.calibration import calibrate
from ecgtrain.config import EnsembleConfig
from ecgtrain.environment import code_state, devices, versions
from ecgtrain.features import penultimate_features
from ecgtrain.joining import TRAINED, Task, fused, member_weights, train_fusion
from ecgtrain.members import Answers, Member, check_members, disagreement, read_member
from ecgtrain.models.fusion import FixedFusion
from ecgtrain.predicting import Said, probabilities
from ecgtrain.predictions import FOOTER_KEY, write_table
from ecgtrain.reopened import reopen
from ecgtrain.run_folder import FINISHED, MEMBERS, RUNNING, RunFolder
from ecgtrain.scores import plain, score
from pipelines.recipe import recipe_hash

FUSION = "fusion.safetensors"
UNION = ("leads", "context")


class Joined(NamedTuple):
    """What joins the members, the logits that it gives, shape (n_rows, n_classes), and weights that are fixed.

    ``widths`` is the length of what it reads of each member.
    """

    network: nn.Module
    validation: NDArray[np.float32]
    test: NDArray[np.float32]
    widths: list[int]
    weights: list[float] | None


def read_members(folders: Sequence[RunFolder]) -> list[Member]:
    """Return finished runs with their answers.

    Raises
    ------
    MissingDataError
        If one is not finished.
    UserError
        If they cannot answer together.
    """
    members = [read_member(folder) for folder in folders]
    check_members(members)
    return members


def write_ensemble(config: EnsembleConfig, members: Sequence[Member], folder: RunFolder, device: str = "auto") -> None:
    """Join members and write what came of it into a run's folder.

    Parameters
    ----------
    config : EnsembleConfig
        How they are joined.
    members : sequence of Member
        From `read_members`.
    folder : RunFolder
        The new run's folder.
    device : str
        Where the members' networks compute, for ``feature``.
    """
    started = time.monotonic()
    folder.write_config(config)
    folder.set_state(RUNNING)
    joined = join(config, members, device)
    first = members[0]
    multilabel, classes = first.multilabel, first.footer["classes"]
    footer = _footer(config, members, folder.name)
    for part, logits, answers in (
        ("validation", joined.validation, first.validation),
        ("test", joined.test, first.test),
    ):
        probability = probabilities(logits, multilabel=multilabel)
        if part == "validation":
            said = Said(logits[:, None], probability[:, None])
            folder.write_json("calibration.json", calibrate(said, answers.truth, classes, multilabel=multilabel))
            folder.write_lines("history.jsonl", [_entry(footer, answers.truth, probability, started)])
        write_table(folder.path / "predictions" / f"{part}.parquet", _table(answers, footer, logits, probability))
    save_file(joined.network.state_dict(), folder.path / FUSION)
    folder.write_json(MEMBERS, _about_members(members, joined, folder))
    folder.write_json("environment.json", _environment(footer))
    folder.set_state(FINISHED)


def join(config: EnsembleConfig, members: Sequence[Member], device: str = "auto") -> Joined:
    """Return what joins members, fitted on validation, and the logits that it gives.

    Parameters
    ----------
    config : EnsembleConfig
        How they are joined.
    members : sequence of Member
        On the same rows.
    device : str
        Where the members' networks compute, for ``feature``.
    """
    task = Task(len(members[0].footer["classes"]), members[0].multilabel)
    validation, test = _inputs(config, members, device)
    widths = [one.shape[1] for one in validation]
    if config.by in TRAINED:
        patients = _patients(members[0].validation.table)
        network, unseen = train_fusion(config, task, validation, members[0].validation.truth, patients)
        return Joined(network, unseen, fused(network, test), widths, None)
    weights = member_weights(config, [member.validation_f1 for member in members])
    network = FixedFusion(weights, multilabel=task.multilabel)
    return Joined(network, fused(network, validation), fused(network, test), widths, weights)


def _inputs(config: EnsembleConfig, members: Sequence[Member], device: str) -> tuple[list[Tensor], list[Tensor]]:
    """Return what is joined of each member: features or calibrated logits of the rows of validation and of test."""
    if config.by == "feature":
        runs = [reopen(member.folder, device) for member in members]
        pairs = [
            [penultimate_features(run.trained.model, part) for part in (run.data.validation, run.data.test)]
            for run in runs
        ]
    else:
        pairs = [[part.logits(multilabel=one.multilabel) for part in (one.validation, one.test)] for one in members]
    return [torch.from_numpy(first) for first, _ in pairs], [torch.from_numpy(second) for _, second in pairs]


def _patients(table: pa.Table) -> NDArray[np.int64]:
    """Return a number for each row's patient; of an unknown one, for its record."""
    patient, record = table["patient"].to_pylist(), table["record"].to_pylist()
    names = [str(one or other) for one, other in zip(patient, record, strict=True)]
    found: NDArray[np.int64] = np.unique(names, return_inverse=True)[1]
    return found


def _footer(config: EnsembleConfig, members: Sequence[Member], name: str) -> dict[str, Any]:
    footers = [member.footer for member in members]
    kept = {key: value for key, value in footers[0].items() if key != "pretraining"}
    return {
        **kept,
        "run": name,
        "model": f"ensemble_{config.by}",
        "input": "+".join(dict.fromkeys(kind for footer in footers for kind in footer["input"].split("+"))),
        **{key: list(dict.fromkeys(one for footer in footers for one in footer[key])) for key in UNION},
        "balance": ", ".join(dict.fromkeys(footer["balance"] for footer in footers)),
        "members": [member.folder.name for member in members],
        "seed": config.seed,
        "parameters": sum(footer["parameters"] for footer in footers),
        "recipe_hash": recipe_hash(config, exclude={"name"}),
        "versions": versions(),
    }


def _table(
    answers: Answers, footer: Mapping[str, Any], logits: NDArray[np.float32], probability: NDArray[np.float32]
) -> pa.Table:
    """Return the ensemble's predictions: the rows of a member, each whole, with the ensemble's answers."""
    columns = {name: answers.table[name] for name in answers.table.column_names}
    columns["window"] = pa.array(np.zeros(len(logits)), pa.int16())
    for c, name in enumerate(footer["classes"]):
        columns[f"logit_{name}"] = pa.array(logits[:, c], pa.float32())
        columns[f"p_{name}"] = pa.array(probability[:, c], pa.float32())
    return pa.table(columns).replace_schema_metadata({FOOTER_KEY: json.dumps(footer)})


def _entry(
    footer: Mapping[str, Any], truth: NDArray[np.int8], probability: NDArray[np.float32], started: float
) -> dict[str, Any]:
    """Return the only entry of an ensemble's history."""
    scores = score(truth == 1, probability, multilabel=footer["task"] == "multi")
    chosen = [footer["classes"].index(name) for name in footer["score_classes"]]
    seconds = round(time.monotonic() - started, 3)
    return {"epoch": 0, "watched": "nothing", "seconds": seconds, "validation": plain(scores.macro(chosen))}


def _about_members(members: Sequence[Member], joined: Joined, folder: RunFolder) -> dict[str, Any]:
    weights: Sequence[float | None] = joined.weights or [None] * len(members)
    return {
        "members": [
            {
                "run": member.folder.name,
                "path": os.path.relpath(member.folder.path.resolve(), folder.path.resolve()),
                "model": member.footer["model"],
                "input": member.footer["input"],
                "weight": weight,
                **plain({"validation_f1": member.validation_f1}),
                "temperature": member.temperature,
            }
            for member, weight in zip(members, weights, strict=True)
        ],
        "widths": joined.widths,
        "disagreement": {
            "validation": disagreement([member.validation for member in members]),
            "test": disagreement([member.test for member in members]),
        },
    }


def _environment(footer: Mapping[str, Any]) -> dict[str, Any]:
    return {"versions": versions(), **code_state(), "devices": devices(), "store": footer["store"]}
