"""Recurrent networks over the samples of a signal: the last state, or attention over all of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ecgtrain.models.attention import AdditiveAttention, SelfAttentionPool, max_over_steps, mean_over_steps
from ecgtrain.models.classifiers import Encoder, SignalModel
from ecgtrain.models.heads import concat_pool_head, dropout_head
from ecgtrain.models.maps import valid_steps
from ecgtrain.models.registry import InputShape, register_model

HIDDEN = 128
LAYERS = 2
DROPOUT = 0.3
BENCHMARK_HIDDEN = 256

GRU = "Cho et al. 2014 (arXiv:1406.1078)"
LSTM = "Hochreiter, Schmidhuber 1997 (doi:10.1162/neco.1997.9.8.1735)"
ADDITIVE = "Bahdanau et al. 2015 (arXiv:1409.0473)"
SELF = "Vaswani et al. 2017 (arXiv:1706.03762)"
BENCHMARK = "Strodthoff et al. 2020 (arXiv:2004.13701)"

MakeCell = Callable[..., nn.RNNBase]


class Recurrence(nn.Module):
    """Two recurrent layers over time that run over each row's signal alone.

    Parameters
    ----------
    make_cell : callable
        `torch.nn.GRU` or `torch.nn.LSTM`.
    n_in, hidden : int
        Values of a time step and of a state in one direction.
    bidirectional : bool
        Whether a second pass runs backwards.
    """

    def __init__(self, make_cell: MakeCell, n_in: int, hidden: int = HIDDEN, *, bidirectional: bool) -> None:
        super().__init__()
        self.hidden = hidden
        self.width = hidden * (2 if bidirectional else 1)
        self.cell = make_cell(
            n_in, hidden, num_layers=LAYERS, batch_first=True, dropout=DROPOUT, bidirectional=bidirectional
        )

    def forward(self, steps: Tensor, extent: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the states (batch, time, width) of steps (batch, time, n_in), and which of them are of the signal.

        A row that starts after padding is moved to the front, so its states stand there.
        """
        if extent is None:
            return self.cell(steps)[0], None
        length = extent[:, 1] - extent[:, 0]
        time = (torch.arange(steps.shape[1], device=steps.device) + extent[:, :1]) % steps.shape[1]
        moved = steps.gather(1, time[:, :, None].expand_as(steps))
        packed = pack_padded_sequence(moved, length.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.cell(packed)[0], batch_first=True, total_length=steps.shape[1])
        return states, valid_steps(torch.stack([torch.zeros_like(length), length], dim=1), steps.shape[1])

    def last(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """Return each row's last state; of a backward pass the one at the start, where it ends."""
        end = (mask.sum(dim=1) - 1)[:, None, None] if mask is not None else None
        forward = states[:, -1] if end is None else states.gather(1, end.expand(-1, 1, self.width)).squeeze(1)
        if self.width == self.hidden:
            return forward
        return torch.cat([forward[:, : self.hidden], states[:, 0, self.hidden :]], dim=1)


class LastStateEncoder(Encoder):
    """Recurrent layers and their last state.

    Parameters
    ----------
    recurrence : Recurrence
        The layers.
    """

    def __init__(self, recurrence: Recurrence) -> None:
        super().__init__()
        self.recurrence = recurrence
        self.width = recurrence.width

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return the vectors of a batch of signals."""
        return self.recurrence.last(*self.recurrence(signal.transpose(1, 2), extent))


class AttentionEncoder(Encoder):
    """Recurrent layers and additive attention over their states.

    Parameters
    ----------
    recurrence : Recurrence
        The layers.
    """

    def __init__(self, recurrence: Recurrence) -> None:
        super().__init__()
        self.recurrence = recurrence
        self.width = recurrence.width
        self.attention = AdditiveAttention(self.width)

    def attend(self, signal: Tensor, extent: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the vectors (batch, width) and the attention (batch, n_samples) of a batch of signals."""
        context, weights = self.attention(*self.recurrence(signal.transpose(1, 2), extent))
        return context, weights

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return the vectors alone."""
        return self.attend(signal, extent)[0]


class SelfAttentionEncoder(Encoder):
    """Recurrent layers, one self-attention layer over their states, and the mean.

    Parameters
    ----------
    recurrence : Recurrence
        The layers.
    """

    def __init__(self, recurrence: Recurrence) -> None:
        super().__init__()
        self.recurrence = recurrence
        self.width = recurrence.width
        self.pool = SelfAttentionPool(self.width)

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return the vectors of a batch of signals."""
        pooled: Tensor = self.pool(*self.recurrence(signal.transpose(1, 2), extent))
        return pooled


class PooledStatesEncoder(Encoder):
    """Recurrent layers and the mean, the maximum and the last of their states.

    Parameters
    ----------
    recurrence : Recurrence
        The layers.
    """

    def __init__(self, recurrence: Recurrence) -> None:
        super().__init__()
        self.recurrence = recurrence
        self.width = 3 * recurrence.width

    def forward(self, signal: Tensor, extent: Tensor | None = None) -> Tensor:
        """Return the vectors of a batch of signals."""
        states, mask = self.recurrence(signal.transpose(1, 2), extent)
        pooled = [mean_over_steps(states, mask), max_over_steps(states, mask), self.recurrence.last(states, mask)]
        return torch.cat(pooled, dim=1)


def _model(
    encode: Callable[[Recurrence], Encoder], cell: MakeCell, shape: InputShape, *, bidirectional: bool
) -> nn.Module:
    recurrence = Recurrence(cell, shape.n_leads, bidirectional=bidirectional)
    return SignalModel(encode(recurrence), shape, dropout_head(DROPOUT))


@register_model(reads="signal", source=GRU)
def gru(shape: InputShape) -> nn.Module:
    """Two GRU layers of 128; the last state."""
    return _model(LastStateEncoder, nn.GRU, shape, bidirectional=False)


@register_model(reads="signal", source=GRU)
def bigru(shape: InputShape) -> nn.Module:
    """Two bidirectional GRU layers of 128; the last state of each direction."""
    return _model(LastStateEncoder, nn.GRU, shape, bidirectional=True)


@register_model(reads="signal", source=LSTM)
def lstm(shape: InputShape) -> nn.Module:
    """Two LSTM layers of 128; the last state."""
    return _model(LastStateEncoder, nn.LSTM, shape, bidirectional=False)


@register_model(reads="signal", source=LSTM)
def bilstm(shape: InputShape) -> nn.Module:
    """Two bidirectional LSTM layers of 128; the last state of each direction."""
    return _model(LastStateEncoder, nn.LSTM, shape, bidirectional=True)


@register_model(reads="signal", source=f"{GRU}; {ADDITIVE}")
def gru_attention(shape: InputShape) -> nn.Module:
    """Two GRU layers of 128 with additive attention over time."""
    return _model(AttentionEncoder, nn.GRU, shape, bidirectional=False)


@register_model(reads="signal", source=f"{GRU}; {ADDITIVE}")
def bigru_attention(shape: InputShape) -> nn.Module:
    """Two bidirectional GRU layers of 128 with additive attention over time."""
    return _model(AttentionEncoder, nn.GRU, shape, bidirectional=True)


@register_model(reads="signal", source=f"{LSTM}; {ADDITIVE}")
def lstm_attention(shape: InputShape) -> nn.Module:
    """Two LSTM layers of 128 with additive attention over time."""
    return _model(AttentionEncoder, nn.LSTM, shape, bidirectional=False)


@register_model(reads="signal", source=f"{LSTM}; {ADDITIVE}")
def bilstm_attention(shape: InputShape) -> nn.Module:
    """Two bidirectional LSTM layers of 128 with additive attention over time."""
    return _model(AttentionEncoder, nn.LSTM, shape, bidirectional=True)


@register_model(reads="signal", source=f"{GRU}; {SELF}")
def gru_self_attention(shape: InputShape) -> nn.Module:
    """Two GRU layers of 128 and one self-attention layer of four heads."""
    return _model(SelfAttentionEncoder, nn.GRU, shape, bidirectional=False)


@register_model(reads="signal", source=f"{GRU}; {SELF}")
def bigru_self_attention(shape: InputShape) -> nn.Module:
    """Two bidirectional GRU layers of 128 and one self-attention layer of four heads."""
    return _model(SelfAttentionEncoder, nn.GRU, shape, bidirectional=True)


@register_model(reads="signal", source=f"{LSTM}; {SELF}")
def lstm_self_attention(shape: InputShape) -> nn.Module:
    """Two LSTM layers of 128 and one self-attention layer of four heads."""
    return _model(SelfAttentionEncoder, nn.LSTM, shape, bidirectional=False)


@register_model(reads="signal", source=f"{LSTM}; {SELF}")
def bilstm_self_attention(shape: InputShape) -> nn.Module:
    """Two bidirectional LSTM layers of 128 and one self-attention layer of four heads."""
    return _model(SelfAttentionEncoder, nn.LSTM, shape, bidirectional=True)


def _benchmark(shape: InputShape, *, bidirectional: bool) -> nn.Module:
    recurrence = Recurrence(nn.LSTM, shape.n_leads, BENCHMARK_HIDDEN, bidirectional=bidirectional)
    return SignalModel(PooledStatesEncoder(recurrence), shape, concat_pool_head)


@register_model(reads="signal", source=BENCHMARK)
def lstm_ptbxl(shape: InputShape) -> nn.Module:
    """LSTM of the PTB-XL benchmark: two layers of 256; mean, maximum and last state.

    References
    ----------
    .. [1] Strodthoff et al., Deep learning for ECG analysis: benchmarks and insights from PTB-XL, IEEE JBHI 2021.
    """
    return _benchmark(shape, bidirectional=False)


@register_model(reads="signal", source=BENCHMARK)
def lstm_bidir_ptbxl(shape: InputShape) -> nn.Module:
    """Bidirectional LSTM of the PTB-XL benchmark: two layers of 256; mean, maximum and last states.

    References
    ----------
    .. [1] Strodthoff et al., Deep learning for ECG analysis: benchmarks and insights from PTB-XL, IEEE JBHI 2021. The
       backward pass gives its state at the first sample, where it ends.
    """
    return _benchmark(shape, bidirectional=True)
