"""The layer of a network that gives the logits, and what it reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from store.errors import UserError


def find_head(model: nn.Module, n_classes: int) -> tuple[str, nn.Linear]:
    """Return the name and the layer that gives a network's logits: the last linear one with an output a class.

    Raises
    ------
    UserError
        If there is none.
    """
    linear = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    heads = [(name, layer) for name, layer in linear if layer.out_features == n_classes]
    if not heads:
        raise UserError(f"{type(model).__name__} has no linear layer with {n_classes} outputs: its head is not known")
    return heads[-1]


@contextmanager
def read_by_head(model: nn.Module, n_classes: int) -> Iterator[list[Tensor]]:
    """Keep what the head reads in each pass of the model, float32, shape (n_rows, n_features).

    Yields
    ------
    list of torch.Tensor
        One a pass so far; steps of a sequence are averaged.
    """
    kept: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].detach().float()
        kept.append(values if values.ndim == 2 else values.flatten(1, -2).mean(dim=1))

    handle = find_head(model, n_classes)[1].register_forward_pre_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()
