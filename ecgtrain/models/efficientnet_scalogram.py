"""EfficientNet on scalograms, with attention on three of its scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgtrain.models.classifiers import Encoder, PictureModel
from ecgtrain.models.heads import two_layer_head
from ecgtrain.models.picture_attention import ChannelSpatialAttention
from ecgtrain.models.registry import InputShape, register_model
from ecgtrain.models.timm_networks import Pretrained

SCALES = (2, 3, 4)  # of timm's five: strides 8, 16 and 32
WIDTH = 512
DROP_PATH = 0.2

SOURCE = "Tan, Le 2019 (arXiv:1905.11946); Woo et al. 2018 (arXiv:1807.06521)"
SETTINGS = {
    "optimizer": {"lr": 5e-4, "weight_decay": 1e-4},
    "schedule": {"factor": 0.5, "patience": 4},
    "early_stopping": {"patience": 8},
}


class MultiScaleEncoder(Encoder, Pretrained):
    """An EfficientNet's maps at three scales, each through CBAM, joined at the finest and pooled.

    Parameters
    ----------
    size : str
        ``b0`` to ``b4``.
    n_channels : int
        Channels of the pictures.
    """

    width = 2 * WIDTH

    def __init__(self, size: str, n_channels: int) -> None:
        super().__init__()
        import timm

        backbone = timm.create_model(
            f"efficientnet_{size}",
            features_only=True,
            out_indices=SCALES,
            in_chans=n_channels,
            drop_path_rate=DROP_PATH,
        )
        self.backbone: nn.Module = backbone
        widths: list[int] = backbone.feature_info.channels()
        self.attentions = nn.ModuleList(ChannelSpatialAttention(width) for width in widths)
        self.join = nn.Sequential(
            nn.Conv2d(sum(widths), WIDTH, 1, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            ChannelSpatialAttention(WIDTH),
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Return mean and maximum of the joined maps, shape (batch, 1024)."""
        scales = [attend(maps) for attend, maps in zip(self.attentions, self.backbone(picture), strict=True)]
        finest = scales[0].shape[2:]
        same_size = [functional.interpolate(maps, finest, mode="bilinear") for maps in scales]
        joined = self.join(torch.cat(same_size, dim=1))
        return torch.cat([joined.mean(dim=(2, 3)), joined.amax(dim=(2, 3))], dim=1)


def _network(shape: InputShape, size: str, dropout: float = 0.3) -> nn.Module:
    return PictureModel(MultiScaleEncoder(size, shape.need_picture()[0]), shape, two_layer_head(512, 256, dropout))


@register_model(reads="picture", source=SOURCE, settings=SETTINGS)
def efficientnet_scalogram_b0(shape: InputShape) -> nn.Module:
    """EfficientNet-B0 with CBAM on three scales; 4.5 million parameters."""
    return _network(shape, "b0")


@register_model(reads="picture", source=SOURCE, settings=SETTINGS)
def efficientnet_scalogram_b1(shape: InputShape) -> nn.Module:
    """EfficientNet-B1 with CBAM on three scales."""
    return _network(shape, "b1")


@register_model(reads="picture", source=SOURCE, settings=SETTINGS)
def efficientnet_scalogram_b2(shape: InputShape) -> nn.Module:
    """EfficientNet-B2 with CBAM on three scales."""
    return _network(shape, "b2")


@register_model(reads="picture", source=SOURCE, settings=SETTINGS)
def efficientnet_scalogram_b3(shape: InputShape) -> nn.Module:
    """EfficientNet-B3 with CBAM on three scales."""
    return _network(shape, "b3")


@register_model(reads="picture", source=SOURCE, settings=SETTINGS)
def efficientnet_scalogram_b4(shape: InputShape) -> nn.Module:
    """EfficientNet-B4 with CBAM on three scales and a dropout of 0.4."""
    return _network(shape, "b4", dropout=0.4)
