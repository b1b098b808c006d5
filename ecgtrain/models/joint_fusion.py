"""Fusion of a signal and its picture in one network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgtrain.models.classifiers import Encoder, FeatureBranch
from ecgtrain.models.cnn1d_rnn import ConvolutionsThenBiGru
from ecgtrain.models.heads import dropout_head
from ecgtrain.models.recurrent import AttentionEncoder, Recurrence
from ecgtrain.models.registry import InputShape, register_model
from ecgtrain.models.resnet2d import ResNet18Encoder

FUSED, DROPOUT = 256, 0.3

SOURCE = "this project's joint fusion of a recurrent network with attention and ResNet-18"
SETTINGS = {"epochs": 15}


class Concatenation(nn.Module):
    """Both vectors side by side, then one layer.

    Parameters
    ----------
    heard, seen : int
        Lengths of the two vectors.
    """

    def __init__(self, heard: int, seen: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(heard + seen, FUSED), nn.ReLU())

    def forward(self, heard: Tensor, seen: Tensor) -> Tensor:
        """Return the fused vectors (batch, 256)."""
        fused: Tensor = self.layer(torch.cat([heard, seen], dim=1))
        return fused


class Gate(nn.Module):
    """Both vectors projected to one width, and mixed value by value by a gate that both open.

    Parameters
    ----------
    heard, seen : int
        Lengths of the two vectors.
    """

    def __init__(self, heard: int, seen: int) -> None:
        super().__init__()
        self.project_heard, self.project_seen = nn.Linear(heard, FUSED), nn.Linear(seen, FUSED)
        self.gate = nn.Linear(heard + seen, FUSED)

    def forward(self, heard: Tensor, seen: Tensor) -> Tensor:
        """Return the fused vectors (batch, 256)."""
        gate = self.gate(torch.cat([heard, seen], dim=1)).sigmoid()
        fused: Tensor = gate * self.project_heard(heard) + (1 - gate) * self.project_seen(seen)
        return fused


class Branches(nn.Module):
    """A signal branch, with the numbers beside a row, and a picture branch; each one's vector normalised.

    Parameters
    ----------
    signal_branch : Encoder
        From signals to vectors.
    shape : InputShape
        What it is made for.
    """

    def __init__(self, signal_branch: Encoder, shape: InputShape) -> None:
        super().__init__()
        self.signal_branch = signal_branch
        self.picture_branch = ResNet18Encoder(shape.need_picture()[0])
        self.context = FeatureBranch(shape.n_features)
        self.signal_norm = nn.LayerNorm(signal_branch.width)
        self.picture_norm = nn.LayerNorm(self.picture_branch.width)
        self.widths = (signal_branch.width + self.context.width, self.picture_branch.width)

    def forward(
        self, signal: Tensor, picture: Tensor, features: Tensor | None, extent: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the vectors of the signals and of the pictures."""
        heard = self.signal_norm(self.signal_branch(signal, extent))
        seen = self.picture_norm(self.picture_branch(picture.contiguous(memory_format=torch.channels_last)))
        return self.context.beside(heard, features), seen


class JointFusion(nn.Module):
    """Two branches, their vectors fused, and one head.

    Parameters
    ----------
    branches : Branches
        What reads the row.
    fusion : Concatenation or Gate
        What makes one vector of two.
    n_classes : int
        Number of classes.
    """

    width = FUSED

    def __init__(self, branches: Branches, fusion: nn.Module, n_classes: int) -> None:
        super().__init__()
        self.branches = branches
        self.fusion = fusion
        self.head = dropout_head(DROPOUT)(FUSED, n_classes)
        self.to(memory_format=torch.channels_last)

    def embed(
        self, signal: Tensor, picture: Tensor, features: Tensor | None = None, extent: Tensor | None = None
    ) -> Tensor:
        """Return the fused vectors, shape (batch, 256)."""
        fused: Tensor = self.fusion(*self.branches(signal, picture, features, extent))
        return fused

    def forward(
        self, signal: Tensor, picture: Tensor, features: Tensor | None = None, extent: Tensor | None = None
    ) -> Tensor:
        """Return the logits of a batch of signals and their pictures."""
        logits: Tensor = self.head(self.embed(signal, picture, features, extent))
        return logits


class LateAverage(nn.Module):
    """Two branches, each with a head of its own, and the mean of their logits.

    Parameters
    ----------
    branches : Branches
        What reads the row.
    n_classes : int
        Number of classes.
    """

    def __init__(self, branches: Branches, n_classes: int) -> None:
        super().__init__()
        self.branches = branches
        self.width = sum(branches.widths)
        self.head = nn.ModuleList(nn.Linear(width, n_classes) for width in branches.widths)
        self.to(memory_format=torch.channels_last)

    def embed(
        self, signal: Tensor, picture: Tensor, features: Tensor | None = None, extent: Tensor | None = None
    ) -> Tensor:
        """Return both vectors side by side, shape (batch, width)."""
        return torch.cat(self.branches(signal, picture, features, extent), dim=1)

    def forward(
        self, signal: Tensor, picture: Tensor, features: Tensor | None = None, extent: Tensor | None = None
    ) -> Tensor:
        """Return the mean logits of a batch of signals and their pictures."""
        vectors = self.branches(signal, picture, features, extent)
        return torch.stack([head(vector) for head, vector in zip(self.head, vectors, strict=True)]).mean(dim=0)


def _branches(shape: InputShape) -> Branches:
    return Branches(ConvolutionsThenBiGru(shape.n_leads), shape)


@register_model(reads="both", source=SOURCE, settings=SETTINGS)
def joint_fusion(shape: InputShape) -> nn.Module:
    """Convolutions with a BiGRU and attention on the signal beside ResNet-18 on its picture, trained together."""
    branches = _branches(shape)
    return JointFusion(branches, Concatenation(*branches.widths), shape.n_classes)


@register_model(reads="both", source=SOURCE, settings=SETTINGS)
def joint_fusion_bigru(shape: InputShape) -> nn.Module:
    """`joint_fusion` with a BiGRU over every sample of the signal: slow on long rows."""
    branches = Branches(AttentionEncoder(Recurrence(nn.GRU, shape.n_leads, bidirectional=True)), shape)
    return JointFusion(branches, Concatenation(*branches.widths), shape.n_classes)


@register_model(reads="both", source=SOURCE, settings=SETTINGS)
def joint_fusion_gated(shape: InputShape) -> nn.Module:
    """`joint_fusion` with a gate that mixes what the signal and the picture say."""
    branches = _branches(shape)
    return JointFusion(branches, Gate(*branches.widths), shape.n_classes)


@register_model(reads="both", source=SOURCE, settings=SETTINGS)
def joint_fusion_average(shape: InputShape) -> nn.Module:
    """`joint_fusion` with a head for each branch and the mean of their logits."""
    return LateAverage(_branches(shape), shape.n_classes)
