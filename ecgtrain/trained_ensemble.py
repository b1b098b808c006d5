"""A finished run or ensemble, ready to predict rows of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from ecgtrain.config import EnsembleConfig
from ecgtrain.ensemble import FUSION
from ecgtrain.heads import read_by_head
from ecgtrain.joining import Task, fused, new_fusion
from ecgtrain.members import as_logits
from ecgtrain.models.fusion import FeatureFusion
from ecgtrain.predicting import probabilities
from ecgtrain.preparation import window_starts
from ecgtrain.run_folder import FINISHED, MEMBERS, RunFolder
from ecgtrain.trained_run import TrainedRun, load_trained
from pipelines.recipe import validate
from store.errors import MissingDataError


@dataclass(frozen=True)
class TrainedEnsemble:
    """An ensemble that is finished.

    Parameters
    ----------
    members : sequence of TrainedRun
        Its runs.
    temperatures : sequence of float
        What the logits of each are divided by.
    network : torch.nn.Module
        What joins their answers.
    """

    members: Sequence[TrainedRun]
    temperatures: Sequence[float]
    network: nn.Module

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.members[0].classes

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the leads that a row needs, in their order: those of all members."""
        return tuple(dict.fromkeys(lead for member in self.members for lead in member.leads))

    @property
    def facts(self) -> Mapping[str, Any]:
        """How rows are prepared: as for its members, whose store is one, with the leads of all."""
        facts = self.members[0].facts
        return {**facts, "row": {**facts["row"], "leads": list(self.leads)}}

    def predict(
        self,
        signal_mv: ArrayLike,
        *,
        record_mv: tuple[ArrayLike, ArrayLike] | None = None,
        rr_s: tuple[ArrayLike, ArrayLike] | None = None,
        valid_n: ArrayLike | None = None,
    ) -> NDArray[np.float32]:
        """Return the probability of each class for the rows of one recording, shape (n, n_classes).

        Parameters are those of `ecgtrain.trained_run.TrainedRun.predict`; leads as in `leads`.

        Raises
        ------
        UserError
            If the rows are not of the shape that the members were trained on.
        """
        rows_mv = np.asarray(signal_mv)
        answers = []
        for member, temperature in zip(self.members, self.temperatures, strict=True):
            leads = [self.leads.index(lead) for lead in member.leads]
            moments = None if record_mv is None else tuple(_of_leads(one, leads) for one in record_mv)
            beside = {"record_mv": moments, "rr_s": rr_s, "valid_n": valid_n, "temperature": temperature}
            answers.append(self._answer(member, rows_mv[:, leads], beside))
        return probabilities(fused(self.network, answers), multilabel=self.members[0].facts["multilabel"])

    def _answer(self, member: TrainedRun, rows_mv: NDArray[Any], beside: Mapping[str, Any]) -> Tensor:
        """Return what is joined of a member: what its head reads, or its calibrated logits."""
        if not isinstance(self.network, FeatureFusion):
            probability = member.predict(rows_mv, **beside)
            return torch.from_numpy(as_logits(probability, multilabel=member.facts["multilabel"]))
        with read_by_head(member.model, len(member.classes)) as seen:
            member.predict(rows_mv, **beside)
        n_windows = len(window_starts(rows_mv.shape[2], member.config.crop))
        passes = [torch.stack(seen[i : i + n_windows]).mean(dim=0) for i in range(0, len(seen), n_windows)]
        return torch.cat(passes).cpu()


def _of_leads(values: ArrayLike, leads: Sequence[int]) -> NDArray[Any]:
    """Return the moments of some leads; one that holds for all leads is kept."""
    found = np.atleast_1d(np.asarray(values))
    return found[leads] if len(found) > 1 else found


def load_run(path: str | Path, device: str = "auto") -> TrainedRun | TrainedEnsemble:
    """Return a finished run or ensemble, ready to predict.

    Parameters
    ----------
    path : str or Path
        Its folder.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises
    ------
    MissingDataError
        If it is not finished, or a member of an ensemble is not there.
    CheckpointError
        If weights are damaged.
    """
    folder = RunFolder(Path(path))
    return _load_ensemble(folder, device) if folder.is_ensemble else load_trained(path, device)


def _load_ensemble(folder: RunFolder, device: str) -> TrainedEnsemble:
    if folder.state != FINISHED:
        raise MissingDataError(f"{folder.path}: the ensemble is not finished; make it again with `ecgtrain ensemble`")
    about = folder.read_json(MEMBERS)
    members = [load_trained(folder.path / member["path"], device) for member in about["members"]]
    config = validate(EnsembleConfig, folder.config_data(), str(folder.path / "config.yaml"))
    network = new_fusion(config, Task(len(members[0].classes), members[0].facts["multilabel"]), about["widths"])
    network.load_state_dict(load_file(folder.path / FUSION))
    return TrainedEnsemble(members, [member["temperature"] for member in about["members"]], network.eval())
