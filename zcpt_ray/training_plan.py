"""What a training configuration names, checked before any work."""

import dataclasses
import os
import shutil
from dataclasses import dataclass, replace

import torch
from torch import nn

from zcpt_ray.arch import Edge
from zcpt_ray.configs import TrainConfig
from zcpt_ray.data import local_device
from zcpt_ray.datasets import Dataset, find_dataset
from zcpt_ray.errors import UserError
from zcpt_ray.files import AnyPath
from zcpt_ray.recipes import RECIPES, Recipe
from zcpt_ray.registry import lookup
from zcpt_ray.run_directory import claim_directory
from zcpt_ray.spaces import Space, find_space
from zcpt_ray.spaces.darts import Darts

HARMLESS = ("loader_workers",)
"""In what a training that is taken up may differ from the one that was stopped."""


@dataclass(frozen=True)
class Plan:
    """What a configuration names. `recipe` has its number of epochs and batch size; `edges` are those of the architecture."""

    config: TrainConfig
    space: Space
    edges: tuple[Edge, ...]
    dataset: Dataset
    recipe: Recipe

    def build(self, num_classes: int) -> nn.Module:
        """The network, with an auxiliary head where recipe and space have one."""
        if isinstance(self.space, Darts):
            size = self.config.channels, self.config.num_cells
            return self.space.evaluation_network(self.edges, num_classes, *size, auxiliary=self.recipe.auxiliary > 0)
        return self.space.trained_form(self.edges, num_classes)


def resolve(config: TrainConfig) -> Plan:
    """Look up every name of `config`, before any work.

    Raises:
        UserError: an unknown name, an architecture that is not of the space, or what the space does not take.
    """
    recipe = lookup(RECIPES, config.recipe, "recipe")
    space, dataset = find_space(config.space), find_dataset(config.dataset)
    edges = space.single_path(space.decode(config.arch))
    if (config.channels, config.num_cells) != (None, None) and not isinstance(space, Darts):
        raise UserError(f"space {config.space!r} has networks of one size: leave out --channels and --num-cells")
    form = space.imagenet_form if recipe.imagenet else None
    recipe = replace(recipe, epochs=config.epochs or recipe.epochs, batch_size=config.batch_size or recipe.batch_size)
    return Plan(config, form or space, edges, dataset, recipe)


def training_device(config: TrainConfig) -> tuple[str, torch.dtype]:
    """The device that `config` means in this process, and the precision there.

    Raises:
        UserError: no such device, it has no bfloat16, or there is nothing to compile for a CPU with.
    """
    device = local_device(config.device)
    if config.compile and device == "cpu" and not shutil.which(compiler := os.environ.get("CXX", "g++")):
        raise UserError(f"--compile needs a C++ compiler, there is no {compiler}; install g++ or leave out --compile")
    has_bfloat16 = device == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)
    if config.precision == "bfloat16" and not has_bfloat16:
        raise UserError(f"precision 'bfloat16' was asked for, but {torch.cuda.get_device_name()} has none; use --precision float32")
    fast = config.precision == "bfloat16" or (config.precision == "auto" and device == "cuda" and has_bfloat16)
    return device, torch.bfloat16 if fast else torch.float32


def claim(config: TrainConfig, directory: AnyPath) -> None:
    """Make the directory this training's.

    Raises:
        UserError: it is another run's, holds something else, or cannot be written.
    """
    try:
        names = ("checkpoint.pt", "training.json")
        claim_directory(
            directory, dataclasses.asdict(config), HARMLESS, lambda: not any((directory / name).exists() for name in names)
        )
    except OSError as error:
        raise UserError(f"cannot use the run directory {directory}: {error}") from error
