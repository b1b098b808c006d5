"""Which samples of a row a network's decision rests on: integrated gradients, and Grad-CAM, by captum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ecgtrain.loader import Batch, Loader
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
    names = tuple(batch.inputs)
    inputs = tuple(batch.inputs[name].float() for name in names)
    target = torch.tensor(list(classes), device=inputs[0].device)

    def logits(*values: Tensor) -> Tensor:
        out: Tensor = model(**dict(zip(names, values, strict=True)))
        return out.float()

    model.eval()
    explain = _integrated_gradients if method == INTEGRATED_GRADIENTS else _grad_cam
    with torch.backends.cudnn.flags(enabled=False):  # its recurrent layers have no gradient in evaluation
        return explain(model, logits, names, inputs, target)


def _integrated_gradients(
    model: nn.Module,
    logits: Callable[..., Tensor],
    names: Sequence[str],
    inputs: tuple[Tensor, ...],
    target: Tensor,
) -> dict[str, Tensor]:
    from captum.attr import IntegratedGradients

    found = IntegratedGradients(logits).attribute(inputs, target=target, n_steps=STEPS, internal_batch_size=len(target))
    return {name: value.detach().float() for name, value in zip(names, found, strict=True)}


def _grad_cam(
    model: nn.Module,
    logits: Callable[..., Tensor],
    names: Sequence[str],
    inputs: tuple[Tensor, ...],
    target: Tensor,
) -> dict[str, Tensor]:
    from captum.attr import LayerGradCam

    maps: dict[str, Tensor] = {}
    for name, kind, mode in (("signal", nn.Conv1d, "linear"), ("picture", nn.Conv2d, "bilinear")):
        layer = _last_convolution(model, kind)
        if name not in names or layer is None:
            continue
        cam = LayerGradCam(logits, layer).attribute(inputs, target=target, relu_attributions=True)
        value = inputs[names.index(name)]
        sized = interpolate(cam.detach().float(), size=value.shape[2:], mode=mode, align_corners=False)
        maps[name] = sized.expand_as(value).clone()
    if not maps:
        raise UserError(f"{type(model).__name__} has no convolution over what it reads; use {INTEGRATED_GRADIENTS}")
    return maps


def _last_convolution(model: nn.Module, kind: type[nn.Module]) -> nn.Module | None:
    """Return the last convolution that sees more than one value at a time."""
    layers = [layer for layer in model.modules() if isinstance(layer, kind)]
    wide = [layer for layer in layers if max(layer.kernel_size) > 1]  # type: ignore[arg-type]
    return wide[-1] if wide else None


def over_time(maps: Mapping[str, Tensor], loader: Loader, n_leads: int) -> Floats:
    """Bring attributions back to the samples of each lead.

    A map over a signal is that of the row's own beat; one over a picture is averaged over its height and its kinds, and
    stretched over the row.

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
    ndarray of float32, shape (n, n_leads, n_samples)
    """
    if "signal" in maps:
        first = loader.preparation.n_before * n_leads
        own: Floats = maps["signal"][:, first : first + n_leads].cpu().numpy()
        return own
    columns = maps["picture"].abs().mean(dim=2)  # (n, picture and lead, width)
    of_lead = columns.reshape(len(columns), -1, n_leads, columns.shape[-1]).mean(dim=1)
    stretched: Floats = interpolate(of_lead, size=loader.n_samples, mode="linear", align_corners=False).cpu().numpy()
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
