"""Training on few images: averages of weights, held-out images, weights of classes, mixed and transformed images."""

import dataclasses
import itertools
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from epoch_rows import timeless
from torch import nn

from zcpt_ray.datasets.augmentation import transform
from zcpt_ray.datasets.minibatches import Batch, ImageSet, held_out_places
from zcpt_ray.errors import UserError
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.averaging import AveragedWeights
from zcpt_ray.training.image_feed import WorkerPart
from zcpt_ray.training.model_file import load_model
from zcpt_ray.training.objective import Objective
from zcpt_ray.training.optimizer import optimizer
from zcpt_ray.training.pace import images_per_second
from zcpt_ray.training.plan import TrainPlan
from zcpt_ray.training.recipes import RECIPES
from zcpt_ray.training.records import EpochMetrics, TrainResult, kept_epoch
from zcpt_ray.training.trainer import Trainer, train

SMALL = TrainConfig(
    "nor_conv_3x3>skip_connect",
    space="toy-chain-2",
    dataset="digits",
    recipe="small-data",
    epochs=4,
    batch_size=16,
    max_images=80,
    ema=0.9,
    validation_share=0.25,
    mixup=0.2,
)


def rows(*validation_errors: float | None) -> list[EpochMetrics]:
    return [EpochMetrics(i, 0.1, 1.0, 1.0, 1.0, 1.0, None, 1.0, 1.0, e) for i, e in enumerate(validation_errors)]


def test_the_average_by_hand() -> None:
    """Step t has a decay of (1 + t) / (10 + t), or 0.5 from where that is more."""
    net = nn.Linear(1, 1, bias=False)
    values, average = [4.0, 0.0, 1.0, 3.0, 2.0, 7.0, 1.0, 5.0, 0.5, 9.0], 2.0
    net.weight.data.fill_(average)
    averaged = AveragedWeights(net, decay=0.5)
    for step, value in enumerate(values):
        net.weight.data.fill_(value)
        averaged.update(net)
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * value
    with averaged.applied(net):
        assert net.weight.item() == pytest.approx(average)
    assert net.weight.item() == values[-1]


def test_the_average_takes_statistics_and_counts() -> None:
    net = nn.BatchNorm1d(2)
    averaged = AveragedWeights(net, decay=0.9)
    net(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    averaged.update(net)
    with averaged.applied(net):
        assert int(net.num_batches_tracked) == 1
    again = AveragedWeights(nn.BatchNorm1d(2), decay=0.9)
    again.load(averaged.state())
    assert again.steps == 1
    assert all(torch.equal(value, averaged.values[name]) for name, value in again.values.items())


def test_of_each_class_its_share_is_held_out() -> None:
    labels = np.repeat([0, 1, 2], [20, 10, 1])
    held_out = held_out_places(labels, 0.2, np.random.default_rng(0))
    assert np.bincount(labels[held_out], minlength=3).tolist() == [4, 2, 0]
    assert held_out_places(labels, 0.89, np.random.default_rng(0))[-1] == 0  # the only image of its class


def test_the_epoch_that_is_kept() -> None:
    assert kept_epoch(rows(None, None)).epoch == 1
    assert kept_epoch(rows(3.0, 1.0, 2.0)).epoch == 1
    assert kept_epoch(rows(3.0, 1.0, 1.0, 2.0)).epoch == 2
    assert kept_epoch(rows(0.0, 1.0)).epoch == 0


def test_the_best_epoch_is_the_model(tmp_path: Path) -> None:
    """The weights in the model file give the validation and the test error of the epoch that is kept."""
    plan = TrainPlan.of(dataclasses.replace(SMALL, epochs=6))
    history = list(train(plan, tmp_path))
    errors = [row.validation_error for row in history]
    best = kept_epoch(history)
    assert best.validation_error == min(errors)
    model = load_model(tmp_path)
    assert model.info.metrics["epoch"] == best.epoch
    tests = plan.dataset.load("test").thinned(80)
    pictures = list(tests.take(np.arange(len(tests))))
    wrong = (model.probabilities(pictures).argmax(1) != tests.labels).mean()
    assert 100 * wrong == pytest.approx(best.top1_error)
    assert TrainResult.load(tmp_path).error == best.top1_error


def test_held_out_images_are_not_learned_from() -> None:
    trainer = Trainer(TrainPlan.of(SMALL), WorkerPart())
    assert trainer.validation
    seen, held_out = ({image.tobytes() for image in part.images.take(slice(None))} for part in parts(trainer))
    assert not seen & held_out
    assert len(trainer.feed.images) + len(trainer.validation.images) == 80


def parts(trainer: Trainer) -> tuple[object, object]:
    assert trainer.validation
    return trainer.feed, trainer.validation


def test_it_ends_early(tmp_path: Path) -> None:
    """A learning rate that moves nothing never gets better than the first epochs."""
    config = dataclasses.replace(SMALL, epochs=50, patience=2)
    history = list(train(TrainPlan.of(config), tmp_path))
    assert len(history) < 50
    assert len(history) - 1 - kept_epoch(history).epoch == 2
    assert len(TrainResult.load(tmp_path).history) == len(history)
    assert timeless(list(train(TrainPlan.of(config), tmp_path))) == timeless(history)  # finished: nothing is done


def test_a_stopped_training_ends_as_one_that_never_stopped(tmp_path: Path) -> None:
    plan = TrainPlan.of(SMALL)
    whole = timeless(list(train(plan, tmp_path / "whole")))
    stopped = list(itertools.islice(train(plan, tmp_path / "stopped"), 2))
    assert timeless(stopped) == whole[:2]
    assert timeless(list(train(plan, tmp_path / "stopped"))) == whole
    one, other = (load_model(tmp_path / name).network.state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ema": 1.0}, "ema must be at least 0 and below 1, got 1"),
        ({"validation_share": 0.95}, "validation_share must be at least 0 and below 0.9"),
        ({"validation_share": 0.0, "patience": 3}, "patience needs a validation_share"),
        ({"mixup": -1.0}, "mixup must be at least 0"),
    ],
)
def test_options_out_of_range(changes: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SMALL, **changes)


def test_too_few_images_to_hold_out() -> None:
    with pytest.raises(UserError, match=r"validation_share 0.01 of 80 training images leaves nothing on one side"):
        list(train(TrainPlan.of(dataclasses.replace(SMALL, validation_share=0.01))))


def test_old_trainings_have_their_names() -> None:
    plain = dataclasses.replace(SMALL, ema=0.0, validation_share=0.0, mixup=0.0)
    assert not {"ema", "mixup", "validation_share", "patience"} & set(TrainPlan.of(plain).identity)


def uneven(images: ImageSet) -> ImageSet:
    labels = np.repeat([0, 1, 2], [30, 8, 2])
    return dataclasses.replace(images, labels=labels)


def test_rare_classes_count_more(images: ImageSet, caplog: pytest.LogCaptureFixture) -> None:
    """Each class counts the same in all; by hand for one minibatch."""
    caplog.set_level(logging.INFO)
    data = uneven(images)
    objective = Objective.of(RECIPES["small-data"], data, 0.0, "cpu")
    weights = objective.class_weights
    assert weights is not None
    assert (weights * torch.tensor([30, 8, 2])).tolist() == pytest.approx([40 / 3] * 3)
    assert "classes have 2 to 30 training images: rare ones count more in the loss" in caplog.text
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    batch = Batch(torch.randn(6, 3, 32, 32), torch.tensor([0, 0, 0, 1, 1, 2]))
    whole, loss, right = objective(net, batch)
    expected = F.cross_entropy(net(batch.images), batch.labels, weight=weights, label_smoothing=0.1)
    assert whole.item() == loss.item() == pytest.approx(expected.item())
    assert int(right) == int((net(batch.images).argmax(1) == batch.labels).sum())
    assert Objective.of(RECIPES["cifar"], data, 0.0, "cpu").class_weights is None


def test_mixed_images_and_losses() -> None:
    torch.manual_seed(0)
    share = float(torch.distributions.Beta(0.2, 0.2).sample())
    batch = Batch(torch.randn(4, 3, 8, 8), torch.arange(4))
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    torch.manual_seed(0)
    whole, *_ = Objective(RECIPES["nb201"], mixup=0.2)(net, batch)
    logits = net(share * batch.images + (1 - share) * batch.images.flip(0))
    one, other = F.cross_entropy(logits, batch.labels), F.cross_entropy(logits, torch.arange(3, -1, -1))
    assert whole.item() == pytest.approx((share * one + (1 - share) * other).item(), rel=1e-5)


def test_transformed_images() -> None:
    image = torch.arange(3 * 9 * 9, dtype=torch.uint8).reshape(1, 3, 9, 9)
    still = transform(image, torch.zeros(1, 5), 0.5)
    torch.testing.assert_close(still, image.float())
    down = transform(image, torch.tensor([[0.0, 0, 2 / 9, 0, 0]]), 1.0)  # by two of nine rows
    torch.testing.assert_close(down[:, :, :-2], image[:, :, 2:].float(), atol=1e-3, rtol=0)
    right = transform(image, torch.tensor([[0.0, 0, 0, 1 / 9, 0]]), 1.0)
    torch.testing.assert_close(right[:, :, :, :-1], image[:, :, :, 1:].float(), atol=1e-3, rtol=0)
    turned = transform(image, torch.tensor([[2.0, 0, 0, 0, 0]]), 1.0)  # twice 45 degrees
    torch.testing.assert_close(turned, image.float().rot90(1, (2, 3)), atol=1e-3, rtol=0)
    strong = transform(image, 2 * torch.rand(1, 5) - 1, 0.15)
    assert strong.shape == image.shape
    assert float(strong.min()) >= 0
    assert float(strong.max()) <= 255


def test_adamw_decays_weights_only() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    found = optimizer(net, RECIPES["small-data"])
    assert isinstance(found, torch.optim.AdamW)
    assert [(len(group["params"]), group["weight_decay"]) for group in found.param_groups] == [(1, 0.05), (3, 0.0)]
    assert isinstance(optimizer(net, RECIPES["small-data-sgd"]), torch.optim.SGD)


def test_the_pace_is_a_number_of_images() -> None:
    state = torch.random.get_rng_state()
    assert 1 < images_per_second(TrainPlan.of(SMALL), 10, (3, 32, 32)) < 1e6
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.data
def test_it_learns_what_digits_are() -> None:
    config = dataclasses.replace(SMALL, space="photos-small", arch=",".join(["MB3_K3"] * 10), epochs=5, max_images=0)
    history = list(train(TrainPlan.of(dataclasses.replace(config, mixup=0.0, validation_share=0.1))))
    assert kept_epoch(history).top1_error < 10
