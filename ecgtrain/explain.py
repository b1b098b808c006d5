"""Which samples of a row a network's decision rests on: integrated gradients, by captum, and Grad-CAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ecgtrain.loader import Batch, Loader
from ecgtrain.models.maps import Convolution, Maps
from store.errors import UnknownNameError, UserError
from store.files import sync_file, sync_folder

INTEGRATED_GRADIENTS, GRAD_CAM = "integrated_gradients", "grad_cam"
METHODS = (INTEGRATED_GRADIENTS, GRAD_CAM)
STEPS = 32
RIGHT, WRONG, BORDERLINE = "right", "wrong", "borderline"
ROWS_A_KIND = 2

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Chosen:
    """A row to explain, and the class whose logit is explained.

    Parameters
    ----------
    row : int
        Number of the row in the store.
    explained : int
        Number of the class.
    kind : str
        ``right``, ``wrong`` or ``borderline``.
    """

    row: int
    explained: int
    kind: str


def choose_rows(
    rows: NDArray[np.int64], truth: NDArray[Any], probability: Floats, *, multilabel: bool, each: int = ROWS_A_KIND
) -> list[Chosen]:
    """Return for each class the rows that are right and wrong with most confidence, and those between.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Their numbers in the store.
    truth : ndarray, shape (n, n_classes)
        Which classes a row has.
    probability : ndarray of float32, shape (n, n_classes)
        What the network says.
    multilabel : bool
        Whether a row can have several classes.
    each : int
        Rows of each kind and class, at most.
    """
    decided = probability >= 0.5 if multilabel else np.eye(truth.shape[1])[probability.argmax(axis=1)] == 1
    rival = np.full_like(probability, 0.5) if multilabel else _best_of_others(probability)
    chosen = []
    for c in range(truth.shape[1]):
        has, said, margin = truth[:, c] == 1, decided[:, c], probability[:, c] - rival[:, c]
        for kind, among, order in (
            (RIGHT, has & said, -margin),
            (WRONG, ~has & said, -margin),
            (BORDERLINE, has | said, np.abs(margin)),
        ):
            places = np.flatnonzero(among)
            best = places[np.argsort(order[places], kind="stable")[:each]]
            chosen += [Chosen(int(rows[place]), c, kind) for place in best]
    return chosen


def _best_of_others(probability: Floats) -> Floats:
    ordered = np.sort(probability, axis=1)
    most, second = ordered[:, -1:], ordered[:, -2:-1]
    return np.where(probability == most, second, most)


def attribute(model: nn.Module, batch: Batch, classes: Sequence[int], method: str) -> dict[str, Tensor]:
    """Return how much each value of a network's inputs mattered for a class's logit.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    batch : Batch
        Some rows as the network reads them.
    classes : sequence of int
        The class that is explained of each row.
    method : str
        ``integrated_gradients`` (Sundararajan et al., 2017; from the mean of training, 32 steps), for every input; or
        ``grad_cam`` (Selvaraju et al., 2017; of the last convolution), for the input that it ran over.

    Returns
    -------
    dict of str to torch.Tensor
        By keyword, of the input's shape; Grad-CAM's map is the same for all channels.

    Raises
    ------
    UnknownNameError
        If there is no such method.
    UserError
        If the network has no convolution over what it reads.
    """
    if method not in METHODS:
        raise UnknownNameError("method of explanation", method, METHODS)
    model.eval()
    target = torch.tensor(list(classes), device=next(iter(batch.inputs.values())).device)
    with torch.backends.cudnn.flags(enabled=False):  # its recurrent layers have no gradient in evaluation
        if method == INTEGRATED_GRADIENTS:
            return _integrated_gradients(model, batch.inputs, target)
        return _grad_cam(model, batch.inputs, target)


def _integrated_gradients(model: nn.Module, inputs: Mapping[str, Tensor], target: Tensor) -> dict[str, Tensor]:
    from captum.attr import IntegratedGradients

    names = [name for name, value in inputs.items() if value.is_floating_point()]
    given = [name for name in inputs if name not in names]  # what says where the signal is, and is none

    def logits(*values: Tensor) -> Tensor:
        out: Tensor = model(**dict(zip([*names, *given], values, strict=True)))
        return out.float()

    found = IntegratedGradients(logits).attribute(
        tuple(inputs[name] for name in names),
        target=target,
        additional_forward_args=tuple(inputs[name] for name in given) or None,
        n_steps=STEPS,
        internal_batch_size=len(target),
    )
    return {name: value.detach().float() for name, value in zip(names, found, strict=True)}


def _grad_cam(model: nn.Module, inputs: Mapping[str, Tensor], target: Tensor) -> dict[str, Tensor]:
    maps: dict[str, Tensor] = {}
    layers = {"signal": _last_over_time(model), "picture": _last_over_picture(model)}
    for name, layer in layers.items():
        if name not in inputs or layer is None:
            continue
        cam, value = _class_map(model, layer, inputs, target), inputs[name]
        size = (1, value.shape[2]) if value.ndim == 3 else value.shape[2:]
        sized = interpolate(cam, size=size, mode="bilinear", align_corners=False)
        maps[name] = sized.view(len(value), 1, *value.shape[2:]).expand_as(value).clone()
    if not maps:
        raise UserError(f"{type(model).__name__} has no convolution over what it reads; use {INTEGRATED_GRADIENTS}")
    return maps


def _class_map(model: nn.Module, layer: nn.Module, inputs: Mapping[str, Tensor], target: Tensor) -> Tensor:
    """Return what a layer's maps add to a class's logit, each weighted by its mean gradient; what is below 0 is 0."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor | Maps) -> None:
        kept.append(output.values if isinstance(output, Maps) else output)

    handle = layer.register_forward_hook(keep)
    try:
        logits = model(**inputs).float()
    finally:
        handle.remove()
    chosen = logits.gather(1, target[:, None]).sum()
    (slope,) = torch.autograd.grad(chosen, kept[0])
    values, slope = (one.unsqueeze(2) if one.ndim == 3 else one for one in (kept[0].detach(), slope))
    return (values * slope.mean(dim=(2, 3), keepdim=True)).sum(dim=1, keepdim=True).clamp(min=0).float()


def _last_over_time(model: nn.Module) -> nn.Module | None:
    """Return the last convolution over time that sees more than one value at once."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv1d | Convolution)]
    return next((layer for layer in reversed(layers) if max(layer.kernel_size) > 1), None)


def _last_over_picture(model: nn.Module) -> nn.Module | None:
    """Return the last convolution over a picture that sees more than one value at once."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d) and not isinstance(layer, Convolution)]
    return next((layer for layer in reversed(layers) if max(layer.kernel_size) > 1), None)


def over_time(maps: Mapping[str, Tensor], loader: Loader, n_leads: int) -> Floats:
    """Bring attributions back to the samples of each lead.

    A map over a signal is that of the row's own beat; one over a picture is averaged over its height and its kinds, and
    stretched over the row, or over the window of it that was read.

    Parameters
    ----------
    maps : mapping
        From `attribute`.
    loader : Loader
        Whose rows they belong to.
    n_leads : int
        Leads of a row.

    Returns
    -------
    ndarray of float32, shape (n, n_leads, n_samples of a window)
    """
    if "signal" in maps:
        first = loader.preparation.n_before * n_leads
        own: Floats = maps["signal"][:, first : first + n_leads].cpu().numpy()
        return own
    columns = maps["picture"].abs().mean(dim=2)  # (n, picture and lead, width)
    of_lead = columns.reshape(len(columns), -1, n_leads, columns.shape[-1]).mean(dim=1)
    crop = loader.preparation.crop
    n_samples = crop.samples if crop else loader.n_samples
    stretched: Floats = interpolate(of_lead, size=n_samples, mode="linear", align_corners=False).cpu().numpy()
    return stretched


def write_explanations(folder: Path, method: str, arrays: Mapping[str, Any]) -> Path:
    """Write explanations as ``explain/<method>.npz`` in a run's folder, whole, and return the file."""
    file = folder / "explain" / f"{method}.npz"
    file.parent.mkdir(exist_ok=True)
    aside = file.with_name(f".{file.name}.tmp.npz")
    np.savez_compressed(aside, **arrays)
    sync_file(aside)
    aside.replace(file)
    sync_folder(file.parent)
    return file
