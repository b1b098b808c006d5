"""Models by name: each is a plain function that is registered under its own name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from torch import nn

from store.errors import UnknownNameError, UserError

InputKind = Literal["signal", "picture", "both"]


@dataclass(frozen=True)
class InputShape:
    """What a model is made for.

    Parameters
    ----------
    n_leads, n_samples : int
        Shape of one row's signal.
    fs_hz : float
        Sampling rate of the signal.
    n_classes : int
        Number of logits.
    picture : tuple of int or None
        Channels, height and width of one row's picture.
    n_features : int
        Numbers that stand beside a row, such as RR intervals; 0 for none.
    """

    n_leads: int
    n_samples: int
    fs_hz: float
    n_classes: int
    picture: tuple[int, int, int] | None = None
    n_features: int = 0

    def need_picture(self) -> tuple[int, int, int]:
        """Return the picture's shape.

        Raises
        ------
        UserError
            If there is none.
        """
        if self.picture is None:
            raise UserError("this model reads pictures: give picture=(channels, height, width)")
        return self.picture


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model before it is made.

    Parameters
    ----------
    name : str
        The model's name.
    reads : str
        ``signal``, ``picture`` or ``both``.
    source : str
        The paper that describes it.
    settings : mapping
        Keys of `ecgtrain.config.RunConfig` whose default is another for this model.
    make : callable
        From an `InputShape` to the module.
    """

    name: str
    reads: InputKind
    source: str
    settings: Mapping[str, Any]
    make: Callable[[InputShape], nn.Module]

    @property
    def summary(self) -> str:
        """First line of the model's docstring."""
        return (self.make.__doc__ or "").partition("\n")[0]


_MODELS: dict[str, ModelFacts] = {}


def register_model(
    *, reads: InputKind, source: str, settings: Mapping[str, Any] | None = None
) -> Callable[[Callable[[InputShape], nn.Module]], Callable[[InputShape], nn.Module]]:
    """Register a function as a model under the function's name.

    Parameters
    ----------
    reads : str
        ``signal``, ``picture`` or ``both``: which of the keyword tensors ``signal``, ``picture`` (and ``features``
        where there are any) its module takes.
    source : str
        The paper that describes the model.
    settings : mapping, optional
        Run settings that differ from the general defaults.

    Raises
    ------
    ValueError
        If the name is taken.
    """

    def register(make: Callable[[InputShape], nn.Module]) -> Callable[[InputShape], nn.Module]:
        name = make.__name__
        if name in _MODELS:
            raise ValueError(f"a model called {name!r} is registered already, by {_MODELS[name].make.__module__}")
        _MODELS[name] = ModelFacts(name, reads, source, MappingProxyType(dict(settings or {})), make)
        return make

    return register


def list_models() -> list[str]:
    """Return the names of all models, in the order of the alphabet."""
    return sorted(_MODELS)


def model_facts(name: str) -> ModelFacts:
    """Return what is known of a model.

    Raises
    ------
    UnknownNameError
        With the nearest name, if there is no such model.
    """
    if name not in _MODELS:
        raise UnknownNameError("model", name, list_models(), "See `ecgtrain models`.")
    return _MODELS[name]


def create_model(
    name: str,
    *,
    n_leads: int,
    n_samples: int,
    n_classes: int,
    fs_hz: float = 100.0,
    picture: tuple[int, int, int] | None = None,
    n_features: int = 0,
) -> nn.Module:
    """Make a model with fresh weights.

    Parameters
    ----------
    name : str
        A name of `list_models`.
    n_leads, n_samples, n_classes, fs_hz, picture, n_features
        As in `InputShape`.

    Returns
    -------
    torch.nn.Module
        Takes the keyword tensors ``signal`` (batch, n_leads, n_samples), ``picture`` (batch, channels, height, width)
        and ``features`` (batch, n_features), whichever it reads, and returns logits (batch, n_classes).

    Raises
    ------
    UnknownNameError
        If there is no such model.
    """
    return model_facts(name).make(InputShape(n_leads, n_samples, fs_hz, n_classes, picture, n_features))
