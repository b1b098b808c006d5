"""What a model reads of a row: signal, picture and numbers, each standardised.

Statistics are fitted on training rows alone and belong to the run; the store holds millivolts and pictures as drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecgprep.beats import PRESETS
from ecgtrain import rr
from ecgtrain.channels import CHANNEL_SETS, leads_of
from ecgtrain.config import CONTEXT, NEIGHBOURS, PREVIOUS, SIGNAL, TYPICAL
from ecgtrain.models.registry import InputShape
from ecgtrain.samplers import Rows
from ecgtrain.sources import RowSource, StoredRows, moments
from store.errors import UnknownNameError, UserError
from store.read import Label, Store
from store.vocabulary import lead_key

RECORD_COLUMNS = ("record_mean_mv", "record_sd_mv")
NEIGHBOUR_COLUMNS = ("prev_row", "next_row")
CHANNELS_OF = {NEIGHBOURS: 2, PREVIOUS: 1, TYPICAL: 1}  # for each lead
PADDING_COLUMN, PADDING_START = "valid_n", "valid_from"
PICTURE_BLOCKS = 16  # a picture's statistics settle within some hundred rows


class ModelInput(Protocol):
    """One keyword tensor of a model."""

    def take(self, rows: Rows) -> NDArray[Any]:
        """Return the values of some rows, in their order."""

    def describe(self) -> dict[str, Any]:
        """Return what was done to the stored values, as plain data."""


class AffineInput:
    """Stored rows, less a mean and over an SD.

    Parameters
    ----------
    sources : sequence of RowSource
        Arrays whose second axes are joined.
    mean, sd : ndarray
        In stored units: one value a channel, shape (1, n_channels, 1, …), or one a row, shape (n_rows, 1, 1).
    facts : dict
        What `describe` says.
    """

    def __init__(
        self, sources: Sequence[RowSource], mean: NDArray[Any], sd: NDArray[Any], facts: dict[str, Any]
    ) -> None:
        self.sources = sources
        self.mean = mean.astype(np.float32)
        self.scale = (1.0 / sd).astype(np.float32)
        self.facts = facts

    def take(self, rows: Rows) -> NDArray[np.float32]:
        """Return the standardised values of some rows."""
        taken = [source.take(rows) for source in self.sources]
        values = np.concatenate(taken, axis=1) if len(taken) > 1 else taken[0]
        each = slice(None) if len(self.mean) == 1 else rows
        standard = values.astype(np.float32)
        standard -= self.mean[each]
        standard *= self.scale[each]
        return standard

    def describe(self) -> dict[str, Any]:
        """Return the kind of standardisation and its statistics."""
        return self.facts


class RowScaledInput:
    """Signals that run from 0 to 1 within each row; padding is 0.

    Parameters
    ----------
    source : RowSource
        The signals.
    valid_n : ndarray of int, shape (n_rows,)
        Samples of each row before its padding.
    """

    def __init__(self, source: RowSource, valid_n: NDArray[Any]) -> None:
        self.source = source
        self.valid_n = valid_n

    def take(self, rows: Rows) -> NDArray[np.float32]:
        """Return the scaled signals of some rows; a constant one is 0."""
        values = self.source.take(rows).astype(np.float32)
        valid = np.arange(values.shape[2]) < self.valid_n[rows][:, None, None]
        low = np.where(valid, values, np.inf).min(axis=2, keepdims=True)
        high = np.where(valid, values, -np.inf).max(axis=2, keepdims=True)
        scaled = (values - low) / np.where(high > low, high - low, 1.0)
        return np.where(valid, scaled, 0.0).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """Return the kind of scaling."""
        return {"by": "row", "from": "minimum", "to": "maximum"}


class SilentPadding:
    """Signals whose padding is 0, after whatever was done to them.

    Parameters
    ----------
    signal : ModelInput
        The signals.
    extents : ndarray of int64, shape (n_rows, 2)
        First sample of each row's signal and the one after its last.
    """

    def __init__(self, signal: ModelInput, extents: NDArray[np.int64]) -> None:
        self.signal = signal
        self.extents = extents

    def take(self, rows: Rows) -> NDArray[np.float32]:
        """Return the signals of some rows."""
        values = self.signal.take(rows)
        sample = np.arange(values.shape[2])
        first, stop = (self.extents[rows][:, None, i, None] for i in (0, 1))
        return np.where((sample >= first) & (sample < stop), values, np.float32(0.0))

    def describe(self) -> dict[str, Any]:
        """Return what was done to the signals."""
        return {**self.signal.describe(), "padding": 0}


class ExtentInput:
    """Where each row's signal lies: what models need to tell padding from signal.

    Parameters
    ----------
    extents : ndarray of int64, shape (n_rows, 2)
        First sample of each row's signal and the one after its last.
    """

    def __init__(self, extents: NDArray[np.int64]) -> None:
        self.extents = extents

    def take(self, rows: Rows) -> NDArray[np.int64]:
        """Return the extents of some rows."""
        return self.extents[rows]

    def describe(self) -> dict[str, Any]:
        """Return from which columns they come."""
        return {"from": [PADDING_START, PADDING_COLUMN]}


def padding_extents(store: Store) -> NDArray[np.int64] | None:
    """Return first and one past the last sample of each row's signal, shape (n_rows, 2); None if no row is padded."""
    if PADDING_COLUMN not in store.columns:
        return None
    length = store.column(PADDING_COLUMN).astype(np.int64)
    first = store.column(PADDING_START).astype(np.int64) if PADDING_START in store.columns else np.zeros_like(length)
    return np.stack([first, first + length], axis=1)


class PreviousInput:
    """Each beat's signal after that of the beat before, as further channels: what a causal model may read.

    Parameters
    ----------
    signal : ModelInput
        The signals.
    previous : ndarray of int64, shape (n_rows,)
        Row of the beat before; −1 where there is none, and the beat itself stands in.
    """

    def __init__(self, signal: ModelInput, previous: Rows) -> None:
        self.signal = signal
        self.previous = previous

    def take(self, rows: Rows) -> NDArray[np.float32]:
        """Return previous and current signals, shape (n, 2 · n_leads, n_samples)."""
        before = np.where(self.previous[rows] < 0, rows, self.previous[rows])
        return np.concatenate(np.split(self.signal.take(np.concatenate([before, rows])), 2), axis=1)

    def describe(self) -> dict[str, Any]:
        """Return what was done to the signals, and that the beat before stands beside them."""
        return {**self.signal.describe(), PREVIOUS: True}


class NeighbourInput:
    """Each beat's signal between those of the beat before and the beat after, as further channels.

    Parameters
    ----------
    signal : ModelInput
        The signals.
    previous, following : ndarray of int64, shape (n_rows,)
        Rows of the neighbours; −1 where there is none, and the beat itself stands in.
    """

    def __init__(self, signal: ModelInput, previous: Rows, following: Rows) -> None:
        self.signal = signal
        self.previous = previous
        self.following = following

    def take(self, rows: Rows) -> NDArray[np.float32]:
        """Return previous, current and following signals, shape (n, 3 · n_leads, n_samples)."""
        before, after = (np.where(of[rows] < 0, rows, of[rows]) for of in (self.previous, self.following))
        taken = self.signal.take(np.concatenate([before, rows, after]))
        return np.concatenate(np.split(taken, 3), axis=1)

    def describe(self) -> dict[str, Any]:
        """Return what was done to the signals, and that neighbours stand beside them."""
        return {**self.signal.describe(), NEIGHBOURS: True}


class TypicalBeatInput:
    """Each beat's signal beside the typical beat of its record, as further channels.

    What tells an ectopic beat from a normal one is its difference from the patient's usual beat, and that differs
    between patients. The typical beat is the median over all beats of the record, labels unseen; it looks ahead, so a
    model that reads it is not causal.

    Parameters
    ----------
    signal : ModelInput
        The signals, with what stands beside them already.
    typical : ndarray of float32, shape (n_records, n_leads, n_samples)
        Typical beat of each record.
    record : ndarray of int64, shape (n_rows,)
        Number of each row's record.
    """

    def __init__(self, signal: ModelInput, typical: NDArray[np.float32], record: Rows) -> None:
        self.signal = signal
        self.typical = typical
        self.record = record

    def take(self, rows: Rows) -> NDArray[np.float32]:
        """Return the signals of some rows, and after them their records' typical beats."""
        return np.concatenate([self.signal.take(rows), self.typical[self.record[rows]]], axis=1)

    def describe(self) -> dict[str, Any]:
        """Return what was done to the signals, and that the typical beat stands beside them."""
        return {**self.signal.describe(), TYPICAL: True}


def with_context(store: Store, signal: ModelInput, context: Sequence[str]) -> ModelInput:
    """Return signals with what `signal_context` names beside them."""
    beside = signal
    if NEIGHBOURS in context:
        beside = NeighbourInput(beside, *(store.column(name) for name in NEIGHBOUR_COLUMNS))
    if PREVIOUS in context:
        beside = PreviousInput(beside, store.column(NEIGHBOUR_COLUMNS[0]))
    if TYPICAL in context:
        _, first, record = np.unique(store.column("record").astype(str), return_index=True, return_inverse=True)
        beats = [np.median(signal.take(np.flatnonzero(record == i)), axis=0) for i in range(len(first))]
        beside = TypicalBeatInput(beside, np.stack(beats).astype(np.float32), record)
    return beside


class FeatureInput:
    """Numbers beside a row: standardised, 0 where unknown, with a flag for each that says so.

    Parameters
    ----------
    values : ndarray of float32, shape (n_rows, n_features)
        NaN where unknown.
    names : sequence of str
        Of the features.
    rows : ndarray of int64
        The training rows.
    """

    def __init__(self, values: NDArray[np.float32], names: Sequence[str], rows: Rows) -> None:
        missing = np.isnan(values)
        known = np.ma.masked_array(values[rows].astype(np.float64), missing[rows])
        mean, sd = known.mean(axis=0).filled(0.0), known.std(axis=0).filled(1.0)
        sd = np.where(sd > 0, sd, 1.0)
        standard = np.where(missing, 0.0, (values - mean) / sd)
        self.values = np.concatenate([standard, missing], axis=1).astype(np.float32)
        self.facts = {"names": list(names), "mean": mean.tolist(), "sd": sd.tolist(), "unknown": "0, with a flag"}

    def take(self, rows: Rows) -> NDArray[np.float32]:
        """Return features and flags of some rows, shape (n, 2 · n_features)."""
        return self.values[rows]

    def describe(self) -> dict[str, Any]:
        """Return names and statistics."""
        return self.facts


def input_shape(
    store: Store,
    names: Sequence[str],
    channels: Sequence[str] | None = None,
    features: str = "auto",
    context: Sequence[str] = CONTEXT,
    label: Label | None = None,
) -> InputShape:
    """Return what a model for some of a store's inputs is made for, after a look at every name.

    Parameters
    ----------
    store : Store
        Where the rows lie.
    names : sequence of str
        ``signal`` and stored representations.
    channels : sequence of str, optional
        Leads by name; None for all.
    features : str
        ``rr``, ``rr_past``, ``none`` or ``auto``.
    context : sequence of str
        What may stand beside a beat's own signal; see `signal_context`.
    label : Label, optional
        What is to be told apart.

    Raises
    ------
    UnknownNameError
        If the store lacks an input or a lead.
    UserError
        If pictures differ in size, or RR intervals are wanted of a store without any.
    """
    for name in names:
        if name not in (SIGNAL, *store.representations):
            known = (SIGNAL, *store.representations)
            hint = f"`{_build_command(store)} --reps {','.join([*store.representations, name])}` adds a picture."
            raise UnknownNameError(f"input of {store.name}", name, known, hint)
    n_leads = len(lead_numbers(store, channels))
    sizes = {name: tuple(store.representation(name).shape[2:]) for name in names if name != SIGNAL}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {height}×{width}" for name, (height, width) in sizes.items())
        raise UserError(f"pictures of one model need one size, found {listed}; name one of them with --input")
    height, width = next(iter(sizes.values()), (0, 0))
    return InputShape(
        n_leads=n_leads * (1 + sum(CHANNELS_OF[name] for name in signal_context(store, context))),
        n_samples=store.signal.shape[2],
        fs_hz=store.fs_hz,
        n_classes=len(label.classes) if label else 1,
        picture=(n_leads * len(sizes), height, width) if sizes else None,
        n_features=2 * len(rr.names_of(features)) if uses_rr(store, names, features) else 0,
        r_sample=_r_sample(store),
        multilabel=label is not None and label.multilabel,
    )


def _r_sample(store: Store) -> int | None:
    """Return the sample of a beat's R peak; None if rows are no beats of a known preset."""
    preset = PRESETS.get(str(store.attributes["unit"]).partition(":")[2])
    return preset.before if preset else None


def _build_command(store: Store) -> str:
    return f"ecgprep build --dataset {store.attributes.get('recipe', {}).get('dataset', 'NAME')}"


def signal_context(store: Store, wanted: Sequence[str]) -> list[str]:
    """Return what stands beside a store's signals: of what is wanted, what the store's rows have.

    Parameters
    ----------
    store : Store
        Where the rows lie.
    wanted : sequence of str
        ``neighbours``, the beats before and after, ``previous``, the one before, and ``typical``, the typical beat of
        the record.
    """
    linked = set(NEIGHBOUR_COLUMNS) <= set(store.columns)
    here = {
        NEIGHBOURS: linked,
        PREVIOUS: linked,
        TYPICAL: str(store.attributes["unit"]).startswith("beat") and "record" in store.columns,
    }
    return [name for name in here if name in wanted and here[name]]


def uses_rr(store: Store, names: Sequence[str], features: str) -> bool:
    """Tell whether RR intervals stand beside some inputs of a store.

    Raises
    ------
    UserError
        If they are asked for and the store has none.
    """
    if features in ("rr", "rr_past") and not rr.has_rr(store):
        raise UserError(f"{store.name} has no RR intervals; use features=none, or build the database as beats")
    return features in ("rr", "rr_past") or (features == "auto" and SIGNAL in names and rr.has_rr(store))


def lead_numbers(store: Store, channels: Sequence[str] | None) -> list[int]:
    """Return the places of some leads, by name or by the name of a set; of all leads for None.

    Raises
    ------
    UnknownNameError
        If the store does not have one.
    """
    keys = [lead_key(lead) for lead in store.leads]
    if not channels:
        return list(range(len(keys)))
    wanted = leads_of(channels)
    for name in wanted:
        if lead_key(name) not in keys:
            hint = f"Sets of leads: {', '.join(CHANNEL_SETS)}. `{_build_command(store)} --leads {','.join(wanted)}`"
            raise UnknownNameError(f"lead of {store.name}", name, store.leads, f"{hint} makes a store that has them.")
    return [keys.index(lead_key(name)) for name in wanted]


def standardisation(store: Store, wanted: str) -> str:
    """Return how a store's signals are standardised: ``record``, ``training`` or ``row``.

    Parameters
    ----------
    store : Store
        Where they lie.
    wanted : str
        One of these, or ``auto``: what the store's unit is known for in the literature.

    Raises
    ------
    UserError
        If the records' statistics are asked for and not stored.
    """
    if wanted == "auto":
        beats = str(store.attributes["unit"]).startswith("beat")
        known = set(RECORD_COLUMNS) <= set(store.columns)
        if beats and PADDING_COLUMN in store.columns:
            return "row"
        return "record" if beats and known else "training"
    if wanted == "record" and not set(RECORD_COLUMNS) <= set(store.columns):
        raise UserError(f"{store.name} has no columns {' and '.join(RECORD_COLUMNS)}; use standardise=training")
    return wanted


def signal_input(
    store: Store, stored: StoredRows, source: RowSource, rows: Rows, block_rows: int, standardise: str
) -> ModelInput:
    """Return the signals, standardised.

    Parameters
    ----------
    store : Store
        Where they come from.
    stored, source : StoredRows, RowSource
        The leads that are read, and how.
    rows : ndarray of int64
        The training rows.
    block_rows : int
        Rows that are read as one piece.
    standardise : str
        ``record``, ``training``, ``row`` or ``auto``.
    """
    by = standardisation(store, standardise)
    if by == "row":
        n_samples = store.signal.shape[2]
        padded = PADDING_COLUMN in store.columns
        valid_n = store.column(PADDING_COLUMN) if padded else np.full(store.n_rows, n_samples)
        return RowScaledInput(source, valid_n)
    if by == "record":
        mean, sd = (store.column(name).astype(np.float64).reshape(store.n_rows, -1, 1) for name in RECORD_COLUMNS)
        if mean.shape[1] > 1:
            mean, sd = mean[:, stored.leads], sd[:, stored.leads]
        sd = np.where(sd > 0, sd, 1.0)
        return AffineInput([source], mean / store.scale_mv, sd / store.scale_mv, {"by": "record"})
    mean, sd = moments(stored, rows, block_rows, extents=padding_extents(store))
    facts = {
        "by": "training rows",
        "leads": [store.leads[lead] for lead in stored.leads],
        "mean_mv": (mean * store.scale_mv).tolist(),
        "sd_mv": (sd * store.scale_mv).tolist(),
    }
    return AffineInput([source], mean.reshape(1, -1, 1), sd.reshape(1, -1, 1), facts)


def picture_input(
    names: Sequence[str], stored: Sequence[StoredRows], sources: Sequence[RowSource], rows: Rows, block_rows: int
) -> AffineInput:
    """Return stored pictures, joined as channels and standardised by training rows.

    Parameters
    ----------
    names : sequence of str
        Of the representations.
    stored, sources : sequence
        Their leads, and how they are read.
    rows : ndarray of int64
        The training rows, of which `PICTURE_BLOCKS` blocks are looked at.
    block_rows : int
        Rows that are read as one piece.
    """
    found = [moments(one, rows, block_rows, PICTURE_BLOCKS) for one in stored]
    mean = np.concatenate([mean for mean, _ in found])
    sd = np.concatenate([sd for _, sd in found])
    facts = {"by": "training rows", "pictures": list(names), "mean": mean.tolist(), "sd": sd.tolist(), "unit": "stored"}
    return AffineInput(sources, mean.reshape(1, -1, 1, 1), sd.reshape(1, -1, 1, 1), facts)


def feature_input(store: Store, rows: Rows, features: str) -> FeatureInput:
    """Return the RR intervals beside each beat, all or the past ones, standardised by the training rows."""
    names = rr.names_of(features)
    values = rr.rr_features({name: store.column(name) for name in rr.COLUMNS})
    return FeatureInput(values[:, [rr.FEATURES.index(name) for name in names]], names, rows)
