"""A trained network for others: its weights alone, or ONNX that another runtime computes, with a card beside it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ecgtrain.heads import find_head
from store.errors import UserError
from store.files import sync_file, sync_folder

TOLERANCE = 1e-4  # of a logit, relative to the largest; other runtimes add up in another order
PARITY_ROWS = 5


def export_weights(model: nn.Module, path: Path, facts: Mapping[str, Any], *, head: bool, n_classes: int) -> Path:
    """Write a network's weights as safetensors, whole; with what has to be known of it as JSON in its header.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    path : Path
        The file.
    facts : mapping
        Plain data for the header's key ``ecg``.
    head : bool
        Whether the layer that gives the logits is among them.
    n_classes : int
        Number of logits.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if not head:
        left_out, _ = find_head(model, n_classes)
        state = {name: value for name, value in state.items() if not name.startswith(f"{left_out}.")}
    aside = path.with_name(f".{path.name}.tmp")
    save_file(state, aside, metadata={"ecg": json.dumps(facts)})
    return _into_place(aside, path)


def export_onnx(model: nn.Module, path: Path, rows: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """Write a network as ONNX, for batches of any size, after a look that another runtime gives the same logits.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    path : Path
        The file.
    rows : mapping
        Some rows as the network reads them, by keyword, two at least; logits are compared on them.
    facts : mapping
        Plain data for the file's property ``ecg``; its ``model`` is the network's name in messages.

    Raises
    ------
    UserError
        If the network cannot be exported, or onnxruntime's logits differ.
    """
    import onnx

    model, name = model.cpu().eval(), str(facts.get("model", type(model).__name__))
    rows = {name: value.cpu() for name, value in rows.items()}
    aside = path.with_name(f".{path.name}.tmp")
    batch = torch.export.Dim("rows")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's, about its own operators
            program = torch.onnx.export(
                model, kwargs=dict(rows), dynamo=True, dynamic_shapes={name: {0: batch} for name in rows}, verbose=False
            )
            assert program is not None
            proto = program.model_proto
    except Exception as error:  # whatever an operator without a counterpart trips
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{name} cannot be exported to ONNX: {reason}") from error
    onnx.helper.set_model_props(proto, {"ecg": json.dumps(facts)})
    aside.write_bytes(proto.SerializeToString())
    with torch.inference_mode():
        expected = model(**rows).numpy()
    _check_parity(aside, rows, expected, name)
    return _into_place(aside, path)


def _check_parity(file: Path, rows: Mapping[str, Tensor], expected: np.ndarray, name: str) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for part in (slice(None), slice(0, 1)):
        found = session.run(None, {key: value[part].numpy() for key, value in rows.items()})[0]
        worst = float(np.abs(found - expected[part]).max() / max(np.abs(expected).max(), 1e-6))
        if not worst <= TOLERANCE:
            file.unlink()
            raise UserError(f"{name}: onnxruntime's logits differ by {worst:.2g} of the largest; not exported")


def _into_place(aside: Path, path: Path) -> Path:
    sync_file(aside)
    aside.replace(path)
    sync_folder(path.parent)
    return path


def model_card(
    run: str, config: Mapping[str, Any], facts: Mapping[str, Any], footer: Mapping[str, Any], figures: Sequence[str]
) -> str:
    """Return a page about a trained network: what it reads, on what it was trained, what it reached, where it ends.

    Parameters
    ----------
    run : str
        The run's name.
    config, facts, footer : mapping
        The run's configuration, its ``preprocessing.json`` and the footer of its predictions.
    figures : sequence of str
        Lines with what it reached.
    """
    row, card = facts["row"], footer["store"]
    leaks = footer["leaks"]
    limits = [
        f"Rows are {row['n_samples']} samples at {row['fs_hz']:g} Hz of the leads {', '.join(row['leads'])}, in mV; "
        "other rates and leads are outside of what was tested.",
        f"The protocol leaks on purpose ({', '.join(leaks)}): the figures do not hold for new patients."
        if leaks
        else "The figures hold for patients of the same database who were not trained on; other devices, hospitals and "
        "populations were not tested.",
        "It is a research result and no medical device.",
    ]
    if card.get("synthetic"):
        limits.insert(0, "Trained on SYNTHETIC recordings: it says nothing about patients.")
    sections = {
        "Model": [
            f"{config['model']}, {footer['parameters']:,} parameters, reading {', '.join(config['inputs'])}; seed "
            f"{config['seed']}.",
            f"Classes: {', '.join(facts['classes'])} ({'several a row' if facts['multilabel'] else 'one a row'}).",
        ],
        "Data": [f"Store {card['name']}, digest {card['digest']}, labels {footer['scheme']}."],
        "Protocol": [f"{footer['protocol']}; leaks: {', '.join(leaks) or 'none'}."],
        "Results": list(figures),
        "Preparation": [
            "Before the network a row is prepared as follows:",
            f"```json\n{json.dumps(facts, indent=2)}\n```",
        ],
        "Limits": limits,
    }
    body = "\n\n".join(f"## {title}\n\n" + "\n\n".join(lines) for title, lines in sections.items())
    return f"# {run}\n\n{body}\n"
