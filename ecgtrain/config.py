"""The schema of a recipe's ``train`` section: what one run is made of, with every default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from store.errors import UserError

SIGNAL = "signal"
NEIGHBOURS: Literal["neighbours"] = "neighbours"
PREVIOUS: Literal["previous"] = "previous"
TYPICAL: Literal["typical"] = "typical"
CONTEXT = (NEIGHBOURS, TYPICAL)
FUTURE = "future"  # labels that a run makes itself: which frame comes next
FUTURE_PREFIX = "cpc"  # of the models that learn them

ClassWeights = Literal["auto", "none", "inverse", "sqrt_inverse", "effective", "context"]
Standardise = Literal["auto", "record", "training", "row"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _take_none_for_no_value(cls, data: Any) -> Any:
        """Let a person write none, as the descriptions say, where a key may have no value."""
        if not isinstance(data, Mapping):
            return data
        return {key: None if value == "none" and cls._may_be_none(key) else value for key, value in data.items()}

    @classmethod
    def _may_be_none(cls, key: str) -> bool:
        return key in cls.model_fields and NoneType in get_args(cls.model_fields[key].annotation)


class _SeededSection(_Section):
    seed: int = Field(0, ge=0, description="of the weights, the order of the rows, dropout and augmentation")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where the model computes")


class OptimizerConfig(_Section):
    """How gradients become steps."""

    name: Literal["adam", "adamw"] = Field("adam", description="adam adds the decay to the gradient; adamw does not")
    lr: float = Field(1e-3, gt=0, description="learning rate; the highest one of a schedule that rises")
    weight_decay: float = Field(1e-4, ge=0, description="how far weights are drawn to 0")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.999), description="shares of the running means of the gradient and of its square that a step keeps"
    )
    eps: float = Field(1e-8, gt=0, description="what is added to the root of the squares' mean")


class ScheduleConfig(_Section):
    """How the learning rate changes."""

    name: Literal["plateau", "one_cycle", "cosine", "warm_restarts", "constant"] = Field(
        "plateau",
        description="plateau: falls when the watched score stalls; one_cycle: rises, then falls to almost nothing; "
        "cosine: falls like half a cosine; warm_restarts: cosine again and again, each cycle longer",
    )
    warm_up_epochs: float = Field(0, ge=0, description="epochs in which the rate rises to its full height")
    factor: float = Field(0.5, gt=0, lt=1, description="plateau: what the rate is multiplied by")
    patience: int = Field(2, ge=0, description="plateau: epochs without a better score before that")
    max_reductions: Annotated[int, Field(ge=1)] | None = Field(
        None, description="plateau: how often the rate falls, at most; none: no limit"
    )
    cycle_epochs: int = Field(10, ge=1, description="warm_restarts: epochs of the first cycle")
    cycle_growth: int = Field(2, ge=1, description="warm_restarts: what a cycle is longer than the one before it")
    least: float = Field(
        0.0, ge=0, lt=1, description="cosine and warm_restarts: lowest rate, as a share of the highest"
    )


class EarlyStoppingConfig(_Section):
    """When a run ends before its last epoch."""

    monitor: str = Field(
        "auto",
        description="what is watched on validation: validation_loss; macro_f1 or macro_auroc over the scored classes; "
        "f1:CLASS or auroc:CLASS; auto: macro AUROC of a multi-label task, macro F1 of a single-label one",
    )
    patience: int = Field(5, ge=1, description="epochs without a better score before the run ends")


class CheckpointConfig(_Section):
    """When the state within an epoch is saved; at an epoch's end it always is."""

    every_s: Annotated[float, Field(gt=0)] | None = Field(60.0, description="seconds between two; none: never by time")
    every_steps: Annotated[int, Field(ge=1)] | None = Field(None, description="steps between two; none: never by count")


class LossConfig(_Section):
    """What is minimised."""

    name: Literal["auto", "cross_entropy", "bce", "focal", "asymmetric"] = Field(
        "auto", description="auto: bce for several labels a row, cross_entropy for one"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of a label that is spread over all classes")
    gamma: float = Field(2.0, ge=0, description="focal: how little a row counts that is easy")
    alpha: float = Field(0.25, gt=0, lt=1, description="focal, several labels a row: weight of the positive ones")
    gamma_positive: float = Field(0.0, ge=0, description="asymmetric: focusing of positive labels")
    gamma_negative: float = Field(4.0, ge=0, description="asymmetric: focusing of negative labels")
    margin: float = Field(0.05, ge=0, lt=1, description="asymmetric: what is taken off a negative label's probability")
    prototype: float = Field(
        0.1,
        ge=0,
        description="of a model with prototypes: weight of a row's distance from the prototype of its class; it rises "
        "from 0 over the first third of the epochs",
    )


class TrainingConfig(_SeededSection):
    """How a model is trained, whatever it is."""

    epochs: int = Field(50, ge=1, description="passes over the training rows, at most")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="how gradients become steps")
    schedule: ScheduleConfig = Field(ScheduleConfig(), description="learning rate over time")
    early_stopping: EarlyStoppingConfig = Field(EarlyStoppingConfig(), description="when to stop")
    checkpoint: CheckpointConfig = Field(CheckpointConfig(), description="when the state is saved")
    loss: LossConfig = Field(LossConfig(), description="what is minimised")
    class_weights: ClassWeights = Field(
        "auto",
        description="weights of the loss from the training rows' classes; context: those of the context-aware loss; "
        "auto: sqrt_inverse for a single-label task, none for a multi-label one",
    )
    gradient_clip: Annotated[float, Field(gt=0)] | None = Field(
        1.0, description="largest gradient norm; none: no limit"
    )
    accumulation: int = Field(
        1, ge=1, description="parts that a batch is computed in, one after the other, where memory is short"
    )
    average_decay: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="share of the running mean of the weights that a step keeps; the mean is scored and kept; 0: "
        "the last step's weights",
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="arithmetic of the layers that gain by it; the weights stay float32"
    )
    compile: bool = Field(False, description="compile the model first: slow to start, faster after")

    @model_validator(mode="after")
    def _check_that_the_schedule_can_act(self) -> Self:
        if fault := _schedule_fault(self.schedule, self.epochs, self.early_stopping.patience):
            raise ValueError(fault)
        return self


def _schedule_fault(schedule: ScheduleConfig, epochs: int, patience: int) -> str | None:
    """Return why a schedule can never do what it is for; None if it can."""
    if schedule.warm_up_epochs and schedule.name == "one_cycle":
        return "schedule.warm_up_epochs: one_cycle has a rise of its own; leave it out"
    if schedule.warm_up_epochs >= epochs:
        return f"schedule.warm_up_epochs={schedule.warm_up_epochs:g} is no less than epochs={epochs}; lower it"
    if schedule.name == "plateau" and schedule.patience + 1 >= patience:
        return (
            f"schedule.patience={schedule.patience} can never act: the run stops after early_stopping.patience="
            f"{patience} epochs without a better score; lower the first or raise the second"
        )
    if schedule.name == "warm_restarts" and schedule.cycle_epochs + schedule.warm_up_epochs >= epochs:
        return (
            f"schedule.cycle_epochs={schedule.cycle_epochs}: no restart within epochs={epochs}; lower it, or use cosine"
        )
    return None


class AugmentationConfig(_Section):
    """How training rows are changed, anew in every epoch; by default they are not."""

    gain: float = Field(0.0, ge=0, lt=1, description="largest change of a row's amplitude, as a share of it")
    noise_mv: float = Field(0.0, ge=0, description="SD of white noise, in mV")
    wander_mv: float = Field(0.0, ge=0, description="largest amplitude of a slow wave on each lead, in mV")
    lead_dropout: float = Field(0.0, ge=0, lt=1, description="probability that a lead is silent; one always speaks")
    shift_s: float = Field(0.0, ge=0, description="largest shift in time, in s; the edge's value fills the gap")
    mixup: float = Field(
        0.0, ge=0, description="parameter of the beta distribution that says how two rows and their labels are mixed"
    )

    @property
    def changes_signals(self) -> bool:
        """Whether a row looks other than it is stored, mixing apart."""
        return any((self.gain, self.noise_mv, self.wander_mv, self.lead_dropout, self.shift_s))


class CropConfig(_Section):
    """Pieces of a row: one at random in training, all windows in turn in evaluation."""

    samples: int = Field(ge=1, description="samples of a piece, such as 250: 2.5 s at 100 Hz")
    stride: int = Field(ge=1, description="samples from one window of the evaluation to the next, such as 125")


class DataConfig(_SeededSection):
    """What is read of a store, and how it becomes a model's input."""

    inputs: tuple[str, ...] = Field(
        (SIGNAL,),
        min_length=1,
        description="signal, and pictures: stored ones by name, or any of the grammar of --reps, such as gaf:size=128; "
        "pictures are stacked as channels",
    )
    protocol: str | None = Field(None, description="the split to train on; none: the store's default")
    scheme: str | None = Field(
        None,
        description="labels of the store that are learned, such as frame_rhythm, or future: which frame comes next; "
        "none: those of the protocol",
    )
    others: int = Field(1, ge=1, description="scheme future: frames of other rows beside the true next one")
    fold: Annotated[int, Field(ge=0)] | None = Field(
        None, description="the fold to test on, where the protocol numbers folds"
    )
    batch_size: int = Field(
        32,
        ge=1,
        description="rows a step, at most; an epoch is cut into equal batches. `ecgtrain run` takes 128 where "
        "there are 10,000 training rows and more",
    )
    channels: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="leads by name, or one of lead2, leads3, leads12, composite_fixed, fusion6; none: all stored ones",
    )
    features: Literal["auto", "rr", "rr_past", "none"] = Field(
        "auto",
        description="RR intervals beside the signal; rr_past: those that are known when the beat comes; auto: rr where "
        "the store has them and the model reads signals",
    )
    context: tuple[Literal["neighbours", "previous", "typical"], ...] = Field(
        CONTEXT,
        description="beats beside a beat's own signal, as further channels: neighbours, those before and after it; "
        "previous, the one before it; typical, the median beat of its record; rows that are no beats have none",
    )
    standardise: Standardise = Field(
        "auto",
        description="signals by mean and SD of their record, by those of each lead's training rows, or from minimum to "
        "maximum of the row; auto: training for records and windows, record for beats, row for beats with padding",
    )
    balance: str = Field("none", description="synthetic rows of the store that are trained on, such as smote; or none")
    patients: str | None = Field(
        None, description="train on part of the training patients: a share of the database, 10%, or a range, 0-99"
    )
    samples_per_class: Annotated[int, Field(ge=1)] | None = Field(
        None, description="training rows of a class, at most; drawn with the seed"
    )
    augmentation: AugmentationConfig = Field(AugmentationConfig(), description="how training rows are changed")
    crop: CropConfig | None = Field(None, description="train on pieces of a row; none: on whole rows")
    pictures: Literal["auto", "rendered", "stored"] = Field(
        "auto",
        description="draw pictures from the signals while training, or read stored ones; auto: drawn on a GPU, and "
        "wherever they are not stored or the signals are changed",
    )
    placement: Literal["auto", "device", "host", "streamed"] = Field(
        "auto", description="where the arrays lie while training; auto: where there is memory for them, nearest first"
    )


def _names(value: Any) -> Any:
    """Return names with commas between as a list."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def run_name(name: str) -> str:
    """Return the name of a run if a folder can have it, in the workspace and on every file system.

    Raises
    ------
    UserError
        If it cannot.
    """
    if not re.fullmatch(r"\w[^/\\:\x00-\x1f]*(?<! )", name):
        raise UserError(
            f"{name!r} is no name of a run: begin with a letter or a digit, go on without slashes and colons"
        )
    return name


RunName = Annotated[str, AfterValidator(run_name)]


class TransferConfig(_Section):
    """What becomes of weights that a run starts from."""

    head: Literal["auto", "fresh"] = Field(
        "auto", description="the layer that gives the logits; auto: taken over where the classes are the same"
    )
    freeze: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        (),
        description="layers that are not trained, by the start of their names, such as encoder.layers.0, or "
        "all_but_head; their batch normalisation keeps its statistics",
    )


class RunConfig(TrainingConfig, DataConfig):
    """One run: a model, what it reads, and how it is trained."""

    name: RunName | None = Field(None, description="name of the run's folder; none: <model>-<protocol>-<n>")
    model: str = Field(description="a name that `ecgtrain models` lists")
    pretrained: str | None = Field(
        None,
        description="what an image model of timm starts from: imagenet for timm's own weights, or a file; none: random",
    )
    init_from: str | None = Field(
        None,
        description="start from these weights: a finished run, a safetensors file, or a file of a state dict; none: "
        "random ones",
    )
    transfer: TransferConfig = Field(TransferConfig(), description="what becomes of the weights of init_from")
    store: str | None = Field(None, description="path or URL of the store; none: the newest of the workspace")
    folds: Annotated[int, Field(ge=2)] | None = Field(
        None, description="train a run for each fold of the protocol kfold-<folds>, and join their predictions"
    )
    predict_test: bool = Field(
        True, description="predict the test rows when the run is done; the points of a sweep leave them unseen"
    )
    test_time_copies: int = Field(
        0, ge=0, description="changed copies of a row whose probabilities are averaged with its own in the predictions"
    )
    save_features: bool = Field(
        False, description="write what the network's last layer reads of each test row, as `ecgtrain features` does"
    )

    @model_validator(mode="after")
    def _check_that_the_future_is_learned_by_its_models(self) -> Self:
        if (self.scheme == FUTURE) != self.model.startswith(f"{FUTURE_PREFIX}/"):
            raise ValueError(f"scheme {FUTURE} is for the models {FUTURE_PREFIX}/…, and they learn nothing else")
        return self

    @model_validator(mode="after")
    def _check_that_copies_differ(self) -> Self:
        if self.test_time_copies and not self.augmentation.changes_signals:
            raise ValueError(
                f"test_time_copies={self.test_time_copies} needs an augmentation that changes a row, such as "
                "augmentation.shift_s=0.05"
            )
        return self

    @model_validator(mode="after")
    def _check_that_there_is_something_to_transfer(self) -> Self:
        if self.init_from is None and self.transfer != TransferConfig():
            raise ValueError("transfer is for weights that a run starts from; name them with init_from")
        if self.init_from is not None and self.pretrained is not None:
            raise ValueError("init_from and pretrained both give the weights; leave one of them out")
        return self


class EnsembleConfig(_Section):
    """An ensemble of finished runs on the same rows."""

    ensemble: tuple[str, ...] = Field(min_length=2, description="the runs that answer together")
    by: Literal["average", "top-k", "weighted", "fixed", "learnable", "attention", "feature"] = Field(
        "average",
        description="average: mean probability; top-k: of the best by validation macro F1; weighted: by validation "
        "macro F1; fixed: by given weights; learnable: a network on all logits; attention: weights by a network for "
        "each row; feature: a network on what the members' heads read",
    )
    k: int = Field(5, ge=1, description="how many runs top-k keeps")
    weights: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None, description="of fixed, one a run; none: 0.6 and 0.4 for two runs"
    )
    name: RunName | None = Field(None, description="name of the run's folder; none: ensemble_<by>-<protocol>-<n>")
    seed: int = Field(0, ge=0, description="of the networks of learnable, attention and feature")
    steps: int = Field(300, ge=1, description="steps over all validation rows in which such a network is trained")
    lr: float = Field(1e-2, gt=0, description="learning rate of these steps")

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.weights is not None and self.by != "fixed":
            raise ValueError("weights are for by=fixed alone")
        if self.by == "fixed" and self.weights is None and len(self.ensemble) != 2:
            raise ValueError("fixed needs a weight for each run where they are not two")
        if self.weights is not None and len(self.weights) != len(self.ensemble):
            raise ValueError(f"{len(self.weights)} weights for {len(self.ensemble)} runs")
        if len(set(self.ensemble)) < len(self.ensemble):
            raise ValueError("a run is named twice")
        return self
