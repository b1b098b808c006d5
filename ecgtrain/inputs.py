"""What a model reads of a store: which leads, which beats beside each other, which pictures, which numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgprep.beats import PRESETS
from ecgtrain import rr
from ecgtrain.channels import CHANNEL_SETS, leads_of
from ecgtrain.config import NEIGHBOURS, PREVIOUS, SIGNAL, TYPICAL, DataConfig
from ecgtrain.items import PADDING_COLUMN
from ecgtrain.models.registry import InputShape
from ecgtrain.pictures import Picture, are_rendered, build_command, find_pictures
from ecgtrain.preparation import Preparation
from ecgtrain.reading import RowReader
from ecgtrain.samplers import Rows
from ecgtrain.sources import RowSource, StoredRows, choose_place, make_source, moments
from store.errors import UnknownNameError, UserError
from store.read import Label, Store
from store.vocabulary import lead_key

RECORD_COLUMNS = ("record_mean_mv", "record_sd_mv")
NEIGHBOUR_COLUMNS = ("prev_row", "next_row")
CHANNELS_OF = {NEIGHBOURS: 2, PREVIOUS: 1, TYPICAL: 1}  # for each lead
PICTURE_BLOCKS, PICTURE_ROWS = 16, 64  # a picture's statistics settle within some hundred rows


def input_shape(store: Store, config: DataConfig, label: Label | None = None) -> InputShape:
    """Return what a model for some of a store's inputs is made for, after a look at every name.

    Parameters
    ----------
    store : Store
        Where the rows lie.
    config : DataConfig
        What is read of it.
    label : Label, optional
        What is to be told apart.

    Raises
    ------
    UnknownNameError
        If the store lacks an input or a lead.
    UserError
        If pictures differ in size, RR intervals are wanted of a store without any, pieces are longer than rows, or the
        only lead were to fall silent.
    """
    pictures = find_pictures(store, config.inputs)
    n_leads = len(lead_numbers(store, config.channels))
    if config.augmentation.lead_dropout and n_leads == 1:
        raise UserError("augmentation.lead_dropout: one lead is read, and one always speaks; leave it out")
    context = signal_context(store, config.context)
    if config.crop is not None:
        _check_crop(store, config, context)
    return InputShape(
        n_leads=n_leads * (1 + sum(CHANNELS_OF[name] for name in context)),
        n_samples=config.crop.samples if config.crop else store.signal.shape[2],
        fs_hz=store.fs_hz,
        n_classes=len(label.classes) if label else 1,
        picture=(n_leads * len(pictures), *pictures[0].shape) if pictures else None,
        n_features=2 * len(rr.names_of(config.features)) if uses_rr(store, config.inputs, config.features) else 0,
        r_sample=_r_sample(store),
        multilabel=label is not None and label.multilabel,
    )


def _r_sample(store: Store) -> int | None:
    """Return the sample of a beat's R peak; None if rows are no beats of a known preset."""
    preset = PRESETS.get(str(store.attributes["unit"]).partition(":")[2])
    return preset.before if preset else None


def _check_crop(store: Store, config: DataConfig, context: Sequence[str]) -> None:
    assert config.crop is not None
    if config.crop.samples > store.signal.shape[2]:
        raise UserError(f"crop.samples={config.crop.samples}: rows of {store.name} have {store.signal.shape[2]}")
    if context:
        raise UserError(f"crop: a piece of a beat has no {' and '.join(context)} beside it; set context=[]")


def lay_out(
    store: Store, config: DataConfig, training: Rows, block_rows: int, device: torch.device
) -> tuple[RowReader, Preparation, dict[str, Any], str]:
    """Return what reads rows, what prepares them, both as plain data, and a line on where the rows lie.

    Parameters
    ----------
    store : Store
        Where the rows lie.
    config : DataConfig
        What is read.
    training : ndarray of int64
        The training rows: all that is fitted is fitted on them.
    block_rows : int
        Rows that are read as one piece.
    device : torch.device
        Where the model computes.
    """
    leads = lead_numbers(store, config.channels)
    pictures = find_pictures(store, config.inputs)
    rendered = pictures if pictures and are_rendered(store, pictures, config, device) else []
    read = [] if rendered else pictures
    arrays = {one.name: store.representation(one.name) for one in read}
    if SIGNAL in config.inputs or rendered:
        arrays = {SIGNAL: store.signal, **arrays}
    stored = {
        name: StoredRows(array, leads, partial(store.check_unchanged, array.path)) for name, array in arrays.items()
    }
    place, line = choose_place(sum(one.nbytes for one in stored.values()), config.placement, device)
    sources = {name: make_source(one, place, block_rows, device) for name, one in stored.items()}
    by = standardisation(store, config.standardise)
    reader, facts = _reader(store, config, sources, leads, training, by)
    signal: dict[str, Any] = {}
    if SIGNAL in config.inputs:
        signal = _signal_facts(store, stored[SIGNAL], training, block_rows, by)
        facts["signal"] = {**signal, **dict.fromkeys(signal_context(store, config.context), True)}
    preparation = Preparation(
        by, store.scale_mv, store.fs_hz, int(len(reader.beside) > 0), signal, {}, rendered, config.crop
    )
    if pictures:
        picture = _picture_facts(pictures, reader, preparation, training, block_rows)
        preparation = replace(preparation, picture=picture)
        facts["picture"] = picture
    return reader, preparation, facts, line + (f"; {_names(pictures)} drawn while training" if rendered else "")


def _names(pictures: Sequence[Picture]) -> str:
    return " and ".join(picture.name for picture in pictures)


def _reader(
    store: Store, config: DataConfig, sources: Mapping[str, RowSource], leads: Sequence[int], training: Rows, by: str
) -> tuple[RowReader, dict[str, Any]]:
    signal = sources.get(SIGNAL)
    context = signal_context(store, config.context) if SIGNAL in config.inputs else []
    facts: dict[str, Any] = {}
    features = None
    if uses_rr(store, config.inputs, config.features):
        names = rr.names_of(config.features)
        values = rr.rr_features({name: store.column(name) for name in rr.COLUMNS})
        chosen = [rr.FEATURES.index(name) for name in names]
        features, facts["features"] = standard_features(values[:, chosen], names, training)
    typical, record = _typical_beats(store, signal) if signal is not None and TYPICAL in context else (None, None)
    reader = RowReader(
        signal=signal,
        beside=tuple(store.column(name) for name in _beside(context)),
        typical=typical,
        record=record,
        valid_n=_lengths(store),
        moments=_record_moments(store, leads) if by == "record" and SIGNAL in config.inputs else None,
        pictures=tuple(source for name, source in sources.items() if name != SIGNAL),
        features=features,
    )
    return reader, facts


def _beside(context: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that number the rows beside each."""
    if NEIGHBOURS in context:
        return NEIGHBOUR_COLUMNS
    return NEIGHBOUR_COLUMNS[:1] if PREVIOUS in context else ()


def _lengths(store: Store) -> NDArray[np.int64] | None:
    """Return the samples of each row before its padding; None if no row is padded."""
    return store.column(PADDING_COLUMN).astype(np.int64) if PADDING_COLUMN in store.columns else None


def _typical_beats(store: Store, signal: RowSource) -> tuple[Tensor, Rows]:
    """Return the median beat of each record, labels unseen, in whole counts, and the number of each row's record.

    What tells an ectopic beat from a normal one is its difference from the patient's usual beat, and that differs
    between patients. The median is over all beats of the record: it looks ahead, so a model that reads it is not
    causal.
    """
    _, first, record = np.unique(store.column("record").astype(str), return_index=True, return_inverse=True)
    beats = [np.median(signal.take(np.flatnonzero(record == i)).cpu().numpy(), axis=0) for i in range(len(first))]
    return torch.from_numpy(np.rint(np.stack(beats)).astype(np.int16)), record


def _record_moments(store: Store, leads: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mean, sd = (store.column(name).astype(np.float64).reshape(store.n_rows, 1, -1, 1) for name in RECORD_COLUMNS)
    if mean.shape[2] > 1:
        mean, sd = mean[:, :, leads], sd[:, :, leads]
    sd = np.where(sd > 0, sd, 1.0)
    return (mean / store.scale_mv).astype(np.float32), (sd / store.scale_mv).astype(np.float32)


def _signal_facts(store: Store, stored: StoredRows, training: Rows, block_rows: int, by: str) -> dict[str, Any]:
    if by == "row":
        return {"by": "row", "from": "minimum", "to": "maximum"}
    if by == "record":
        return {"by": "record"}
    mean, sd = moments(stored, training, block_rows, lengths=_lengths(store))
    return {
        "by": "training rows",
        "leads": [store.leads[lead] for lead in stored.leads],
        "mean_mv": (mean * store.scale_mv).tolist(),
        "sd_mv": (sd * store.scale_mv).tolist(),
    }


def _picture_facts(
    pictures: Sequence[Picture], reader: RowReader, preparation: Preparation, training: Rows, block_rows: int
) -> dict[str, Any]:
    """Return mean and SD of each channel over some training rows: the same ones whether pictures are read or drawn."""
    mean, sd = _moments(lambda rows: preparation.drawn(reader.take(rows)), some_rows(training, block_rows))
    parameters = {one.name: one.rep.parameters() for one in pictures if one.rep is not None}
    facts = {"by": "training rows", "pictures": [one.name for one in pictures], "unit": "stored"}
    return {**facts, "mean": mean.tolist(), "sd": sd.tolist(), "parameters": parameters}


def some_rows(rows: Rows, block_rows: int) -> list[Rows]:
    """Return a few rows of a few blocks, evenly spread."""
    blocks = np.unique(rows // block_rows)
    chosen = blocks[np.linspace(0, len(blocks) - 1, min(PICTURE_BLOCKS, len(blocks))).astype(int)]
    return [rows[rows // block_rows == block][:PICTURE_ROWS] for block in chosen.tolist()]


def _moments(take: Callable[[Rows], Tensor], blocks: Sequence[Rows]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count, total, squares = 0, np.zeros(()), np.zeros(())
    for rows in blocks:
        values = take(rows).cpu().numpy().astype(np.float64)
        count += values[:, 0].size
        total = total + values.sum(axis=(0, 2, 3))
        squares = squares + np.square(values).sum(axis=(0, 2, 3))
    mean = total / count
    sd = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return mean, np.where(sd > 0, sd, 1.0)


def standard_features(
    values: NDArray[np.float32], names: Sequence[str], training: Rows
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Return numbers beside a row, standardised, 0 where unknown, then a flag for each that says so; and statistics.

    Parameters
    ----------
    values : ndarray of float32, shape (n_rows, n_features)
        NaN where unknown.
    names : sequence of str
        Of the features.
    training : ndarray of int64
        The training rows.
    """
    missing = np.isnan(values)
    known = np.ma.masked_array(values[training].astype(np.float64), missing[training])
    mean, sd = known.mean(axis=0).filled(0.0), known.std(axis=0).filled(1.0)
    sd = np.where(sd > 0, sd, 1.0)
    facts = {"names": list(names), "mean": mean.tolist(), "sd": sd.tolist(), "unknown": "0, with a flag"}
    return features_by(values, facts), facts


def features_by(values: NDArray[np.float32], facts: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return numbers beside a row, standardised by statistics that `standard_features` has found, and their flags."""
    missing = np.isnan(values)
    standard = np.where(missing, 0.0, (values - np.array(facts["mean"])) / np.array(facts["sd"]))
    return np.concatenate([standard, missing], axis=1).astype(np.float32)


def signal_context(store: Store, wanted: Sequence[str]) -> list[str]:
    """Return what stands beside a store's signals: of what is wanted, what the store's rows have.

    Parameters
    ----------
    store : Store
        Where the rows lie.
    wanted : sequence of str
        ``neighbours``, the beats before and after, ``previous``, the one before, and ``typical``, the typical beat of
        the record; neighbours hold the one before already.
    """
    linked = set(NEIGHBOUR_COLUMNS) <= set(store.columns)
    here = {
        NEIGHBOURS: linked,
        PREVIOUS: linked and NEIGHBOURS not in wanted,
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
            command = build_command(store, f"--leads {','.join(wanted)}")
            raise UnknownNameError(
                f"lead of {store.name}", name, (*store.leads, *CHANNEL_SETS),
                f"`{command}` makes a store that has them; sets of leads: {', '.join(CHANNEL_SETS)}.",
            )  # fmt: skip
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
