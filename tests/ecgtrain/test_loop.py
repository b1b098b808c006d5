from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from ecgtrain.averaging import WeightAverage
from ecgtrain.checkpoint import CheckpointError, one_before, read_checkpoint, save_checkpoint
from ecgtrain.config import EarlyStoppingConfig, LossConfig, OptimizerConfig, TrainingConfig
from ecgtrain.listener import Listener
from ecgtrain.loader import loaders
from ecgtrain.loop import BEST, LAST, TrainingError, train
from ecgtrain.models import create_model
from ecgtrain.models.heads import prototype_head
from ecgtrain.predicting import predict_logits
from store.errors import UnknownNameError

CONFIG = TrainingConfig(epochs=4, device="cpu")


class Linear(torch.nn.Module):
    """A user's own module: dropout, batch normalisation and one layer."""

    def __init__(self, n_samples: int, n_classes: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.BatchNorm1d(n_samples),
            torch.nn.Dropout(0.3),
            torch.nn.Linear(n_samples, n_classes),
        )

    def forward(self, signal, features=None):
        return self.layers(signal)


@pytest.fixture
def data(beats_store):
    return loaders(beats_store, batch_size=32, context=[])


def fresh(data):
    torch.manual_seed(0)
    return Linear(data.shape.n_samples * data.shape.n_leads, data.shape.n_classes)


def first_of(loader, n):
    return dataclasses.replace(loader, items=loader.items.only(np.arange(n)))


def without_time(history):
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in history]


def equal_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_user_s_own_module_learns(data):
    trained = train(fresh(data), data, TrainingConfig(epochs=8, device="cpu", optimizer=OptimizerConfig(lr=3e-3)))
    history = trained.history
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]
    assert history[trained.best_epoch]["validation"]["f1"] > 0.5
    assert list(history[0]["per_class"]) == ["N", "S", "V", "F", "Q"]


@pytest.mark.parametrize("name", ["resnet1d_wang", "joint_fusion"])
def test_the_same_seed_gives_the_same_numbers(name, beats_store):
    data = loaders(beats_store, ("signal", "cwt") if name == "joint_fusion" else ("signal",), batch_size=16)
    data = dataclasses.replace(data, train=first_of(data.train, 32), validation=first_of(data.validation, 16))
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        model = create_model(name, **vars(data.shape))
        results.append(train(model, data, TrainingConfig(epochs=2, seed=7, device="cpu")))
    assert without_time(results[0].history) == without_time(results[1].history)
    assert equal_weights(results[0].model, results[1].model)


class WithPrototypes(torch.nn.Module):
    """One layer, and a head that draws its rows to prototypes."""

    def __init__(self, n_samples: int, n_classes: int) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(n_samples, 16), torch.nn.Tanh())
        self.head = prototype_head(torch.nn.Linear)(16, n_classes)

    def forward(self, signal):
        return self.head(self.body(signal))


def test_rows_are_drawn_to_their_class_s_prototype_as_much_as_the_loss_says(data):
    distances = []
    for weight in (0.0, 3.0):
        torch.manual_seed(0)
        model = WithPrototypes(data.shape.n_samples * data.shape.n_leads, data.shape.n_classes)
        start = model.head.prototypes.detach().clone()
        optimizer = OptimizerConfig(lr=3e-3, weight_decay=0.0)
        config = TrainingConfig(epochs=4, device="cpu", optimizer=optimizer, loss=LossConfig(prototype=weight))
        model = train(model, data, config).model
        assert torch.equal(model.head.prototypes, start) == (weight == 0)
        batch = next(data.test.in_order())
        with torch.inference_mode():
            found = model.head.distances(model.body(batch.inputs["signal"]))
        distances.append(found.gather(1, batch.target[:, None]).mean())
    assert distances[1] < 0.8 * distances[0]


def test_another_seed_gives_other_numbers(data):
    losses = [train(fresh(data), data, TrainingConfig(epochs=1, seed=seed)).history[0]["train_loss"] for seed in (0, 1)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_resumed_training_equals_an_uninterrupted_one(data, tmp_path, stop_after):
    whole = train(fresh(data), data, CONFIG, tmp_path / "whole")

    class Killed(Exception):
        pass

    class Kill(Listener):
        def epoch(self, entry):
            if entry["epoch"] + 1 == stop_after:
                raise Killed

    with pytest.raises(Killed):
        train(fresh(data), data, CONFIG, tmp_path / "half", listener=Kill())
    torch.manual_seed(99)  # weights and generator of the second process are its own
    other = Linear(data.shape.n_samples, data.shape.n_classes)
    resumed = train(other, data, CONFIG, tmp_path / "half")
    assert without_time(resumed.history) == without_time(whole.history)
    assert equal_weights(resumed.model, whole.model)
    last = [Linear(data.shape.n_samples, data.shape.n_classes) for _ in range(2)]
    for model, folder in zip(last, ("whole", "half"), strict=True):
        read_checkpoint(tmp_path / folder / LAST).restore(model)
    assert equal_weights(*last)


class Steps(Listener):
    """Remembers the losses of steps; stops a training in the place of step `stop_at` of epoch `stop_in`, if any."""

    class Stop(Exception):
        pass

    def __init__(self, stop_in=-1, stop_at=-1):
        self.seen, self.warnings, self.stop, self.start = {}, [], (stop_in, stop_at), None

    def go_on(self, epoch, step):
        self.start = epoch, step

    def warn(self, message):
        self.warnings.append(message)

    def watch(self, batches, n_batches, name):
        for k, batch in enumerate(batches):
            if name == f"epoch {self.stop[0] + 1}" and k == self.stop[1]:
                raise self.Stop
            yield batch

    def steps(self, losses):
        self.seen |= {(one.epoch, one.step): (one.loss, one.learning_rate) for one in losses}


def stopped(data, config, folder, epoch, step):
    listener = Steps(epoch, step)
    with pytest.raises(Steps.Stop):
        train(fresh(data), data, config, folder, listener=listener)
    return listener


SCHEDULES = {
    "plateau": {},
    "cosine": {"schedule": {"name": "cosine", "warm_up_epochs": 0.5}, "optimizer": {"name": "adamw"}},
    "float16": {"precision": "float16"},
}


@pytest.mark.parametrize("changed", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(("every_steps", "start"), [(4, (2, 8)), (None, (2, 0))], ids=["within", "at-epochs"])
def test_every_step_after_a_stop_has_the_loss_of_the_uninterrupted_run(data, tmp_path, changed, every_steps, start):
    config = TrainingConfig(epochs=4, device="cpu", checkpoint={"every_steps": every_steps}, **changed)
    whole = Steps()
    trained = train(fresh(data), data, config, tmp_path / "whole", listener=whole)
    before = stopped(data, config, tmp_path / "half", 2, 11)
    after = Steps()
    torch.manual_seed(99)
    resumed = train(Linear(186, 5), data, config, tmp_path / "half", listener=after)
    assert after.start == start
    assert min(after.seen) == start
    assert before.seen | after.seen == whole.seen
    assert without_time(resumed.history) == without_time(trained.history)
    assert equal_weights(resumed.model, trained.model)


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "cut":
        del content[-100:]
    else:
        content[-40] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["cut", "changed"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(data, tmp_path, how):
    config = TrainingConfig(epochs=2, device="cpu", checkpoint={"every_steps": 4})
    whole, after = Steps(), Steps()
    train(fresh(data), data, config, tmp_path / "whole", listener=whole)
    before = stopped(data, config, tmp_path / "half", 1, 9)
    damage(tmp_path / "half" / LAST, how)
    train(fresh(data), data, config, tmp_path / "half", listener=after)
    assert after.start == (1, 4)
    assert len(after.warnings) == 1
    assert f"{LAST}: no whole checkpoint" in after.warnings[0]
    assert before.seen | after.seen == whole.seen


def test_without_a_whole_checkpoint_the_file_is_named(data, tmp_path):
    config = TrainingConfig(epochs=1, device="cpu", checkpoint={"every_steps": 4})
    train(fresh(data), data, config, tmp_path)
    for path in tmp_path.glob(f"*{LAST}"):
        damage(path, "cut")
    with pytest.raises(CheckpointError, match=r"previous-last\.safetensors: no whole checkpoint"):
        train(fresh(data), data, config, tmp_path)


def test_a_damaged_best_checkpoint_is_named_before_training_goes_on(data, tmp_path):
    train(fresh(data), data, CONFIG, tmp_path)
    damage(tmp_path / BEST, "changed")
    with pytest.raises(CheckpointError, match=r"best\.safetensors"):
        train(fresh(data), data, CONFIG, tmp_path)


def test_a_stop_between_two_renames_leaves_the_checkpoint_before(data, tmp_path):
    train(fresh(data), data, CONFIG, tmp_path)
    (tmp_path / LAST).rename(one_before(tmp_path / LAST))
    after = Steps()
    train(fresh(data), data, CONFIG, tmp_path, listener=after)
    assert after.start == (4, 0)


class Spoiler(Listener):
    """Turns a model's weights round after some epochs, so that those that follow are worse."""

    def __init__(self, model, n_epochs):
        self.model, self.left = model, n_epochs

    def epoch(self, entry):
        self.left -= 1
        if self.left == 0:
            with torch.no_grad():
                self.model.layers[-1].weight.neg_()


def test_the_best_weights_are_restored_and_not_the_last(data, tmp_path):
    config = TrainingConfig(
        epochs=5, device="cpu", optimizer=OptimizerConfig(lr=3e-3), average_decay=0, class_weights="none", seed=1
    )
    model = fresh(data)
    trained = train(model, data, config, tmp_path, listener=Spoiler(model, 3))
    scores = [entry["validation"]["f1"] for entry in trained.history]
    assert trained.best_epoch == int(np.argmax(scores))
    assert trained.best_epoch < len(scores) - 1
    logits = predict_logits(trained.model, data.validation, torch.device("cpu"))
    again = float(torch.nn.functional.cross_entropy(torch.from_numpy(logits[:, 0]), data.validation.target))
    last = fresh(data)
    read_checkpoint(tmp_path / LAST).restore(last)
    assert not equal_weights(trained.model, last)
    assert again == pytest.approx(trained.history[trained.best_epoch]["validation_loss"], rel=1e-4)


def test_a_best_checkpoint_that_scores_otherwise_is_refused(data, tmp_path):
    train(fresh(data), data, CONFIG, tmp_path)
    save_checkpoint(tmp_path / BEST, fresh(data), {"epoch": 0})
    with pytest.raises(CheckpointError, match="validation loss"):
        train(fresh(data), data, CONFIG, tmp_path)


def test_training_stops_when_the_watched_score_stalls(data):
    config = TrainingConfig(
        epochs=30,
        device="cpu",
        optimizer=OptimizerConfig(lr=1e-8),
        early_stopping=EarlyStoppingConfig(monitor="validation_loss", patience=4),
    )

    class Frozen(Linear):
        def forward(self, signal, features=None):
            return super().forward(signal) * 0

    torch.manual_seed(0)
    trained = train(Frozen(186, 5), data, config)
    assert len(trained.history) == 5
    assert trained.best_epoch == 0


def test_the_rate_falls_before_training_stops(data):
    config = TrainingConfig(epochs=30, device="cpu", early_stopping=EarlyStoppingConfig(monitor="macro_f1"))

    class Constant(Linear):
        def forward(self, signal, features=None):
            return super().forward(signal) * 0

    torch.manual_seed(0)
    rates = [entry["learning_rate"] for entry in train(Constant(186, 5), data, config).history]
    assert rates == [1e-3] * 4 + [5e-4] * 2


def test_a_loss_that_is_not_a_number_stops_with_what_was_seen(data):
    class Broken(Linear):
        def forward(self, signal, features=None):
            return super().forward(signal) + float("nan")

    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1, step 1, at learning rate 0\.001"):
        train(Broken(186, 5), data, CONFIG)


def test_a_validation_loss_that_is_not_a_number_stops_too(data):
    class BrokenInScoring(Linear):
        def forward(self, signal, features=None):
            return super().forward(signal) + (0.0 if self.training else float("inf"))

    with pytest.raises(TrainingError, match="the loss of validation is nan after epoch 1"):
        train(BrokenInScoring(186, 5), data, CONFIG)


def test_the_gradient_is_clipped(data):
    weights = []
    for clip in (1e-12, None):
        model = fresh(data)
        before = {name: value.clone() for name, value in model.named_parameters()}
        config = TrainingConfig(epochs=1, gradient_clip=clip, optimizer=OptimizerConfig(weight_decay=0.0))
        train(model, data, config)
        weights.append(max((value - before[name]).abs().max().item() for name, value in model.named_parameters()))
    assert weights[0] < 0.1 * weights[1]


def test_training_never_sees_a_validation_or_test_row(data):
    seen: list[int] = []

    class Spy(Listener):
        def watch(self, batches, n_batches, name):
            for batch in batches:
                if name.startswith("epoch"):
                    seen.extend(batch.rows.tolist())
                yield batch

    train(fresh(data), data, TrainingConfig(epochs=2, device="cpu"), listener=Spy())
    assert sorted(seen) == sorted(data.train.rows.tolist() * 2)
    assert not set(seen) & (set(data.validation.rows.tolist()) | set(data.test.rows.tolist()))


def test_no_test_row_is_read_before_the_best_epoch_is_chosen(data):
    blind = dataclasses.replace(data, test=None)
    assert without_time(train(fresh(blind), blind, CONFIG).history) == without_time(
        train(fresh(data), data, CONFIG).history
    )


def test_a_batch_in_parts_moves_the_weights_as_a_whole_one(data):
    class Plain(Linear):
        def forward(self, signal, features=None):
            return self.layers[3](signal.flatten(1))

    found = []
    for accumulation in (1, 3):
        torch.manual_seed(0)
        listener = Steps()
        train(Plain(186, 5), data, TrainingConfig(epochs=1, accumulation=accumulation, device="cpu"), listener=listener)
        found.append([loss for loss, _ in listener.seen.values()])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_a_monitored_score_may_be_that_of_one_class(data):
    config = TrainingConfig(epochs=3, device="cpu", early_stopping={"monitor": "f1:V"})
    trained = train(fresh(data), data, config)
    scores = [entry["per_class"]["V"]["f1"] for entry in trained.history]
    assert scores[trained.best_epoch] == max(scores)
    with pytest.raises(UnknownNameError, match="Did you mean 'macro_f1'"):
        train(fresh(data), data, TrainingConfig(epochs=1, early_stopping={"monitor": "macrof1"}))


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(data):
    losses = []
    data = dataclasses.replace(data, train=first_of(data.train, 128))  # batches of one size: compiled once
    for compiled in (False, True):
        model = fresh(data)
        model.layers[2].p = 0.0  # compiled dropout draws other numbers
        trained = train(model, data, TrainingConfig(epochs=1, compile=compiled, device="cpu"))
        losses.append(trained.history[0]["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_several_labels_a_row_are_watched_by_auroc_then_loss(records_store):
    data = loaders(records_store, batch_size=16)
    trained = train(Linear(750, 5), data, CONFIG)
    ranks = [(-entry["validation"]["auroc"], entry["validation_loss"]) for entry in trained.history]
    assert trained.best_epoch == ranks.index(min(ranks))


def test_bfloat16_trains_with_float32_weights(beats_store):
    data = loaders(beats_store, batch_size=64, context=[])
    torch.manual_seed(0)
    model = create_model("resnet1d_wang", **vars(data.shape))
    trained = train(model, data, TrainingConfig(epochs=1, precision="bfloat16", device="cpu"))
    assert all(parameter.dtype == torch.float32 for parameter in trained.model.parameters())
    assert np.isfinite(trained.history[0]["validation_loss"])


def test_a_cut_checkpoint_is_refused(data, tmp_path):
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, fresh(data), {"history": []})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        read_checkpoint(path)


def test_a_checkpoint_of_another_model_is_refused(data, tmp_path):
    save_checkpoint(tmp_path / "best.safetensors", fresh(data), {"epoch": 0})
    with pytest.raises(CheckpointError, match="another model"):
        read_checkpoint(tmp_path / "best.safetensors").restore(Linear(186, 7))


def test_a_checkpoint_is_read_back_as_it_was_written(data, tmp_path):
    model = fresh(data)
    optimizer = torch.optim.Adam(model.parameters())
    model(signal=torch.randn(4, 1, 186)).sum().backward()
    optimizer.step()
    state = json.loads(json.dumps({"history": [{"epoch": 0, "f1": None}], "schedule": {"best": float("inf")}}))
    save_checkpoint(tmp_path / "last.safetensors", model, state, optimizer)
    other = Linear(186, 5)
    other_optimizer = torch.optim.Adam(other.parameters())
    checkpoint = read_checkpoint(tmp_path / "last.safetensors")
    checkpoint.restore(other, other_optimizer)
    assert checkpoint.state.items() >= state.items()
    assert equal_weights(model, other)
    ours, theirs = (one.state_dict()["state"] for one in (optimizer, other_optimizer))
    assert all(torch.equal(ours[p][key], theirs[p][key]) for p in ours for key in ours[p])


def test_an_undefined_watched_score_leaves_the_choice_to_the_loss(beats_store):
    data = loaders(beats_store, context=[])
    normal = np.flatnonzero(data.label.values[data.validation.rows] == 0)
    validation = dataclasses.replace(data.validation, items=data.validation.items.only(normal))
    only_normal = dataclasses.replace(data, validation=validation)
    config = TrainingConfig(epochs=2, early_stopping=EarlyStoppingConfig(monitor="macro_auroc"))
    trained = train(fresh(data), only_normal, config)
    losses = [entry["validation_loss"] for entry in trained.history]
    assert trained.best_epoch == losses.index(min(losses))
    assert trained.history[0]["validation"]["auroc"] is None


def test_the_average_follows_the_weights_and_forgets_the_start():
    model = torch.nn.Linear(2, 1)
    average = WeightAverage(model, decay=0.9)
    with torch.no_grad():
        model.weight.fill_(1.0)
    for step in range(200):
        average.update(model, step)
    torch.testing.assert_close(average.model.weight, model.weight)


def test_without_decay_the_average_is_the_last_step():
    model = torch.nn.BatchNorm1d(3)
    average = WeightAverage(model, decay=0)
    model(torch.randn(8, 3))
    average.update(model, 0)
    assert equal_weights(average.model, model)
