"""What `zcpt fit` chooses where the user does not: from the data, and from the time that there is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets import find_dataset
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.fit_config import CHOSEN, FitConfig
from zcpt_ray.resources import RESOURCES
from zcpt_ray.search.methods import random_arch
from zcpt_ray.seeding import generator
from zcpt_ray.spaces import find_space
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.pace import images_per_second
from zcpt_ray.training.plan import TrainPlan

SIZES = (224, 192, 160, 128, 96, 64)
"""Pixels a side that larger images are brought to, the largest for which there is time."""
SMALL_UP_TO = 64
"""Pixels a side up to which networks keep the resolution of an image longer."""
WISHED_EPOCHS, FEWEST_EPOCHS, MOST_EPOCHS = 15, 5, 100
"""Epochs that an image size has to leave time for; below which rather images are left out; that are enough."""
TRAINING_SHARE = 0.7
"""Of the time, what is for training."""
FEW_TESTS = 200
"""Test images below which it is said that errors say little: their standard error is up to half of 1 / sqrt(images)."""
FEW_JUDGES = 25
"""Validation images below which it is said that they choose a model by chance."""
MANY_STEPS = 20_000
"""From so many steps on SGD trains instead of AdamW."""


@dataclass(frozen=True)
class FitChoices:
    """The search and the training of a fit, but for the architecture and, unless given, the epochs."""

    search: SearchConfig
    training: TrainConfig
    said: tuple[str, ...] = field(default=(), compare=False)
    networks: tuple[str, ...] = ()
    """Those of the comparison for which there is time; none where that is not known."""


def choose(config: FitConfig, networks: int) -> FitChoices:
    """Look at the data, and choose what `config` leaves open, for so many `networks` to be trained.

    Raises:
        UserError: unknown names, missing data, or too few images.
    """
    images = find_dataset(config.dataset, config.images).load("train")
    natural, said = images.image_shape[-1], list[str]()
    batch_size = config.batch_size or max(4, min(64, len(images) // 16))
    if not config.batch_size:
        said.append(f"batch size {batch_size}: --batch-size gives another")
    space = config.space
    if space == CHOSEN:
        space = "photos-small" if (config.images.image_size or natural) <= SMALL_UP_TO else "photos"
        said.append(f"space {space}, which is for images of this size: --space gives another")
    share = config.validation_share if len(images) * config.validation_share >= images.num_classes else 0.0
    if share < config.validation_share:
        said.append("no validation split: there are too few images; the last epoch is kept")
    training = TrainConfig(
        "",
        space,
        config.dataset,
        "small-data" if config.recipe == CHOSEN else config.recipe,
        config.seed,
        batch_size=batch_size,
        max_images=config.max_images,
        device=config.device,
        ema=config.ema,
        validation_share=share,
        images=config.images,
    )
    size = config.images.image_size or natural
    if not config.images.image_size and natural > SIZES[-1]:
        size = _fitting_size(config, training, images, networks)
        training = replace(training, images=replace(config.images, image_size=size))
        said.append(f"images of {size}x{size}, the largest for which there is time: --image-size gives another")
    searched = max(2, min(32, len(images) // 4))
    return FitChoices(config.search_config(space, training.images, searched), training, tuple(said))


def _fitting_size(config: FitConfig, training: TrainConfig, images: ImageSet, networks: int) -> int:
    """The largest of `SIZES` with which `WISHED_EPOCHS` of all networks fit."""
    seconds = TRAINING_SHARE * 60 * config.minutes
    natural, count = images.image_shape[-1], min(len(images), config.max_images or len(images))
    sizes = [natural, *(size for size in SIZES if size < natural)] if natural <= SIZES[0] else list(SIZES)
    plan = _random_plan(training)
    for size in sizes:
        speed = images_per_second(plan, images.num_classes, (images.image_shape[0], size, size))
        if count * networks * (config.epochs or WISHED_EPOCHS) / speed <= seconds:
            return size
    return sizes[-1]


def _random_plan(training: TrainConfig) -> TrainPlan:
    space = find_space(training.space)
    arch = random_arch(space, generator(0, "a network to be timed"))
    return TrainPlan.of(replace(training, arch=space.encode(arch)))


def fitting_networks(plans: Mapping[str, TrainPlan], images: ImageSet, seconds: float) -> dict[str, float]:
    """Images a second of the networks for which there is time: `FEWEST_EPOCHS` of each, one after the other.

    Those that come first are preferred, and the first is always among them.
    """
    fitting, used = dict[str, float](), 0.0
    for name, plan in plans.items():
        speed = images_per_second(plan, images.num_classes, images.image_shape)
        needed = FEWEST_EPOCHS * _images_an_epoch(plan, images) / speed
        if not fitting or used + needed <= seconds:
            fitting[name] = speed
            used += needed
    return fitting


def _images_an_epoch(plan: TrainPlan, images: ImageSet) -> float:
    """How many images an epoch trains on, and what tests take, in such images."""
    return min(len(images), plan.config.max_images or len(images)) * (1.1 - plan.config.validation_share)


def fitting_epochs(
    config: FitConfig, plans: Sequence[TrainPlan], images: ImageSet, seconds: float, speeds: Sequence[float] = ()
) -> tuple[TrainConfig, tuple[str, ...]]:
    """How the networks of `plans` are trained, in so many seconds: epochs and, if there is no time for all, images.

    `speeds` are their images a second, where these are known.
    """
    training, count = plans[0].config, min(len(images), plans[0].config.max_images or len(images))
    speeds = speeds or [images_per_second(plan, images.num_classes, images.image_shape) for plan in plans]
    one_epoch = sum(1 / speed for speed in speeds) * _images_an_epoch(plans[0], images)
    epochs, said = config.epochs or int(seconds / one_epoch), list[str]()
    if not config.epochs:
        if epochs < FEWEST_EPOCHS and not config.max_images:
            count = max(int(count * seconds / (one_epoch * FEWEST_EPOCHS)), 2 * images.num_classes)
            training = replace(training, max_images=min(count, len(images)))
            said.append(f"{training.max_images} of {len(images)} images, as there is no time for all: --minutes")
        epochs = max(FEWEST_EPOCHS if not config.max_images else 1, min(epochs, MOST_EPOCHS))
        said.append(f"{epochs} epochs, which fit the time: --epochs gives another number")
    if config.recipe == CHOSEN:
        steps = epochs * count / plans[0].recipe.batch_size
        training = replace(training, recipe="small-data-sgd" if steps > MANY_STEPS else "small-data")
        said.append(f"recipe {training.recipe}: --recipe gives another")
    return replace(training, epochs=epochs, arch=""), tuple(said)


def limits_said(search: SearchConfig) -> str:
    """The budgets of a search, in words; nothing without any."""
    resources = ((RESOURCES[name], limit) for name, limit in search.limits.items())
    return ", ".join(f"at most {limit:g} {resource.unit} {resource.title}" for resource, limit in resources)


def doubts_said(tests: int, training: TrainConfig, images: int, networks: int) -> list[str]:
    """What to think of errors on few images, of so many networks; nothing of many images."""
    few = []
    if tests < FEW_TESTS:
        points = 100 / math.sqrt(tests)
        few.append(f"only {tests} test images: errors that differ by less than {points:.0f} points say nothing")
    judges = round(min(images, training.max_images or images) * training.validation_share)
    if networks > 1 and 0 < judges < FEW_JUDGES:
        few.append(f"only {judges} validation images choose the model: which of these networks it is says little")
    return few
