"""The recipe's ``prepare`` section: what is built, from what, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _split_commas(value: object) -> object:
    if isinstance(value, (bool, float)):  # what stands behind --set is read as YAML
        raise ValueError(  # noqa: TRY004 - pydantic makes a message of this one alone
            f"read as {value}, which is no name; write no, nan and their like in quotes: '\"no\"'"
        )
    if isinstance(value, int):
        return (str(value),)
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


Names = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]
DistinctNames = Annotated[Names, AfterValidator(_each_once)]

BALANCE_KEYS = {
    "balance",
    "samples_per_class",
    "balance_protocols",
    "balance_leave",
    "balance_neighbours",
    "balance_copies",
}
NOT_IN_HASH = {"reps", "workers", "scheduler", "strict", *BALANCE_KEYS}


class Prepare(BaseModel):
    """What ``ecgprep build`` makes; a key that is None takes the database's default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="name of the database, see `ecgprep datasets`; commas between several")
    reps: str = Field(default="", description="representations, such as gaf,mtf,cwt:size=128; empty for none")
    leads: Names | None = Field(default=None, description="leads by name, in order, or 'all'")
    fs: float | None = Field(default=None, gt=0, description="sampling rate of the stored signals, Hz")
    filters: str = Field(
        default="", description="filters on whole records, such as bandpass,notch:hz=50; empty for none"
    )
    noise: str = Field(
        default="",
        description="recorded noise to add: a record of nstdb and the ratio in dB, such as ma@6; empty for none",
    )
    fill_gaps_s: float = Field(
        default=0.2, ge=0, le=1, description="longest gap that is filled by a line and counted, s; 0 refuses every gap"
    )
    unit: str | None = Field(default=None, description="what a row is: record, window:10, beat:centred186")
    detector: str | None = Field(default=None, description="R-peak detector, for beats of a database without any")
    max_pause_s: float = Field(
        default=5.0,
        gt=0,
        description="longest stretch without a detected beat that is trusted, s: beats beside a longer one are left "
        "out, and records of which such stretches are over a tenth",
    )
    labels: str | None = Field(default=None, description="label file of the dataset wfdb: CSV with record and label")
    annotator: str | None = Field(default=None, description="suffix of the annotation files of the dataset wfdb")
    patients: str | None = Field(default=None, description="part of the patients: a share, 10%, or a range, 0-99")
    label_rule: str | None = Field(default=None, description="how labels are made, where a database offers several")
    balance: DistinctNames = Field(
        default=(), description="how training rows are balanced: smote, adasyn, over, under; several with commas"
    )
    samples_per_class: int = Field(
        default=15_000,
        ge=1,
        le=1_000_000_000,
        description="rows that each class is brought to: fewer are kept, or more are made",
    )
    balance_protocols: DistinctNames = Field(default=(), description="protocols that are balanced; all by default")
    balance_leave: DistinctNames = Field(default=(), description="classes that are left as they are")
    balance_neighbours: int = Field(default=5, ge=1, description="neighbours of a row that SMOTE and ADASYN draw from")
    balance_copies: float | None = Field(
        default=None,
        ge=1,
        allow_inf_nan=False,
        description="most rows that are made of one, itself included; no limit by default",
    )
    engine: Literal["fast", "reference"] = Field(
        default="fast", description="who draws the pictures: this package, or pyts, PyWavelets and SciPy"
    )
    seed: int = Field(default=42, ge=0, description="seed of the splits that are drawn at random")
    strict: bool = Field(default=False, description="stop at the first record that cannot be used")
    workers: int | None = Field(
        default=None, ge=0, description="worker processes; 0 for this process alone; by default one a core"
    )
    scheduler: str | None = Field(default=None, description="address of a Dask scheduler, such as tcp://host:8786")

    @property
    def databases(self) -> tuple[str, ...]:
        """Names of the databases."""
        return tuple(name.strip() for name in self.dataset.split(",") if name.strip())
