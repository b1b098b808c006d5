"""The table of all models."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ecgtrain.models.registry import create_model, list_families, list_models, model_facts

N_LEADS, N_SAMPLES, FS_HZ, N_CLASSES, SIDE = 12, 1000, 100.0, 5, 224


def count_parameters(name: str) -> int:
    """Return a model's parameters for ten seconds of twelve leads at 100 Hz, or their pictures, and five classes."""
    with torch.device("meta"):
        model = create_model(
            name,
            n_leads=N_LEADS,
            n_samples=N_SAMPLES,
            n_classes=N_CLASSES,
            fs_hz=FS_HZ,
            picture=(N_LEADS, SIDE, SIDE),
            r_sample=N_SAMPLES // 2,
        )
    return sum(parameter.numel() for parameter in model.parameters())


def model_lines() -> Iterator[str]:
    """Yield a line for each model: name, what it reads, millions of parameters, what it is, its source."""
    families = [(family, f"{family.prefix}/{name}") for family in list_families() for name in family.examples]
    width = max(len(name) for name in [*list_models(), *(name for _, name in families)])
    for name in list_models():
        facts = model_facts(name)
        yield f"{_start(name, width)}  {facts.summary}  {facts.source}"
    for family, name in families:
        yield f"{_start(name, width)}  {model_facts(name).source}; {family.prefix}/NAME: {family.summary}"


def _start(name: str, width: int) -> str:
    return f"{name:{width}}  {model_facts(name).reads:7}  {count_parameters(name) / 1e6:7.2f} M"
