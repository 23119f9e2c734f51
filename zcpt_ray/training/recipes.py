"""Training recipes: how a found network is trained, as data. A new one is a row.

All use SGD with momentum 0.9, but where they say AdamW. Images are mirrored only where the data set says that this
keeps the label.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

Schedule = Callable[[float, int], float]
"""(epochs that are over, epochs in all) -> share of the initial learning rate."""


def cosine(done: float, epochs: int) -> float:
    """From 1 at the start to 0 at the end (Loshchilov and Hutter 2017)."""
    return (1 + math.cos(math.pi * done / epochs)) / 2


def cosine_with_warmup(done: float, epochs: int) -> float:
    """Linear over the first twentieth, three epochs at most, and `cosine` as well."""
    few = min(3.0, epochs / 20)
    return cosine(done, epochs) * min(1.0, (done + 0.01) / few)


def by_three_percent(done: float, epochs: int) -> float:
    """Each epoch has 0.97 of the rate of the one before, however many there are."""
    return float(0.97**done)


def linear_with_warmup(done: float, epochs: int) -> float:
    """Linear decay that is slower in the last five epochs, after a linear warm-up over the first five.

    As P-DARTS (Chen et al. 2019) trains on ImageNet. Trainings of fewer than ten epochs warm up for half of them.
    """
    few = min(5, epochs // 2)
    left = epochs - done
    share = (left - few) / (epochs - few) if left > few else left / ((epochs - few) * few)
    return share * (done + 1) / few if done < few else share


@dataclass(frozen=True)
class Recipe:
    """How networks are trained. `TrainConfig` can replace the number of epochs and the batch size only."""

    name: str
    epochs: int
    batch_size: int
    learning_rate: float
    schedule: Schedule
    weight_decay: float
    nesterov: bool = False
    momentum: float = 0.9
    per_step: bool = False
    """Follow the schedule in every step; otherwise the learning rate stays the same for an epoch."""
    decay_all: bool = True
    """Decay the parameters of batch norms and the biases too."""
    gradient_clip: float = math.inf
    """Greatest norm of the gradient."""
    label_smoothing: float = 0.0
    cutout: int = 0
    """Side of the square [pixels] that is blanked in each image (DeVries and Taylor 2017)."""
    jitter: float = 0.0
    """Brightness, contrast and saturation change by a factor of 1 - jitter to 1 + jitter."""
    auxiliary: float = 0.0
    """What the loss of the auxiliary head counts, in networks that can have one."""
    drop_path: float = 0.0
    """Probability that an edge of a DARTS cell gives nothing for an image; it grows linearly from 0."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Of the network, where they are not those that the space usually has: some of `Space.trained_sizes`."""
    imagenet: bool = False
    """Networks are built for images of 224 pixels, where the space has such a form."""
    adamw: bool = False
    """Take the steps by AdamW (Loshchilov and Hutter 2019) instead of SGD."""
    affine: float = 0.0
    """Images are turned by up to 45 degrees times this, and scaled, moved and sheared by up to this share."""
    balanced: bool = False
    """Images of rare classes count more in the loss, so that every class counts the same."""


# DARTS' evaluation on CIFAR-10 (Liu et al. 2019), which the literature on its space trains by.
CIFAR = Recipe("cifar", 600, 96, 0.025, cosine, 3e-4, gradient_clip=5.0, cutout=16, auxiliary=0.4, drop_path=0.2)
# DARTS' networks on ImageNet, as P-DARTS and PC-DARTS train them; without the jitter of the hue, and without drop path.
IMAGENET_DARTS = Recipe(
    "imagenet-darts",
    250,
    1024,
    0.5,
    linear_with_warmup,
    3e-5,
    gradient_clip=5.0,
    label_smoothing=0.1,
    jitter=0.4,
    auxiliary=0.4,
    imagenet=True,
)
# This package's own, for a few hundred to some ten thousand images of a user's and networks of about 1 M parameters.
SMALL_DATA = Recipe(
    "small-data",
    60,
    64,
    0.003,
    cosine_with_warmup,
    0.05,
    per_step=True,
    decay_all=False,
    gradient_clip=5.0,
    label_smoothing=0.1,
    jitter=0.3,
    affine=0.15,
    adamw=True,
    balanced=True,
)
RECIPES = {
    recipe.name: recipe
    for recipe in (
        CIFAR,
        # The same for the small networks of S1 to S4 on CIFAR-100 and SVHN (Zela et al. 2020; table A9 of the paper).
        # On SVHN the paper mirrors images: --flip.
        replace(CIFAR, name="cifar-subspaces", sizes=MappingProxyType({"channels": 16, "num_cells": 8})),
        # How each network of NAS-Bench-201 was trained (Dong and Yang 2020, table 1).
        Recipe("nb201", 200, 256, 0.1, cosine, 5e-4, nesterov=True),
        IMAGENET_DARTS,
        # DARTS' own on ImageNet (Liu et al. 2019), by which the paper trained.
        replace(
            IMAGENET_DARTS,
            name="imagenet-darts-original",
            batch_size=128,
            learning_rate=0.1,
            schedule=by_three_percent,
        ),
        # Appendix A.12 of the Zero-Cost-PT paper: as ProxylessNAS (Cai et al. 2019), over 8 GPUs, with a learning rate
        # of 0.5.
        Recipe(
            "imagenet-mobilenet",
            300,
            1024,
            0.5,
            cosine,
            4e-5,
            nesterov=True,
            per_step=True,
            decay_all=False,
            label_smoothing=0.1,
            jitter=0.4,
            imagenet=True,
        ),
        SMALL_DATA,
        # The same where there are steps enough for SGD, which then ends a little better.
        replace(
            SMALL_DATA,
            name="small-data-sgd",
            learning_rate=0.1,
            weight_decay=5e-4,
            adamw=False,
            nesterov=True,
        ),
    )
}
