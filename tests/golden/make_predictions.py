"""Write predictions_multi.parquet, the example of docs/predictions.md; run it as a script."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HEADER = {
    "schema": 1,
    "task": "multi",
    "classes": ["NORM", "MI"],
    "score_classes": ["NORM", "MI"],
    "scheme": "superclass",
    "protocol": "ptbxl-folds",
    "leaks": [],
    "leak_note": "",
    "run": "resnet1d_wang-ptbxl-folds-1",
    "model": "resnet1d_wang",
    "input": "signal",
    "seed": 0,
    "parameters": 498309,
    "store": {"name": "ptbxl-0a1b2c3d", "digest": "d1", "rows_digest": "r1", "synthetic": False},
    "recipe_hash": "c0ffee",
    "versions": {"ecgprep": "0.1.0"},
    "card": {"databases": {"ptbxl": {"version": "1.0.3", "licence": "CC-BY-4.0", "records": 4}}},
}


def golden_table() -> pa.Table:
    """Four records of three patients; the last one has two windows."""
    columns = {
        "row": pa.array([3, 5, 8, 9, 9], pa.int64()),
        "window": pa.array([0, 0, 0, 1, 2], pa.int16()),
        "fold": pa.array([-1] * 5, pa.int16()),
        "record": [f"ptbxl/records100/00000/0000{i}_lr" for i in (1, 2, 3, 4, 4)],
        "patient": ["ptbxl/11", "ptbxl/11", "ptbxl/12", "ptbxl/13", "ptbxl/13"],
        "database": ["ptbxl"] * 5,
        "sample": pa.array([0, 0, 0, 0, 250], pa.int64()),
        "fs_hz": pa.array([100.0] * 5, pa.float64()),
        "t_s": pa.array([0.0, 0.0, 0.0, 0.0, 2.5], pa.float64()),
        "symbol": pa.nulls(5, pa.string()),
        "sex": ["f", "f", "m", None, None],
        "age": pa.array([56, 56, 61, None, None], pa.float32()),
        "quality": pa.array([0.98, 0.98, 0.75, None, None], pa.float64()),
        "y_NORM": pa.array([1, 0, 0, 1, 1], pa.int8()),
        "logit_NORM": pa.nulls(5, pa.float32()),
        "p_NORM": pa.array([0.875, 0.25, 0.5, 0.25, 0.75], pa.float32()),
        "y_MI": pa.array([0, 1, 1, 0, 0], pa.int8()),
        "logit_MI": pa.nulls(5, pa.float32()),
        "p_MI": pa.array([0.125, 0.5, 0.75, 0.25, 0.625], pa.float32()),
    }
    return pa.table(columns).replace_schema_metadata({"ecg": json.dumps(HEADER)})


if __name__ == "__main__":
    path = Path(__file__).with_name("predictions_multi.parquet")
    pq.write_table(golden_table(), path, write_page_checksum=True)
    sys.stdout.write(f"{path}\n")
