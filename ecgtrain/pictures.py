"""Which pictures a model reads, and how they come: read from the store, or drawn from its signals on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from ecgprep.representations import Representation, list_representations, parse_reps, render_all, stored_rep
from ecgtrain.config import SIGNAL, DataConfig
from store.errors import UnknownNameError, UserError
from store.read import Store

COUNTS_PER_MV = 1000.0


@dataclass(frozen=True)
class Picture:
    """One array of pictures.

    Parameters
    ----------
    name : str
        Its name.
    shape : tuple of int
        Height and width.
    rep : Representation or None
        What draws it; None for a stored array that does not say.
    stored : bool
        Whether the store holds it.
    """

    name: str
    shape: tuple[int, int]
    rep: Representation | None
    stored: bool


def find_pictures(store: Store, names: Sequence[str]) -> list[Picture]:
    """Return the pictures among a model's inputs.

    Parameters
    ----------
    store : Store
        Where stored ones lie, and the signals of others.
    names : sequence of str
        Inputs: ``signal``, stored representations, and requests such as ``gaf:size=128``.

    Raises
    ------
    UnknownNameError
        For a name that is none of these.
    UserError
        If they differ in size.
    """
    found = [picture for name in names if name != SIGNAL for picture in _pictures_of(store, name)]
    if len({picture.shape for picture in found}) > 1:
        listed = ", ".join(f"{one.name} {one.shape[0]}×{one.shape[1]}" for one in found)
        raise UserError(f"pictures of one model need one size, found {listed}; name one of them with --input")
    return found


def _pictures_of(store: Store, name: str) -> list[Picture]:
    if name in store.representations:
        array = store.representation(name)
        height, width = array.shape[2:]
        return [Picture(name, (height, width), stored_rep(name, array.attrs.asdict()), stored=True)]
    if name.partition(":")[0] not in list_representations():
        known = (SIGNAL, *store.representations, *list_representations())
        raise UnknownNameError(f"input of {store.name}", name, known)
    unit: Literal["beat", "record"] = "beat" if str(store.attributes["unit"]).startswith("beat") else "record"
    reps = parse_reps(name, kind=unit, fs_hz=store.fs_hz, n_samples=store.signal.shape[2])
    return [Picture(rep.name, rep.shape, rep, stored=False) for rep in reps]


def build_command(store: Store, options: str) -> str:
    """Return the command that makes a store of the same databases with other options."""
    return f"ecgprep build --dataset {store.attributes.get('recipe', {}).get('dataset', 'NAME')} {options}"


def are_rendered(store: Store, pictures: Sequence[Picture], config: DataConfig, device: torch.device) -> bool:
    """Tell whether pictures are drawn while training, rather than read.

    Raises
    ------
    UserError
        If they have to be drawn and cannot, or shall be read and cannot.
    """
    changed = config.augmentation.changes_signals or config.augmentation.mixup or config.crop
    needs = "signals that are changed" if changed else "mixed rows" if _has_mixed_rows(store, config) else ""
    absent = [picture.name for picture in pictures if not picture.stored]
    if config.pictures == "stored" and (needs or absent):
        if absent:
            mend = f"add it with `{build_command(store, f'--reps {absent[0]}')}` or use pictures=rendered"
            raise UserError(f"pictures=stored: {absent[0]!r} is not stored; {mend}")
        raise UserError(f"pictures=stored: stored ones are not those of {needs}; use pictures=rendered")
    unknown = [picture.name for picture in pictures if picture.rep is None]
    wanted = config.pictures == "rendered" or bool(needs or absent)
    if wanted and unknown:
        command = build_command(store, f"--reps {unknown[0]}")
        raise UserError(f"the store does not say how {unknown[0]!r} is drawn; `{command}` makes one that does")
    return wanted or (config.pictures == "auto" and device.type == "cuda" and not unknown)


def _has_mixed_rows(store: Store, config: DataConfig) -> bool:
    """Tell whether rows between two stored ones are trained on; copies have the stored pictures."""
    return config.balance != "none" and bool(store.balance(config.protocol, config.balance, config.fold).weights.any())


def render(pictures: Sequence[Picture], counts: Tensor, valid_n: Tensor | None) -> Tensor:
    """Draw signals: the very numbers that the store would hold.

    Parameters
    ----------
    pictures : sequence of Picture
        What to draw; each has a ``rep``.
    counts : torch.Tensor
        Signals in counts, shape (n, n_leads, n_samples): int16 as stored, or changed ones.
    valid_n : torch.Tensor or None
        Samples of each row before its padding, shape (n,).

    Returns
    -------
    torch.Tensor
        Numbers as stored, shape (n, n_pictures · n_leads, height, width).
    """
    reps = [picture.rep for picture in pictures if picture.rep is not None]
    signal = counts / COUNTS_PER_MV if counts.is_floating_point() else counts
    if counts.device.type == "cpu":  # NumPy draws faster there, and just what the build drew
        lengths = None if valid_n is None else valid_n.numpy()
        with _blas().limit(limits=1):  # its threads would stay awake for a while, on the cores that the model's need
            drawn = render_all(reps, signal.numpy(), lengths)
        return torch.from_numpy(np.concatenate([drawn[rep.name] for rep in reps], axis=1))
    drawn = render_all(reps, signal, valid_n)
    return torch.cat([drawn[rep.name] for rep in reps], dim=1)


@lru_cache(maxsize=1)  # looking for the libraries takes as long as drawing some pictures
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
