"""The small residual network that came with the public heartbeat tables."""

from __future__ import annotations

from torch import Tensor, nn

from ecgtrain.models.classifiers import Encoder, SignalModel
from ecgtrain.models.maps import Convolution, Maps, MaxPool, Norm, relu, signal_maps
from ecgtrain.models.registry import InputShape, register_model
from store.errors import UserError

WIDTH, KERNEL, N_BLOCKS = 32, 5, 5
POOL, POOL_STRIDE = 5, 2
DROPOUT = 0.3


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Convolution(WIDTH, WIDTH, KERNEL), Norm(WIDTH), relu(), Convolution(WIDTH, WIDTH, KERNEL), Norm(WIDTH)
        )
        self.relu = relu()
        self.pool = MaxPool(POOL, POOL_STRIDE)

    def forward(self, maps: Maps) -> Maps:
        pooled: Maps = self.pool(self.relu(self.body(maps).plus(maps)))
        return pooled


class KachueeEncoder(Encoder):
    """A convolution, five residual blocks that halve the time axis, and one layer over all that is left of it.

    Parameters
    ----------
    n_leads, n_samples : int
        Shape of one row's signal.

    Raises
    ------
    UserError
        If the signal is too short to be halved five times.
    """

    width = WIDTH

    def __init__(self, n_leads: int, n_samples: int) -> None:
        super().__init__()
        n_steps = n_samples
        for _ in range(N_BLOCKS):
            n_steps = (n_steps - POOL) // POOL_STRIDE + 1
        if n_steps < 1:
            raise UserError(f"{N_BLOCKS} times pooling leaves nothing of {n_samples} samples; take longer rows")
        self.stem = Convolution(n_leads, WIDTH, KERNEL, bias=True)
        self.blocks = nn.Sequential(*(_Block() for _ in range(N_BLOCKS)))
        self.layer = nn.Sequential(nn.Linear(WIDTH * n_steps, WIDTH), nn.ReLU())

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return the vectors of signals (batch, n_leads, n_samples)."""
        maps: Maps = self.blocks(self.stem(signal_maps(signal, extent)))
        vector: Tensor = self.layer(maps.series.flatten(1))
        return vector


def _head(width: int, n_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Dropout(DROPOUT), nn.Linear(width, WIDTH), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, n_classes)
    )


@register_model(reads="signal", source="Kachuee et al. 2018 (arXiv:1805.00794)")
def resnet1d_kachuee(shape: InputShape) -> nn.Module:
    """1-D ResNet of five blocks, 32 wide, for single beats.

    References
    ----------
    .. [1] Kachuee, Fazeli, Sarrafzadeh, ECG heartbeat classification: a deep transferable representation, IEEE ICHI
       2018. Ours departs by batch normalisation after the blocks' convolutions and by a dropout of 0.3 before the last
       two layers, both against overfitting few patients, and takes numbers such as RR intervals before these layers.
    """
    return SignalModel(KachueeEncoder(shape.n_leads, shape.n_samples), shape, _head)
