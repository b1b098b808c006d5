"""Two experts, one on signals and one on pictures, and what joins them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ecgtrain.models.classifiers import PictureModel, SignalModel
from ecgtrain.models.efficientnet_scalogram import efficientnet_scalogram_b0
from ecgtrain.models.fusion import AttentionFusion, FeatureFusion, FixedFusion, LearnableFusion
from ecgtrain.models.inception_time import inception_time_base, inception_time_base_context
from ecgtrain.models.registry import InputShape, register_model

SOURCE = "this project's joint of Ismail Fawaz et al. 2020 (arXiv:1909.04939) and Tan, Le 2019 (arXiv:1905.11946)"
SETTINGS = {
    "optimizer": {"lr": 5e-4, "weight_decay": 1e-4},
    "schedule": {"factor": 0.5, "patience": 4},
    "early_stopping": {"patience": 8},
    "context": ["neighbours"],
}


class DualEnsemble(nn.Module):
    """A signal expert and a picture expert under one fusion.

    Parameters
    ----------
    signal_expert : SignalModel
        Reads the signal, and the numbers beside it.
    picture_expert : PictureModel
        Reads the picture.
    fusion : torch.nn.Module
        One of `ecgtrain.models.fusion`; called ``head``, because it is what makes the last logits.
    frozen : bool
        Whether the experts stay as they are: no gradient, no dropout, no batch statistics.
    """

    def __init__(
        self, signal_expert: SignalModel, picture_expert: PictureModel, fusion: nn.Module, *, frozen: bool = False
    ) -> None:
        super().__init__()
        self.signal_expert = signal_expert
        self.picture_expert = picture_expert
        self.head = fusion
        self.frozen = frozen
        self.width = signal_expert.width + picture_expert.width
        if frozen:
            signal_expert.requires_grad_(False)
            picture_expert.requires_grad_(False)

    def train(self, mode: bool = True) -> DualEnsemble:
        """Set the mode; frozen experts stay in evaluation."""
        super().train(mode)
        if self.frozen:
            self.signal_expert.eval()
            self.picture_expert.eval()
        return self

    def vectors(self, signal: Tensor, picture: Tensor, **beside: Any) -> tuple[Tensor, Tensor]:
        """Return the experts' vectors before their heads."""
        return self.signal_expert.embed(signal, **beside), self.picture_expert.embed(picture)

    def embed(self, signal: Tensor, picture: Tensor, **beside: Any) -> Tensor:
        """Return both vectors side by side, shape (batch, width)."""
        return torch.cat(self.vectors(signal, picture, **beside), dim=1)

    def forward(
        self, signal: Tensor, picture: Tensor, features: Tensor | None = None, extent: Tensor | None = None
    ) -> Tensor:
        """Return the joined logits of a batch of signals and their pictures."""
        heard, seen = self.vectors(signal, picture, features=features, extent=extent)
        if isinstance(self.head, FeatureFusion):
            fused: Tensor = self.head([heard, seen])
            return fused
        logits = torch.stack([self.signal_expert.head(heard), self.picture_expert.head(seen)], dim=1)
        joined: Tensor = self.head(logits)
        return joined


def _experts(shape: InputShape) -> tuple[SignalModel, PictureModel]:
    """Return InceptionTime, with the beat's regions where rows are beats, and EfficientNet-B0 with CBAM."""
    make_signal = inception_time_base if shape.r_sample is None else inception_time_base_context
    signal_expert, picture_expert = make_signal(shape), efficientnet_scalogram_b0(replace(shape, n_features=0))
    assert isinstance(signal_expert, SignalModel)
    assert isinstance(picture_expert, PictureModel)
    return signal_expert, picture_expert


@register_model(reads="both", source=SOURCE, settings=SETTINGS)
def dual_ensemble(shape: InputShape) -> nn.Module:
    """InceptionTime and EfficientNet with CBAM; probabilities mixed 0.6 to 0.4."""
    return DualEnsemble(*_experts(shape), FixedFusion(multilabel=shape.multilabel))


@register_model(reads="both", source=SOURCE, settings=SETTINGS)
def dual_ensemble_learnable(shape: InputShape) -> nn.Module:
    """InceptionTime and EfficientNet with CBAM; a small network on both logits."""
    return DualEnsemble(*_experts(shape), LearnableFusion(2, shape.n_classes))


@register_model(reads="both", source=SOURCE, settings=SETTINGS)
def dual_ensemble_attention(shape: InputShape) -> nn.Module:
    """InceptionTime and EfficientNet with CBAM; probabilities mixed by weights that each row gets."""
    return DualEnsemble(*_experts(shape), AttentionFusion(2, shape.n_classes, multilabel=shape.multilabel))


@register_model(reads="both", source=SOURCE, settings=SETTINGS)
def dual_ensemble_feature(shape: InputShape) -> nn.Module:
    """InceptionTime and EfficientNet with CBAM; a network on both vectors, without the experts' own heads."""
    signal_expert, picture_expert = _experts(shape)
    fusion = FeatureFusion((signal_expert.width, picture_expert.width), shape.n_classes)
    signal_expert.head, picture_expert.head = nn.Identity(), nn.Identity()
    return DualEnsemble(signal_expert, picture_expert, fusion)
