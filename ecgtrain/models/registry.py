"""Models by name: each is a plain function that is registered under its own name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from torch import nn

from store.errors import UnknownNameError, UserError

InputKind = Literal["signal", "picture", "both"]
FactsOf = Callable[[str], "ModelFacts"]


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
    r_sample : int or None
        Sample of a beat's R peak; None for rows that are no beats.
    multilabel : bool
        Whether a row can have several classes.
    """

    n_leads: int
    n_samples: int
    fs_hz: float
    n_classes: int
    picture: tuple[int, int, int] | None = None
    n_features: int = 0
    r_sample: int | None = None
    multilabel: bool = False

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


@dataclass(frozen=True)
class ModelFamily:
    """Models of one library that are named ``<prefix>/<its name there>``.

    Parameters
    ----------
    prefix : str
        Such as ``timm``.
    summary : str
        What they are, in a line.
    examples : tuple of str
        Some of their names, without the prefix.
    facts : callable
        From such a name to its facts; raises `UnknownNameError` if there is no such model.
    """

    prefix: str
    summary: str
    examples: tuple[str, ...]
    facts: Callable[[str], ModelFacts]


_MODELS: dict[str, ModelFacts] = {}
_FAMILIES: dict[str, ModelFamily] = {}


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


def register_family(prefix: str, summary: str, examples: tuple[str, ...]) -> Callable[[FactsOf], FactsOf]:
    """Register what makes the facts of the models ``<prefix>/…``.

    Parameters
    ----------
    prefix, summary, examples
        As in `ModelFamily`.

    Raises
    ------
    ValueError
        If the prefix is taken.
    """

    def register(facts: FactsOf) -> FactsOf:
        if prefix in _FAMILIES:
            raise ValueError(
                f"models called {prefix}/… are registered already, by {_FAMILIES[prefix].facts.__module__}"
            )
        _FAMILIES[prefix] = ModelFamily(prefix, summary, examples, facts)
        return facts

    return register


def list_models() -> list[str]:
    """Return the names of all models but those of `list_families`, in the order of the alphabet."""
    return sorted(_MODELS)


def list_families() -> list[ModelFamily]:
    """Return the families of models that another library makes, by their prefix."""
    return [_FAMILIES[prefix] for prefix in sorted(_FAMILIES)]


def model_facts(name: str) -> ModelFacts:
    """Return what is known of a model.

    Raises
    ------
    UnknownNameError
        With the nearest name, if there is no such model.
    """
    prefix, slash, rest = name.partition("/")
    if slash and prefix in _FAMILIES:
        return _FAMILIES[prefix].facts(rest)
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
    r_sample: int | None = None,
    multilabel: bool = False,
) -> nn.Module:
    """Make a model with fresh weights.

    Parameters
    ----------
    name : str
        A name of `list_models`, or ``timm/NAME`` and its like (`list_families`).
    n_leads, n_samples, n_classes, fs_hz, picture, n_features, r_sample, multilabel
        As in `InputShape`.

    Returns
    -------
    torch.nn.Module
        Takes the keyword tensors ``signal`` (batch, n_leads, n_samples), ``picture`` (batch, channels, height, width),
        ``features`` (batch, n_features) and ``extent`` (batch, 2; the samples of each signal that are no padding),
        whichever it reads, and returns logits (batch, n_classes).

    Raises
    ------
    UnknownNameError
        If there is no such model.
    """
    shape = InputShape(n_leads, n_samples, fs_hz, n_classes, picture, n_features, r_sample, multilabel)
    return model_facts(name).make(shape)
