"""What a training configuration names, checked before any work."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from zcpt_ray.arch import Edge
from zcpt_ray.datasets import DATASETS, Dataset, find_dataset
from zcpt_ray.devices import DEVICES, card_name, has_bfloat16, local_device
from zcpt_ray.engine.depthwise import speed_up_depthwise
from zcpt_ray.errors import UserError
from zcpt_ray.identity import identity, run_name
from zcpt_ray.registry import located, lookup, own_content
from zcpt_ray.spaces import SPACES, Space, find_space
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.storage.run_directory import claim_directory
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.recipes import RECIPES, Recipe

HARMLESS = ("loader_workers",)
"""In what a training that is taken up may differ from the one that was stopped."""


@dataclass(frozen=True)
class TrainPlan:
    """A configuration and the objects that its names stand for: what is handed to functions, and to Ray, from here on.

    `recipe` has the number of epochs and the batch size that the configuration says; `edges` are the architecture's.
    `own` tells by kind and name what the user's own objects hold.
    """

    config: TrainConfig
    space: Space
    edges: tuple[Edge, ...]
    dataset: Dataset
    recipe: Recipe
    own: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config: TrainConfig) -> "TrainPlan":
        """Look up every name of `config`, before any work.

        Raises:
            UserError: an unknown name, an architecture that is not of the space, or a size that the space does not
                take.
        """
        config = replace(config, space=located(config.space, SPACES), dataset=located(config.dataset, DATASETS))
        recipe = lookup(RECIPES, config.recipe, "recipe")
        space, dataset = find_space(config.space), find_dataset(config.dataset, config.images)
        arch = space.decode(config.arch)
        config, edges = replace(config, arch=space.encode(arch)), space.single_path(arch)
        for size in config.sizes:
            if size not in space.trained_sizes:
                taken = ", ".join(f"--{name.replace('_', '-')}" for name in space.trained_sizes)
                raise UserError(
                    f"space {config.space!r} takes no --{size.replace('_', '-')}: "
                    + (f"it takes {taken}" if taken else "leave it out")
                )
        if not set(recipe.sizes) <= set(space.trained_sizes):
            raise UserError(
                f"recipe {recipe.name!r} is for networks with {', '.join(recipe.sizes)}, not {space.name!r}"
            )
        form = _form(space, recipe)
        recipe = replace(
            recipe, epochs=config.epochs or recipe.epochs, batch_size=config.batch_size or recipe.batch_size
        )
        own = {f"{kind} {part.name}": own_content(part) for kind, part in (("space", space), ("dataset", dataset))}
        return cls(config, form, edges, dataset, recipe, {name: found for name, found in own.items() if found})

    @property
    def identity(self) -> dict[str, Any]:
        """What a run directory is claimed with: the configuration, and what the user's own objects hold."""
        return identity(self.config, self.own)

    @property
    def run_id(self) -> str:
        """A short digest of the identity: the name of the training's directory."""
        return run_name(self.config, self.own)

    def build(self, num_classes: int) -> nn.Module:
        """The network, with an auxiliary head where recipe and space have one."""
        auxiliary = self.recipe.auxiliary > 0
        return self.space.trained_form(self.edges, num_classes, auxiliary, **{**self.recipe.sizes, **self.config.sizes})

    def untrained(self, num_classes: int, seed: int) -> nn.Module:
        """The network with the weights that a training starts with, on the CPU."""
        return self.space.initialized(lambda: self.build(num_classes), seed)


def trained_network(config: TrainConfig, num_classes: int) -> nn.Module:
    """The network of a training without an auxiliary head and without weights of its own, whatever its data set.

    Raises:
        UserError: an unknown space or recipe, or an architecture that is not of the space.
    """
    space, recipe = find_space(config.space), lookup(RECIPES, config.recipe, "recipe")
    edges = space.single_path(space.decode(config.arch))
    with torch.random.fork_rng([]):  # its weights are drawn, and replaced
        return _form(space, recipe).trained_form(
            edges, num_classes, auxiliary=False, **{**recipe.sizes, **config.sizes}
        )


def _form(space: Space, recipe: Recipe) -> Space:
    """The space as a recipe trains its networks: one for ImageNet may have a form of its own."""
    return (space.imagenet_form if recipe.imagenet else None) or space


def training_device(config: TrainConfig) -> tuple[str, torch.dtype]:
    """The device that `config` means in this process, and the precision there.

    Raises:
        UserError: no such device, it has no bfloat16, or there is nothing to compile for a CPU with.
    """
    device = local_device(config.device)
    if config.compile and device == "cpu" and not shutil.which(compiler := os.environ.get("CXX", "g++")):
        raise UserError(f"--compile needs a C++ compiler, there is no {compiler}; install g++ or leave out --compile")
    if config.precision == "bfloat16" and not has_bfloat16(device):
        raise UserError(
            f"precision 'bfloat16' was asked for, but {card_name(device)} has none; use --precision float32"
        )
    wanted = config.precision == "auto" and DEVICES[device].prefers_bfloat16 and has_bfloat16(device)
    fast = config.precision == "bfloat16" or wanted
    return device, torch.bfloat16 if fast else torch.float32


def ready_to_train(net: nn.Module, device: str, precision: torch.dtype) -> nn.Module:
    """The network on a device, in the order of memory and with the convolutions that are fastest there."""
    net = net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if (device, precision) == ("cpu", torch.float32):
        speed_up_depthwise(net)
    return net


def require_shapes(plan: TrainPlan, num_classes: int, image_shape: tuple[int, ...]) -> None:
    """Run the network without memory.

    Raises:
        UserError: it does not take images of this size, or cannot be trained in this precision on this device.
    """
    try:
        with torch.device("meta"):
            net = plan.build(num_classes)
            net(torch.empty(2, *image_shape))
    except (RuntimeError, ValueError) as error:
        size, place = "x".join(map(str, image_shape)), f"space {plan.config.space!r} by recipe {plan.recipe.name!r}"
        raise UserError(
            f"the network of {place} does not take images of {size}: {str(error).splitlines()[0]}"
        ) from error
    dilated = any(isinstance(module, nn.Conv2d) and module.dilation != (1, 1) for module in net.modules())
    if dilated and training_device(plan.config) == ("cpu", torch.bfloat16):  # torch 2.13 gives noise as their gradients
        raise UserError("dilated convolutions have no bfloat16 gradients on a CPU; use --precision float32")


def compile_options(device: str) -> dict[str, str | int | bool | Callable[..., Any]]:
    """What torch's compiler is told: random numbers are as without it, and, for a CPU, the width of its vectors.

    Its store of compiled code does not tell instruction sets apart. Loops over vectors of AVX2 would be served to a
    process that compiles them with those of AVX-512, and write past their tensors; with the width they are not.
    """
    options: dict[str, str | int | bool | Callable[..., Any]] = {"fallback_random": True}
    if device == "cpu":
        from torch._inductor.cpu_vec_isa import pick_vec_isa  # takes a second or two

        options["cpp.simdlen"] = pick_vec_isa().bit_width()
    return options


def claim(plan: TrainPlan, directory: AnyPath) -> None:
    """Make the directory this training's.

    Raises:
        UserError: it is another run's, holds something else, or cannot be written.
    """
    names = ("checkpoint.pt", "training.json")
    try:
        claim_directory(
            directory, plan.identity, HARMLESS, lambda: not any((directory / name).exists() for name in names)
        )
    except OSError as error:
        raise UserError(f"cannot use the run directory {directory}: {error}") from error
