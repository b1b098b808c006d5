"""The models, one file a family; a file here is found without an edit elsewhere."""

from __future__ import annotations

import importlib
import pkgutil

from ecgtrain.models.registry import (
    InputShape,
    ModelFacts,
    ModelFamily,
    create_model,
    list_families,
    list_models,
    model_facts,
    register_family,
    register_model,
)

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "InputShape",
    "ModelFacts",
    "ModelFamily",
    "create_model",
    "list_families",
    "list_models",
    "model_facts",
    "register_family",
    "register_model",
]
