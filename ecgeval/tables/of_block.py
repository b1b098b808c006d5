"""Which tables a block has: those that its runs have figures for."""

from __future__ import annotations

from ecgeval.block import BestRows, Block
from ecgeval.config import Evaluate
from ecgeval.latency import latency
from ecgeval.passport import Key
from ecgeval.tables import beats, comparison, detail, pairs
from ecgeval.tables.table import Table


def block_tables(block: Block, best: BestRows, config: Evaluate) -> list[Table]:
    """Return the tables that a block has files of, in the order of the page; those without a row are left out.

    Parameters
    ----------
    block : Block
        The runs.
    best : BestRows
        The rows of its best run.
    config : Evaluate
        How they were scored.
    """
    tables = [
        comparison.macro_comparison(block),
        comparison.other_averages(block),
        comparison.whole_rows(block),
        *(comparison.per_class_comparison(block, metric) for metric in comparison.PER_CLASS_FILES),
        detail.best_model_detailed(block),
        *_of_task(block, best, config),
        pairs.against_best(block),
        pairs.modality_gains(block),
        comparison.folds(block),
        comparison.seeds(block),
        comparison.windows_compared(block),
        comparison.calibration(block),
        detail.subgroups(best),
        detail.worst_records(best),
        comparison.pretraining_fractions(block),
        latency(block),
    ]
    return [table for table in tables if table.rows]


def _of_task(block: Block, best: BestRows, config: Evaluate) -> list[Table]:
    tables = []
    if block.header.task == "multi":
        tables.append(comparison.thresholds_beside_half(block))
    else:
        tables.append(detail.confusion(best))
    if Key("auroc", "benchmark") in block.best.numbers:
        tables.append(comparison.ptbxl(block))
    if comparison.has_cinc2017(block):
        tables.append(comparison.cinc2017(block))
    if beats.has_beats(block.header):
        tables.append(beats.beats_per_record(best))
        learning_s = config.learning_s if "t_s" in best.rows.about else 0.0
        tables += [beats.ec57_per_record(best, learning_s), beats.ec57_confusion(best, learning_s)]
    return tables
