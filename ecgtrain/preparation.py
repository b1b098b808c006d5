"""From stored rows to a model's tensors, on the device: crop, change, standardise, draw.

What is fitted is fitted on training rows alone and belongs to the run, which keeps it as plain data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ecgtrain.augment import augmented
from ecgtrain.config import AugmentationConfig, CropConfig
from ecgtrain.pictures import Picture, render
from ecgtrain.reading import Raw


class Change(NamedTuple):
    """How rows are changed.

    Parameters
    ----------
    config : AugmentationConfig
        What is changed.
    seed : int
        What the draws depend on.
    """

    config: AugmentationConfig
    seed: int


@dataclass(frozen=True)
class Preparation:
    """Makes a model's tensors from stored rows.

    Parameters
    ----------
    standardise : str
        ``record``, ``training`` or ``row``.
    scale_mv : float
        Millivolts a count.
    fs_hz : float
        Sampling rate of the signals.
    n_before : int
        How many beats stand before a row's own in its stack of beats.
    signal : mapping
        Mean and SD of each lead in mV, where training rows standardise; empty where the model reads no signals.
    picture : mapping
        Mean and SD of each channel in stored numbers; empty where the model reads no pictures.
    rendered : sequence of Picture
        What is drawn; empty where pictures are read, or there are none.
    crop : CropConfig or None
        Pieces of a row.
    """

    standardise: str
    scale_mv: float
    fs_hz: float
    n_before: int
    signal: Mapping[str, Any]
    picture: Mapping[str, Any]
    rendered: Sequence[Picture] = ()
    crop: CropConfig | None = None

    def inputs(self, raw: Raw, *, start: Tensor | None = None, change: Change | None = None) -> dict[str, Tensor]:
        """Return the tensors of some rows, by keyword, where the rows lie.

        Parameters
        ----------
        raw : Raw
            The rows.
        start : torch.Tensor, optional
            First sample of each row's piece, int64, shape (n,); None: whole rows.
        change : Change, optional
            How the signals are changed first.
        """
        counts, lengths = raw.counts, raw.valid_n
        if counts is not None and start is not None and self.crop is not None:
            counts, lengths = _cropped(counts, lengths, start, self.crop.samples)
        if counts is not None and change is not None and change.config.changes_signals:
            counts = augmented(counts, change.config, self.fs_hz, change.seed)
        tensors: dict[str, Tensor] = {}
        if counts is not None and self.signal:
            tensors |= self._signal(counts, lengths, raw)
        if self.picture:
            tensors["picture"] = self._pictures(counts, lengths, raw)
        if raw.features is not None:
            tensors["features"] = raw.features
        return tensors

    def _signal(self, counts: Tensor, lengths: Tensor | None, raw: Raw) -> dict[str, Tensor]:
        """Return the signals, padding 0, and where they lie: as far as the longest of a row's beats."""
        signal = self._standardised(counts, lengths, raw)
        if lengths is None:
            return {"signal": signal.flatten(1, 2)}
        time = torch.arange(signal.shape[-1], device=signal.device)
        signal = signal.masked_fill(time >= lengths[:, :, None, None], 0.0)
        longest = lengths.amax(dim=1)
        extent = torch.stack([torch.zeros_like(longest), longest], dim=1)
        return {"signal": signal.flatten(1, 2), "extent": extent}

    def drawn(self, raw: Raw) -> Tensor:
        """Return the pictures of some rows as numbers that a store holds."""
        if not self.rendered:
            assert raw.pictures is not None
            return raw.pictures
        assert raw.counts is not None
        return self._render(raw.counts, raw.valid_n)

    def _render(self, counts: Tensor, lengths: Tensor | None) -> Tensor:
        own = self.n_before
        return render(self.rendered, counts[:, own], None if lengths is None else lengths[:, own])

    def _pictures(self, counts: Tensor | None, lengths: Tensor | None, raw: Raw) -> Tensor:
        values = self._render(counts, lengths) if self.rendered and counts is not None else raw.pictures
        assert values is not None
        mean, sd = (_like(self.picture[key], values, (1, -1, 1, 1)) for key in ("mean", "sd"))
        return _divided_difference(values, mean, sd)

    def _standardised(self, counts: Tensor, lengths: Tensor | None, raw: Raw) -> Tensor:
        if self.standardise == "row":
            return _scaled_by_row(counts.float(), lengths)
        if self.standardise == "record":
            mean, sd = raw.mean, raw.sd
            assert mean is not None
            assert sd is not None
        else:
            mean, sd = (_like(self.signal[key], counts, (1, 1, -1, 1)) / self.scale_mv for key in ("mean_mv", "sd_mv"))
        return _divided_difference(counts, mean, sd)


def window_starts(n_samples: int, crop: CropConfig | None) -> list[int]:
    """Return the first samples of a row's windows in evaluation; a row that is not cut has one."""
    return list(range(0, n_samples - crop.samples + 1, crop.stride)) if crop else [0]


def random_starts(n: int, n_samples: int, lengths: np.ndarray | None, crop: CropConfig, seed: int) -> Tensor:
    """Return a first sample for each row's piece in training, inside what is no padding."""
    room = np.full(n, n_samples) if lengths is None else np.asarray(lengths)
    most = np.maximum(room - crop.samples, 0)
    return torch.from_numpy(np.random.default_rng([seed, 2]).integers(0, most + 1))


def _cropped(counts: Tensor, lengths: Tensor | None, start: Tensor, samples: int) -> tuple[Tensor, Tensor | None]:
    place = start.to(counts.device)[:, None] + torch.arange(samples, device=counts.device)
    pieces = counts.gather(-1, place[:, None, None, :].expand(*counts.shape[:3], samples))
    left = None if lengths is None else (lengths - start.to(lengths.device)[:, None]).clamp(1, samples)
    return pieces, left


def _scaled_by_row(signal: Tensor, lengths: Tensor | None) -> Tensor:
    """Return signals that run from 0 to 1 within each beat and lead; padding and constant ones are 0."""
    if lengths is None:
        valid = torch.ones_like(signal, dtype=torch.bool)
    else:
        time = torch.arange(signal.shape[-1], device=signal.device)
        valid = (time < lengths[:, :, None, None]).expand_as(signal)
    low = signal.masked_fill(~valid, torch.inf).amin(dim=-1, keepdim=True)
    high = signal.masked_fill(~valid, -torch.inf).amax(dim=-1, keepdim=True)
    scaled = (signal - low) / torch.where(high > low, high - low, 1.0)
    return scaled.masked_fill(~valid, 0.0)


def _divided_difference(stored: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Return (stored − mean) / sd as float32.

    On a processor by NumPy: torch would wake a second thread for it, which then spins on the core that decodes.
    """
    if stored.device.type != "cpu":
        return torch.sub(stored, mean).div_(sd)  # twice through memory, not three times
    values = stored.numpy().astype(np.float32)
    values -= mean.numpy()
    values /= sd.numpy()
    return torch.from_numpy(values)


def _like(values: Sequence[float], tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=tensor.device).view(shape)
