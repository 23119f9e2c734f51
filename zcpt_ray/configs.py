"""What a run is: frozen, checked configurations, and the presets."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zcpt_ray.errors import UserError

DEVICES = ("auto", "cpu", "cuda")


def _check_least(config: object, least: Mapping[str, float]) -> None:
    for name, bound in least.items():
        value = getattr(config, name)
        if not value >= bound:
            raise UserError(f"{name} must be at least {bound:g}, got {value}")


@dataclass(frozen=True)
class SupernetTraining:
    """How a supernet is trained for the scorings that need that: `darts`, `darts-pt`, `disc-acc`. Defaults: DARTS-PT's.

    Weights: SGD with momentum, cosine decay to `min_learning_rate`. Alphas: Adam, first order, on the held-out half.

    Raises:
        UserError: a number is out of range.
    """

    epochs: int = 60
    """Epochs over the search half before anything is scored."""
    retrain_epochs: int = 5
    """Epochs after each decision (darts-pt, disc-acc), and of each discretized supernet that disc-acc judges."""
    training_batch_size: int = 64
    """Images per step."""
    learning_rate: float = 0.025
    """Of the weights, at the start."""
    min_learning_rate: float = 0.001
    """Of the weights, at the end and when retraining."""
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 3e-4
    """Of the weights."""
    gradient_clip: float = 5.0
    """Greatest norm of the weights' gradient."""
    alpha_learning_rate: float = 3e-4
    """Of the architecture parameters alpha, with Adam, betas 0.5 and 0.999, weight decay 0.001."""
    fixed_alpha: bool = False
    """Leave alphas equal: DARTS-PT (fix alpha)."""
    max_images: int = 0
    """Train and judge on the first so many images of each half, for a machine without a GPU; 0 takes all."""

    def __post_init__(self) -> None:
        whole = {"epochs": 0, "retrain_epochs": 0, "training_batch_size": 2, "max_images": 0}
        rates = ("learning_rate", "min_learning_rate", "momentum", "weight_decay", "gradient_clip", "alpha_learning_rate")
        _check_least(self, whole | dict.fromkeys(rates, 0))


@dataclass(frozen=True)
class SearchConfig:
    """One Zero-Cost-PT search (algorithm 1 of the paper).

    Raises:
        UserError: a number is out of range. Names are looked up by `search.resolve`.
    """

    space: str = "nasbench201"
    """Search space."""
    dataset: str = "digits"
    """Data set, or a folder of images with a subfolder per class; its images give the minibatches."""
    proxy: str = "nwot-released"
    """Zero-cost proxy S that scores supernets and networks."""
    scoring: str = "zc-pt"
    """Operation scoring function: what is asked of the proxy to rate an op."""
    method: str = "discretize"
    """How an architecture is proposed: discretize a supernet edge by edge, or one of the baselines."""
    order: str = "random"
    """In which order edges are discretized."""
    num_proposals: int = 10
    """N: how often the whole supernet is discretized."""
    num_validations: int = 100
    """V: on how many minibatches each candidate is scored end to end; with 0 the most often proposed candidate wins."""
    batch_size: int = 256
    """Images per minibatch."""
    seed: int = 0
    """Search seed."""
    evaluations: int = 500
    """Networks that one proposal of evolution scores."""
    max_params: float | None = None
    """Budget: at most so many million parameters, in the network that one would train."""
    max_flops: float | None = None
    """Budget: at most so many million multiply-adds, in that network on one image."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU if there is one."""
    training: SupernetTraining = SupernetTraining()

    def __post_init__(self) -> None:
        _check_least(self, {"num_proposals": 1, "num_validations": 0, "batch_size": 2, "seed": 0, "evaluations": 1})
        for name in ("max_params", "max_flops"):
            if (limit := getattr(self, name)) is not None and not limit > 0:
                raise UserError(f"{name} must be a number of millions above 0, got {limit}")
        if self.device not in DEVICES:
            raise UserError(f"unknown device {self.device!r}; choose from {', '.join(DEVICES)}")

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> "SearchConfig":
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**raw, "training": SupernetTraining(**raw["training"])})


PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """One training of one architecture. What is None is as the recipe says.

    Raises:
        UserError: a number is out of range. Names are looked up by `training.resolve`.
    """

    arch: str
    """The architecture, encoded as its space does."""
    space: str = "nasbench201"
    """Search space that the architecture is of."""
    dataset: str = "cifar10"
    """Data set, or a folder of images: trained on all its training images, tested on its test images."""
    recipe: str = "cifar"
    """How it is trained."""
    seed: int = 0
    """Training seed."""
    epochs: int | None = None
    """Passes over the training images."""
    batch_size: int | None = None
    """Images per step, over all workers."""
    channels: int | None = None
    """Initial channels, on the DARTS spaces only; CIFAR: 36, ImageNet: 48."""
    num_cells: int | None = None
    """Cells, on the DARTS spaces only; CIFAR: 20, ImageNet: 14."""
    max_images: int = 0
    """Train and test on so many images, evenly spread over the data set, for a machine without a GPU; 0 takes all."""
    precision: str = "auto"
    """Of the forward pass: float32, bfloat16 (autocast), or auto: bfloat16 on a GPU that has it."""
    compile: bool = False
    """Pass the network through torch.compile."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU if there is one."""
    loader_workers: int = 4
    """Processes that decode images which do not fit in memory (ImageNet); 0 decodes in the training process."""

    def __post_init__(self) -> None:
        least = {"seed": 0, "epochs": 1, "batch_size": 2, "channels": 1, "num_cells": 3, "max_images": 0, "loader_workers": 0}
        _check_least(self, {name: bound for name, bound in least.items() if getattr(self, name) is not None})
        for name, choices in (("device", DEVICES), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise UserError(f"unknown {name} {getattr(self, name)!r}; choose from {', '.join(choices)}")

    @property
    def setting(self) -> "TrainConfig":
        """The same without what differs within one experiment: architecture, space and seed, nor where it runs."""
        return TrainConfig(**{**vars(self), "arch": "", "space": "", "seed": 0, "device": "auto", "loader_workers": 0})


def run_id(config: SearchConfig | TrainConfig) -> str:
    """A short digest of the configuration: the name of its run."""
    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


DARTS_SPACES = ("darts", *(f"darts-{kind}" for kind in ("imagenet", "with-none", "s1", "s2", "s3", "s4")))
SMOKE_SPACES = {name: f"{name}-small" for name in DARTS_SPACES}
"""What a smoke run searches in place of a space that takes minutes: the same choices in smaller networks."""


def smoke(config: SearchConfig) -> SearchConfig:
    """The same search, as small as it goes: it shows that everything runs, not what the method finds.

    Seconds on one CPU core, a minute or two where gradients or a trained supernet are asked often. 4 images are the fewest that
    every proxy takes.
    """
    training = dataclasses.replace(config.training, epochs=1, retrain_epochs=1, max_images=16, training_batch_size=8)
    few = min(config.num_proposals, 2), min(config.num_validations, 3)
    config = dataclasses.replace(config, space=SMOKE_SPACES.get(config.space, config.space))
    return dataclasses.replace(config, num_proposals=few[0], num_validations=few[1], batch_size=4, evaluations=8, training=training)
