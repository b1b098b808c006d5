"""A convolutional stem that shortens the signal eightfold, and a recurrent network over what is left."""

from __future__ import annotations

from torch import Tensor, nn

from ecgtrain.models.attention import AdditiveAttention
from ecgtrain.models.classifiers import Encoder, SignalModel
from ecgtrain.models.heads import dropout_head
from ecgtrain.models.maps import MaxPool, convolution_norm_relu, signal_maps
from ecgtrain.models.recurrent import DROPOUT, HIDDEN, Recurrence
from ecgtrain.models.registry import InputShape, register_model

WIDTH = 128


class ConvolutionsThenBiGru(Encoder):
    """Three convolutions, two bidirectional GRU layers and additive attention; 1000 samples become 125 steps.

    Parameters
    ----------
    n_leads : int
        Leads of the signal.
    """

    width = WIDTH

    def __init__(self, n_leads: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            convolution_norm_relu(n_leads, 64, 7, stride=2),
            MaxPool(2, 2),
            convolution_norm_relu(64, WIDTH, 5),
            MaxPool(2, 2),
            convolution_norm_relu(WIDTH, WIDTH, 3),
        )
        self.recurrence = Recurrence(nn.GRU, WIDTH, HIDDEN, bidirectional=True)
        self.attention = AdditiveAttention(self.recurrence.width)
        self.project = nn.Sequential(nn.Linear(self.recurrence.width, WIDTH), nn.ReLU())

    def attend(self, signal: Tensor, extent: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the vectors (batch, 128) and the attention (batch, time / 8) of a batch of signals."""
        maps = self.convolutions(signal_maps(signal, extent))
        context, weights = self.attention(*self.recurrence(maps.series.transpose(1, 2), maps.extent))
        return self.project(context), weights

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return the vectors alone."""
        return self.attend(signal, extent)[0]


@register_model(
    reads="signal",
    source="Cho et al. 2014 (arXiv:1406.1078); Bahdanau et al. 2015 (arXiv:1409.0473); three convolutions before",
)
def cnn1d_rnn(shape: InputShape) -> nn.Module:
    """Three convolutions with pooling, then a bidirectional GRU with additive attention."""
    return SignalModel(ConvolutionsThenBiGru(shape.n_leads), shape, dropout_head(DROPOUT))
