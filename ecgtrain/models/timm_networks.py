"""Any image model of timm on pictures of any number of channels, ``timm/NAME``, or two of them, ``late/NAME``.

References
----------
.. [1] Wightman, PyTorch image models, doi:10.5281/zenodo.4414861.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ecgtrain.models.classifiers import Encoder, MakeHead, PictureModel
from ecgtrain.models.heads import two_tower_head, wide_head, wide_norm_head, wide_relu_head
from ecgtrain.models.registry import InputShape, ModelFacts, register_family
from store.errors import MissingDataError, UnknownNameError, UserError

IMAGENET = "imagenet"
SWIN = tuple(f"swin_{size}_patch4_window7_224" for size in ("tiny", "small", "base", "large"))
OTHERS = ("vit_base_patch16_224", "resnet50", "efficientnet_b3", "densenet121")
SINGLE = MappingProxyType({"optimizer": {"lr": 1e-4, "weight_decay": 1e-4}, "batch_size": 16, "epochs": 30})
FUSION = MappingProxyType({"optimizer": {"lr": 5e-5, "weight_decay": 1e-4}, "batch_size": 16, "epochs": 30})


class Pretrained(nn.Module):
    """A part of a model whose `backbone` is timm's and can start from weights that are at hand."""

    backbone: nn.Module

    def load_pretrained(self, weights: str) -> None:
        """Load weights into the backbone; its first layer is widened to the picture's channels.

        Parameters
        ----------
        weights : str
            ``imagenet`` for timm's own, from its cache or the network, or a file.

        Raises
        ------
        MissingDataError
            If they cannot be had.
        UserError
            If a file does not fit.
        """
        load_backbone(self.backbone, weights)


class TimmEncoder(Encoder, Pretrained):
    """A network of timm without its head.

    Parameters
    ----------
    name : str
        Its name there.
    picture : tuple of int
        Channels, height and width of a picture.
    """

    def __init__(self, name: str, picture: tuple[int, int, int]) -> None:
        super().__init__()
        import timm

        n_channels, *size = picture
        known = timm.models.get_pretrained_cfg(name)
        resized = {"img_size": tuple(size)} if known is not None and known.fixed_input_size else {}
        self.backbone = timm.create_model(name, num_classes=0, in_chans=n_channels, **resized)
        self.width = int(self.backbone.num_features)  # type: ignore[arg-type]

    def forward(self, picture: Tensor) -> Tensor:
        """Return the vectors of a batch of pictures."""
        vectors: Tensor = self.backbone(picture)
        return vectors


class TwoTowers(Encoder):
    """Two networks, each on one half of the channels: late fusion.

    Parameters
    ----------
    name : str
        The network's name in timm.
    picture : tuple of int
        Channels of both halves, height and width.

    Raises
    ------
    UserError
        If the channels cannot be halved.
    """

    def __init__(self, name: str, picture: tuple[int, int, int]) -> None:
        super().__init__()
        n_channels, height, width = picture
        if n_channels % 2:
            raise UserError(
                f"late fusion reads two pictures of equal leads, not {n_channels} planes: "
                "give --input two representations, such as cwt,phasogram"
            )
        half = (n_channels // 2, height, width)
        towers = [TimmEncoder(name, half) for _ in range(2)]
        self.width = sum(tower.width for tower in towers)
        self.towers = nn.ModuleList(towers)

    def forward(self, picture: Tensor) -> Tensor:
        """Return both towers' vectors side by side."""
        halves = picture.chunk(2, dim=1)
        return torch.cat([tower(half) for tower, half in zip(self.towers, halves, strict=True)], dim=1)


def load_backbone(backbone: nn.Module, weights: str) -> None:
    """Load weights into a network of timm; see `Pretrained.load_pretrained`."""
    from timm.models import load_pretrained as load_into

    described: Any = backbone.pretrained_cfg
    source: dict[str, Any] = dict(described)
    if weights != IMAGENET:
        if not Path(weights).is_file():
            raise MissingDataError(f"no file {weights!r} with weights; give a path, or imagenet for timm's own")
        source |= {"file": weights}
    elif not any(source.get(key) for key in ("hf_hub_id", "url", "file")):
        raise MissingDataError(f"timm has no weights of {source['architecture']}; give a file")
    n_channels = next(layer.in_channels for layer in backbone.modules() if isinstance(layer, nn.Conv2d))
    random = {name: weight.detach().clone() for name, weight in backbone.named_parameters() if weight.ndim > 1}
    try:
        load_into(backbone, source, num_classes=0, in_chans=n_channels, strict=False)
    except (RuntimeError, KeyError, ValueError) as error:
        raise UserError(f"{weights} does not fit {source['architecture']}: {_first_line(error)}") from error
    except Exception as error:  # whatever the hub's client and the network raise
        raise MissingDataError(
            f"the weights of {source['architecture']} are neither cached nor to be had ({_first_line(error)}); "
            "train from scratch without pretrained, or give a file: --set pretrained=FILE"
        ) from error
    kept = [name for name, weight in random.items() if torch.equal(backbone.get_parameter(name), weight)]
    if kept:  # timm passes over names that it does not know
        raise UserError(
            f"{weights} does not fit {source['architecture']}: it holds nothing for {len(kept)} of its {len(random)} "
            f"layers, such as {kept[0]}"
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def load_pretrained(model: nn.Module, weights: str) -> None:
    """Load weights into all parts of a model that can have them.

    Raises
    ------
    UserError
        If none can.
    MissingDataError
        If the weights cannot be had.
    """
    parts = [part for part in model.modules() if isinstance(part, Pretrained)]
    if not parts:
        raise UserError("pretrained is for models of pictures by timm: timm/…, late/… and efficientnet_scalogram_…")
    for part in parts:
        part.load_pretrained(weights)


def _check_name(name: str) -> None:
    import timm

    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise UnknownNameError("model of timm", name, known, "See timm.list_models().") from None


def _head_of(name: str, encoder: nn.Module) -> MakeHead:
    """Return h3 for networks with batch normalisation, else h1, with ReLU for ViT."""
    if any(isinstance(layer, nn.BatchNorm2d) for layer in encoder.modules()):
        return wide_norm_head
    return wide_relu_head if name.startswith("vit") else wide_head


def _single(name: str, shape: InputShape) -> nn.Module:
    encoder = TimmEncoder(name, shape.need_picture())
    return PictureModel(encoder, shape, _head_of(name, encoder))


def _late(name: str, shape: InputShape) -> nn.Module:
    return PictureModel(TwoTowers(name, shape.need_picture()), shape, two_tower_head)


@register_family("timm", "any image model of timm, on pictures of any number of channels", (*SWIN, *OTHERS))
def timm_facts(name: str) -> ModelFacts:
    """Return the facts of a model of timm."""
    _check_name(name)
    return ModelFacts(f"timm/{name}", "picture", "timm (doi:10.5281/zenodo.4414861)", SINGLE, partial(_single, name))


@register_family("late", "two image models of timm, one for each of two representations, joined at the end", SWIN)
def late_facts(name: str) -> ModelFacts:
    """Return the facts of two models of timm side by side."""
    _check_name(name)
    return ModelFacts(f"late/{name}", "picture", "timm (doi:10.5281/zenodo.4414861)", FUSION, partial(_late, name))
