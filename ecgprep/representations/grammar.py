"""How representations are asked for: ``gaf,cwt:size=128:wavelet=cmor1.5-1.0,gaf:method=both:as=mygaf``."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, get_args

from pydantic import ValidationError

import ecgprep.representations as package
from ecgprep.representations.base import Representation, RowFormat
from store.errors import UnknownNameError, UserError


@lru_cache(maxsize=1)
def _registry() -> dict[str, type[Representation]]:
    """Find every concrete representation in the modules of this package."""
    found: dict[str, type[Representation]] = {}
    for module in pkgutil.iter_modules(package.__path__):
        for value in vars(importlib.import_module(f"{package.__name__}.{module.name}")).values():
            if inspect.isclass(value) and issubclass(value, Representation) and not inspect.isabstract(value):
                found[value.kind_name] = value
    return dict(sorted(found.items()))


def list_representations() -> list[str]:
    """Return the names of all kinds of representation."""
    return list(_registry())


def parse_reps(text: str, *, kind: Literal["beat", "record"], fs_hz: float, n_samples: int) -> list[Representation]:
    """Read a request for representations and complete it with defaults for the rows at hand.

    Parameters
    ----------
    text : str
        Commas between representations, colons between parameters; ``as=NAME`` names the array.
    kind : {"beat", "record"}
        Whether rows are beats or longer pieces of signal.
    fs_hz : float
        Sampling frequency of the rows.
    n_samples : int
        Length of the rows.

    Returns
    -------
    list of Representation
        In the order asked for; empty for an empty text.

    Raises
    ------
    UnknownNameError
        For a representation, parameter or value that does not exist.
    UserError
        For a value that does not fit, or two arrays of one name.
    """
    row = RowFormat(kind, fs_hz, n_samples)
    requests = text.split(",") if text.strip() else []
    reps = [rep for request in requests for rep in _parse_one(request.strip(), row)]
    repeated = [name for name, count in Counter(rep.name for rep in reps).items() if count > 1]
    if repeated:
        raise UserError(f"two representations would be called {repeated[0]!r}. Name one of them with :as=NAME")
    return reps


def stored_rep(name: str, attributes: Mapping[str, Any]) -> Representation | None:
    """Return the representation that an array of a store holds; None if its attributes do not say.

    Parameters
    ----------
    name : str
        Name of the array.
    attributes : mapping
        Attributes of the array.
    """
    parameters = attributes.get("parameters", {})
    kind = _registry().get(parameters.get("representation", ""))
    if kind is None:
        return None
    return kind(name=name, **{key: value for key, value in parameters.items() if key in kind.model_fields})


def name_anew(request: str) -> str:
    """Return a request for one representation that gives its array the next name, such as ``gaf:size=16:as=gaf2``."""
    kind_name, *pairs = (part.strip() for part in request.split(":"))
    given = _read_pairs(request, pairs)
    name = given.pop("as", kind_name)
    return ":".join([kind_name, *(f"{key}={value}" for key, value in given.items()), f"as={name}2"])


def _parse_one(request: str, row: RowFormat) -> list[Representation]:
    kind_name, *pairs = (part.strip() for part in request.split(":"))
    if kind_name not in _registry():
        raise UnknownNameError("representation", kind_name, _registry())
    kind = _registry()[kind_name]
    given = _read_pairs(request, pairs)
    for key in given:
        if key not in kind.request_keys():
            raise UnknownNameError(f"parameter of {kind_name}", key, kind.request_keys())
    given = {"name": given.pop("as", kind_name), **given}
    try:
        return list(kind.resolve(given, row))
    except ValidationError as error:
        raise _explain(error, kind, request) from None


def _read_pairs(request: str, pairs: list[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value):
            raise UserError(f"representation {request!r}: {pair!r} is not of the form parameter=value")
        if key in given:
            raise UserError(f"representation {request!r}: {key} is given twice")
        given[key] = value
    return given


def _explain(error: ValidationError, kind: type[Representation], request: str) -> UserError:
    """Turn the first fault that pydantic found into one line for a person."""
    fault = error.errors()[0]
    raised = fault.get("ctx", {}).get("error")
    if isinstance(raised, UserError):
        return raised
    key = str(fault["loc"][0])
    if fault["type"] == "literal_error":
        choices = [*get_args(kind.model_fields[key].annotation), *kind.shorthands.get(key, ())]
        return UnknownNameError(f"{key} of {kind.kind_name}", str(fault["input"]), choices)
    if key == "name":
        rule = "name an array by a small letter, then small letters, digits, _ and -"
        return UserError(f"representation {request!r}: as={fault['input']}: {rule}")
    return UserError(f"representation {request!r}: {key}={fault['input']}: {fault['msg']}")
