"""A trained run, for rows of one's own: its model, and what is done to a row before the model sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ecgprep.representations import stored_rep
from ecgtrain import rr
from ecgtrain.checkpoint import read_checkpoint
from ecgtrain.config import NEIGHBOURS, PREVIOUS, SIGNAL, TYPICAL, RunConfig
from ecgtrain.devices import pick_device
from ecgtrain.inputs import features_by
from ecgtrain.loader import Loaders
from ecgtrain.loop import BEST
from ecgtrain.models import create_model
from ecgtrain.models.baselines import FittedModel
from ecgtrain.pictures import Picture
from ecgtrain.predicting import keywords_of
from ecgtrain.preparation import Preparation, window_starts
from ecgtrain.reading import Raw
from ecgtrain.run_folder import FINISHED, RunFolder
from store.errors import MissingDataError, UserError
from store.read import Store

FACTS = ("shape", "row", "classes", "multilabel", "recipe", "padded")  # that no row can be prepared without
ROWS_AT_ONCE = 256  # so that a day's beats need no more memory than a minute's


def described(data: Loaders, store: Store) -> dict[str, Any]:
    """Return what has to be known of a store's loaders to prepare other rows as theirs, as plain data."""
    preparation = data.train.preparation
    return {
        "shape": dict(vars(data.shape)),
        "row": {
            "leads": list(data.leads),
            "n_samples": data.train.n_samples,
            "fs_hz": preparation.fs_hz,
            "scale_mv": preparation.scale_mv,
            "standardise": preparation.standardise,
        },
        "classes": list(data.label.classes),
        "multilabel": data.label.multilabel,
        "recipe": store.attributes.get("recipe"),
        "padded": data.train.reader.valid_n is not None,
    }


@dataclass(frozen=True)
class TrainedRun:
    """A run that is finished.

    Parameters
    ----------
    model : torch.nn.Module
        With the weights of its best epoch.
    facts : mapping
        What its ``preprocessing.json`` says.
    config : RunConfig
        Its configuration.
    """

    model: nn.Module
    facts: Mapping[str, Any]
    config: RunConfig

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.facts["classes"])

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the leads that a row needs, in their order."""
        return tuple(self.facts["row"]["leads"])

    def predict(
        self,
        signal_mv: ArrayLike,
        *,
        record_mv: tuple[ArrayLike, ArrayLike] | None = None,
        rr_s: tuple[ArrayLike, ArrayLike] | None = None,
        valid_n: ArrayLike | None = None,
        temperature: float = 1.0,
    ) -> NDArray[np.float32]:
        """Return the probability of each class for the rows of one recording, shape (n, n_classes).

        Where the run reads the beats beside a beat, they are the rows before and after it, and their median.

        Parameters
        ----------
        signal_mv : array, shape (n, n_leads, n_samples)
            Voltage in mV of all rows of a recording, in their order in time; leads as in `leads`.
        record_mv : tuple of array, optional
            Mean and SD of the recording in mV, of each lead or of all; by default those of the rows.
        rr_s : tuple of array, optional
            Intervals to the beats before and after in s, each of shape (n,), NaN where there is none; by default
            unknown.
        valid_n : array of int, optional
            Samples of each row before its padding; by default all.
        temperature : float
            What the logits are divided by.

        Raises
        ------
        UserError
            If the rows are not of the shape that the run was trained on.
        """
        counts = self._counts(np.asarray(signal_mv, dtype=np.float64))
        raw = self._raw(counts, record_mv, rr_s, valid_n)
        places = [slice(first, first + ROWS_AT_ONCE) for first in range(0, len(counts), ROWS_AT_ONCE)]
        self.model.eval()
        with torch.inference_mode():
            parts = [self._probability(raw.map(itemgetter(place)), temperature) for place in places]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)

    def _probability(self, raw: Raw, temperature: float) -> NDArray[np.float32]:
        """Return the mean probability over the windows of some rows."""
        device = next(self.model.parameters()).device
        raw, preparation = raw.map(lambda values: values.to(device)), self.preparation()
        assert raw.counts is not None
        n, starts = len(raw.counts), window_starts(raw.counts.shape[-1], preparation.crop)
        total = torch.zeros(n, len(self.classes), device=device)
        for first in starts:
            start = torch.full((n,), first) if preparation.crop else None
            inputs = preparation.inputs(raw, start=start)
            logits = self.model(**{name: inputs[name] for name in keywords_of(self.model, inputs)}).float()
            logits = logits / temperature
            total += logits.sigmoid() if self.facts["multilabel"] else logits.softmax(dim=1)
        probability: NDArray[np.float32] = (total / len(starts)).cpu().numpy()
        return probability

    def preparation(self) -> Preparation:
        """Return what makes the model's tensors from rows."""
        row, picture = self.facts["row"], self.facts.get("picture", {})
        drawn = [
            Picture(
                name, self.facts["shape"]["picture"][1:], stored_rep(name, {"parameters": parameters}), stored=False
            )
            for name, parameters in picture.get("parameters", {}).items()
        ]
        signal = self.facts.get(SIGNAL, {})
        return Preparation(
            standardise=row["standardise"],
            scale_mv=row["scale_mv"],
            fs_hz=row["fs_hz"],
            n_before=int(NEIGHBOURS in signal or PREVIOUS in signal),
            signal=signal,
            picture=picture,
            rendered=drawn,
            crop=self.config.crop,
        )

    def _counts(self, signal_mv: NDArray[np.float64]) -> Tensor:
        row = self.facts["row"]
        wanted = (len(row["leads"]), row["n_samples"])
        if signal_mv.ndim != 3 or signal_mv.shape[1:] != wanted:
            raise UserError(
                f"rows of shape {signal_mv.shape}: this run reads (n, {wanted[0]}, {wanted[1]}), leads "
                f"{' '.join(row['leads'])} at {row['fs_hz']:g} Hz"
            )
        return torch.from_numpy(np.rint(signal_mv / row["scale_mv"]).astype(np.int16))

    def _raw(self, counts: Tensor, record_mv: Any, rr_s: Any, valid_n: Any) -> Raw:
        signal, n = self.facts.get(SIGNAL, {}), len(counts)
        own = torch.arange(n)
        places = [own]
        if NEIGHBOURS in signal or PREVIOUS in signal:
            places.insert(0, (own - 1).clamp(min=0))
        if NEIGHBOURS in signal:
            places.append((own + 1).clamp(max=n - 1))
        beats = [counts[place] for place in places]
        if TYPICAL in signal:
            median = np.median(counts.numpy(), axis=0)
            beats.append(torch.from_numpy(np.rint(median).astype(np.int16)).expand_as(counts))
            places.append(own)  # a typical beat is as long as the row that it stands beside
        lengths = None
        if valid_n is not None:
            row_lengths = torch.as_tensor(np.asarray(valid_n, np.int64))
            lengths = torch.stack([row_lengths[place] for place in places], dim=1)
        mean, sd = self._moments(counts, record_mv)
        features = None
        if "features" in self.facts:
            chosen = [rr.FEATURES.index(name) for name in self.facts["features"]["names"]]
            values = rr.rr_features(_intervals(rr_s, n))[:, chosen]
            features = torch.from_numpy(features_by(values, self.facts["features"]))
        return Raw(torch.stack(beats, dim=1), lengths, mean, sd, features=features)

    def _moments(self, counts: Tensor, record_mv: Any) -> tuple[Tensor | None, Tensor | None]:
        if self.facts["row"]["standardise"] != "record":
            return None, None
        if record_mv is None:
            values = counts.double()
            mean, sd = values.mean(dim=(0, 2)), values.std(dim=(0, 2), correction=0)
        else:
            mean, sd = (torch.as_tensor(np.atleast_1d(one) / self.facts["row"]["scale_mv"]) for one in record_mv)
        return tuple(one.float().view(1, 1, -1, 1).expand(len(counts), -1, -1, -1) for one in (mean, sd))  # type: ignore[return-value]


def _intervals(rr_s: Any, n: int) -> dict[str, NDArray[Any]]:
    before, after = rr_s if rr_s is not None else (np.full(n, np.nan), np.full(n, np.nan))
    return {"rr_prev_s": np.asarray(before), "rr_next_s": np.asarray(after), "record": np.zeros(n)}


def load_trained(path: str | Path, device: str = "auto") -> TrainedRun:
    """Return a finished run of one network, ready to predict.

    Parameters
    ----------
    path : str or Path
        The run's folder.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises
    ------
    MissingDataError
        If there is no finished run.
    UserError
        If it is one over folds or of another version, or its model keeps no weights.
    CheckpointError
        If its weights are damaged.
    """
    folder = RunFolder(Path(path))
    if (folder.path / "fold-0").is_dir():
        raise UserError(f"{folder.name} is a run over folds; name one of them, such as {folder.name}/fold-0")
    if folder.state != FINISHED or not (folder.path / "preprocessing.json").is_file():
        raise MissingDataError(f"{path}: no finished run here; `ecgtrain runs` lists them")
    facts, config = folder.read_json("preprocessing.json"), folder.config()
    if missing := [name for name in FACTS if name not in facts]:
        raise UserError(f"{path}: preprocessing.json lacks {', '.join(missing)}; {folder.made_elsewhere}")
    picture = facts["shape"]["picture"]
    shape = {**facts["shape"], "picture": tuple(picture) if picture else None}
    model = create_model(config.model, **shape)
    if isinstance(model, FittedModel):
        raise UserError(f"{folder.name}: {config.model} is a baseline and keeps no weights; name a run of a network")
    read_checkpoint(folder.checkpoints / BEST).restore(model)
    return TrainedRun(model.to(pick_device(device)).eval(), facts, config)
