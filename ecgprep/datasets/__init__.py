"""The databases, one file each; a new one is found here without an edit elsewhere."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from ecgprep.datasets.base import Database
from store.errors import UnknownNameError


@lru_cache(maxsize=1)  # a build asks for its database at each record
def list_databases() -> Mapping[str, Database]:
    """Return every known database by name."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found: list[Database] = [module.DATABASE for module in modules if hasattr(module, "DATABASE")]
    return MappingProxyType({item.name: item for item in sorted(found, key=lambda item: str(item.name))})


def get_database(name: str) -> Database:
    """Return a database by name.

    Raises
    ------
    UnknownNameError
        With the nearest known name.
    """
    known = list_databases()
    if name not in known:
        raise UnknownNameError("dataset", name, known, "See `ecgprep datasets`.")
    return known[name]
