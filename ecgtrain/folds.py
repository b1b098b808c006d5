"""Cross-validation: a run for each fold, and their test predictions joined, so that every row is tested once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pyarrow as pa

from ecgtrain.config import RunConfig
from ecgtrain.predictions import FOOTER_KEY, NOT_IN_HASH, read_predictions, write_table
from ecgtrain.run_folder import RunFolder
from pipelines.recipe import recipe_hash
from store.errors import UserError
from store.read import Store


def folds_protocol(store: Store, config: RunConfig) -> str:
    """Return the protocol of a run over folds.

    Raises
    ------
    UserError
        If the store has no such folds, with the command that makes them; or one fold is named as well.
    """
    protocol = f"kfold-{config.folds}"
    if config.fold is not None:
        raise UserError(f"folds={config.folds} trains every fold, and fold={config.fold} one; leave one of them out")
    if config.protocol not in (None, protocol):
        raise UserError(f"--folds {config.folds} takes the protocol {protocol!r}, not {config.protocol!r}")
    if protocol not in store.protocols:
        here = [name for name in store.protocols if name.startswith("kfold-")]
        raise UserError(
            f"{store.name} has no {protocol!r} (it has {', '.join(here) or 'no folds'}); `ecgprep build` writes "
            "kfold-5 and kfold-10 where there are patients enough: build it from more records, or choose another number"
        )
    return protocol


def fold_runs(config: RunConfig, folder: RunFolder) -> Iterator[tuple[RunConfig, RunFolder]]:
    """Yield the configuration and the folder of each fold's run."""
    for fold in range(config.folds or 0):
        changed = {"folds": None, "fold": fold, "name": f"fold-{fold}"}
        yield config.model_copy(update=changed), RunFolder(folder.path / f"fold-{fold}")


def join_predictions(config: RunConfig, folds: Sequence[RunFolder], folder: RunFolder) -> None:
    """Write the predictions of all folds as those of their parent, sorted by fold.

    Thresholds stay with their folds: fitted on all of validation they would have seen every row that is tested.
    """
    for part in ("validation", "test"):
        found = [read_predictions(fold.path / "predictions" / f"{part}.parquet") for fold in folds]
        tables = [table.replace_schema_metadata(None) for table, _ in found]
        footer = {**found[0][1], "run": folder.name, "recipe_hash": recipe_hash(config, exclude=NOT_IN_HASH)}
        joined = pa.concat_tables(tables).replace_schema_metadata({FOOTER_KEY: json.dumps(footer)})
        write_table(folder.path / "predictions" / f"{part}.parquet", joined)
    by_fold = {fold.name: fold.read_json("calibration.json") for fold in folds}
    folder.write_json(
        "calibration.json", {"thresholds": {}, "temperature": None, "fitted_on": "validation", "folds": by_fold}
    )
