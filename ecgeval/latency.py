"""What a run costs to use, as ``ecgtrain benchmark`` measured it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ecgeval.block import Block
from ecgeval.errors import RunFileError, validation_faults
from ecgeval.tables.table import Row, Table


class Batch(BaseModel):
    """Times of one batch size: a whole batch in milliseconds, and rows a second."""

    model_config = ConfigDict(frozen=True)

    batch: int = Field(ge=1)
    repeats: int = Field(ge=1)
    mean_ms: float
    sd_ms: float
    min_ms: float
    max_ms: float
    rows_per_s: float


class Benchmark(BaseModel):
    """The file ``benchmark.json`` of a run; it is described in docs/run-files.md."""

    model_config = ConfigDict(frozen=True)

    device: str
    precision: str = "float32"
    threads: int | None = None
    parameters: int
    macs: int | None = None
    size_bytes: int
    batches: tuple[Batch, ...]


def read_benchmark(path: Path) -> Benchmark | None:
    """Read a run's ``benchmark.json``; None where there is none.

    Raises
    ------
    RunFileError
        If it is damaged or a field is missing or wrong.
    """
    if not path.is_file():
        return None
    try:
        return Benchmark.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunFileError(f"{path}: {validation_faults(error)}; write it again with `ecgtrain benchmark`") from error


def latency(block: Block) -> Table:
    """Return parameters, operations, size, latency and throughput of the runs that were measured."""
    rows: list[Row] = []
    for label, run in block.labelled():
        measured = read_benchmark(run.run.path / "benchmark.json")
        if measured is not None:
            rows += [_row(label, measured, batch) for batch in measured.batches]
    columns = (
        "Model", "Device", "Parameters", "MACs", "Size (MB)", "Batch", "Mean (ms)", "SD (ms)", "Min (ms)", "Max (ms)",
        "Rows a second",
    )  # fmt: skip
    note = "A time is that of a whole batch, after warm-up. MACs are of one row."
    return Table("latency", "What a prediction costs", columns, tuple(rows), note)


def _row(label: str, measured: Benchmark, batch: Batch) -> Row:
    size: Any = f"{measured.size_bytes / 1e6:.2f}"
    macs: Any = measured.macs if measured.macs is not None else "–"
    times = (batch.mean_ms, batch.sd_ms, batch.min_ms, batch.max_ms)
    device = f"{measured.device}, {measured.precision}"
    return (label, device, measured.parameters, macs, size, batch.batch, *times, round(batch.rows_per_s))
