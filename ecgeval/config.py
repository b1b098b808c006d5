"""The ``evaluate`` section of a recipe: how runs are scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Evaluate(BaseModel):
    """How runs are scored and where the report goes; every option of ``ecgeval report`` is a key of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[str, ...] = Field(
        (),
        description="Runs by name or folder; none means the finished runs of the newest store that has any.",
    )
    bootstrap: int = Field(
        1000,
        ge=0,
        le=100_000,
        description="Resamples of the patients for the intervals; 0 leaves intervals out.",
    )
    seed: int = Field(0, ge=0, description="Seed of the resamples.")
    threshold: Literal["calibrated", "0.5"] = Field(
        "calibrated", description="Thresholds of a multi-label task: the run's own, from validation, or 0.5."
    )
    window: Literal["mean", "max"] = Field("mean", description="How the windows of one row become one prediction.")
    unit: Literal["row", "record"] = Field(
        "row", description="What is scored: rows of the store, or records, whose rows then become one prediction."
    )
    learning_s: float = Field(
        300.0, ge=0, description="Start of each record that the EC57 tables leave out, in seconds; the standard's 300."
    )
    latex: bool = Field(False, description="Write each table as LaTeX (booktabs, graphicx) beside its CSV.")
    figures: bool = Field(True, description="Draw the figures, which takes most of a report's time.")
    out: Path | None = Field(None, description="The report's folder; none means reports/<store> in the workspace.")

    @field_validator("threshold", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """Take the number 0.5, which is what YAML makes of ``threshold: 0.5``."""
        return str(value) if isinstance(value, float) else value
