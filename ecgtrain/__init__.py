"""A feature store to trained runs and their predictions.

From Python, ten lines train a module of one's own::

    from ecgtrain import TrainingConfig, loaders, train
    from store.read import open_store

    data = loaders(open_store("ecg-workspace/store/mitdb-….zarr"), inputs=("signal",), batch_size=64)
    trained = train(my_module, data, TrainingConfig(epochs=10))  # my_module(signal=…, features=…) -> logits
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecgtrain.config import RunConfig, TrainingConfig
    from ecgtrain.loader import loaders
    from ecgtrain.loop import train
    from ecgtrain.models import create_model, list_models
    from ecgtrain.trained_ensemble import load_run

__all__ = ["RunConfig", "TrainingConfig", "create_model", "list_models", "load_run", "loaders", "train"]

_MODULES = {
    "RunConfig": "ecgtrain.config",
    "TrainingConfig": "ecgtrain.config",
    "create_model": "ecgtrain.models",
    "list_models": "ecgtrain.models",
    "load_run": "ecgtrain.trained_ensemble",
    "loaders": "ecgtrain.loader",
    "train": "ecgtrain.loop",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: ``ecgtrain --help`` must not wait for torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
