"""The schema of a recipe's ``train`` section: what one run is made of, with every default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SIGNAL = "signal"
NEIGHBOURS: Literal["neighbours"] = "neighbours"
TYPICAL: Literal["typical"] = "typical"
CONTEXT = (NEIGHBOURS, TYPICAL)

ClassWeights = Literal["auto", "none", "inverse", "sqrt_inverse", "effective", "context"]
Standardise = Literal["auto", "record", "training", "row"]
Monitor = Literal["auto", "validation_loss", "macro_f1", "macro_auroc"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerConfig(_Section):
    """Adam's settings."""

    lr: float = Field(1e-3, gt=0, description="learning rate at the start")
    weight_decay: float = Field(1e-4, ge=0, description="L2 penalty")


class ScheduleConfig(_Section):
    """When the learning rate falls."""

    factor: float = Field(0.5, gt=0, lt=1, description="what the rate is multiplied by")
    patience: int = Field(2, ge=0, description="epochs without a better score before that")


class EarlyStoppingConfig(_Section):
    """When a run ends before its last epoch."""

    monitor: Monitor = Field(
        "auto",
        description="what is watched on validation, over the scored classes; auto: macro AUROC of a multi-label task, "
        "macro F1 of a single-label one",
    )
    patience: int = Field(5, ge=1, description="epochs without a better score before the run ends")


class TrainingConfig(_Section):
    """How a model is trained, whatever it is."""

    epochs: int = Field(50, ge=1, description="passes over the training rows, at most")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="Adam")
    schedule: ScheduleConfig = Field(ScheduleConfig(), description="learning rate over time")
    early_stopping: EarlyStoppingConfig = Field(EarlyStoppingConfig(), description="when to stop")
    gradient_clip: Annotated[float, Field(gt=0)] | None = Field(
        1.0, description="largest gradient norm; none: no limit"
    )
    average_decay: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="share of the running mean of the weights that a step keeps; the mean is scored and kept; 0: "
        "the last step's weights",
    )
    class_weights: ClassWeights = Field(
        "auto",
        description="weights of the loss from the training rows' classes; auto: sqrt_inverse for a single-label task, "
        "none for a multi-label one",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="arithmetic of the layers that gain by it; the weights stay float32"
    )
    seed: int = Field(0, ge=0, description="of the weights, the order of the rows and dropout")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where the model computes")


class RunConfig(TrainingConfig):
    """One run: a model, what it reads, and how it is trained."""

    name: str | None = Field(None, description="name of the run's folder; none: <model>-<protocol>-<n>")
    model: str = Field(description="a name that `ecgtrain models` lists")
    inputs: tuple[str, ...] = Field(
        (SIGNAL,), min_length=1, description="signal and stored representations; pictures are stacked as channels"
    )
    store: str | None = Field(None, description="path or URL of the store; none: the newest of the workspace")
    protocol: str | None = Field(None, description="the split to train on; none: the store's default")
    channels: tuple[str, ...] | None = Field(None, min_length=1, description="leads by name; none: all that are stored")
    features: Literal["auto", "rr", "none"] = Field(
        "auto", description="RR intervals beside the signal; auto: where the store has them and the model reads signals"
    )
    context: tuple[Literal["neighbours", "typical"], ...] = Field(
        CONTEXT,
        description="beats beside a beat's own signal, as further channels: those before and after it, and the median "
        "beat of its record; rows that are no beats have none",
    )
    standardise: Standardise = Field(
        "auto",
        description="signals by mean and SD of their record, by those of each lead's training rows, or from minimum to "
        "maximum of the row; auto: training for records and windows, record for beats, row for beats with padding",
    )
    batch_size: int = Field(
        32,
        ge=1,
        description="rows a step, at most; an epoch is cut into equal batches. `ecgtrain run` takes 128 where "
        "there are 10,000 training rows and more",
    )
    placement: Literal["auto", "memory", "streamed"] = Field(
        "auto", description="where the arrays lie while training; auto: in memory if they fit in a quarter of it"
    )
