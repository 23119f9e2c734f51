"""The weights that a network starts with: a function of a seed and of each parameter's name."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from zcpt_ray.engine.inspection import Network
from zcpt_ray.engine.ops import Noise
from zcpt_ray.engine.pointwise import PointwiseConv2d, make_pointwise_safe
from zcpt_ray.errors import UserError
from zcpt_ray.seeding import derive_seed

RESETS = ("reset_parameters", "_reset_parameters")
"""What modules call the method that gives their own parameters and buffers their first values."""
KNOWN = (nn.BatchNorm2d, nn.Conv2d, nn.Linear, PointwiseConv2d)
"""What is known to give all its tensors values."""
DRAWN = (nn.Conv2d.reset_parameters, nn.Linear.reset_parameters)
"""What need not be called, as the same is drawn here, faster."""


def initialize(build: Callable[[], Network], seed: int) -> Network:
    """The network that `build` describes, with torch's default initialisation drawn per module name.

    A parameter's value depends on `seed` and its name only: networks of one space share the weights of what they share.
    What `__init__` of a module computed is lost: modules with parameters or buffers of their own have a method
    `reset_parameters`, as torch's have, which is called. Torch's global random state is neither read nor changed.

    Raises:
        UserError: a module with parameters or buffers that has no such method.
    """
    with torch.device("meta"):
        net = build()
    make_pointwise_safe(net)
    net.to_empty(device="cpu")
    for name, module in reversed(list(net.named_modules())):  # what a module does to its parts comes after theirs
        own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        if isinstance(module, Noise):
            module.seed = derive_seed(seed, name)
        if own:
            _give_values(module, name, own, derive_seed(seed, name))
    return net


@torch.no_grad()
def _give_values(module: nn.Module, name: str, own: Mapping[str, Tensor], seed: int) -> None:
    """First values for the tensors of a module's own.

    Raises:
        UserError: some get none: what they hold afterwards is what they held before.
    """
    if type(module) in KNOWN:
        _draw(module, seed)
        return
    found: list[dict[str, Tensor]] = []
    for before in (1, 0):
        for tensor in own.values():
            tensor.fill_(before)
        _draw(module, seed)
        found.append({key: tensor.clone() for key, tensor in own.items()})
    if left := [f"{name}.{key}" for key in own if not torch.equal(found[0][key], found[1][key])]:
        raise UserError(
            f"nothing gives {', '.join(left)} a first value: give {type(module).__name__} a method reset_parameters"
            " that does, as torch's modules have; what __init__ computes is lost"
        )


def _draw(module: nn.Module, seed: int) -> None:
    """Have a module's own method give it values, and draw those of convolutions and linear layers."""
    drawn = module if isinstance(module, nn.Conv2d | nn.Linear) else None
    reset = next((getattr(module, method) for method in RESETS if hasattr(module, method)), None)
    if reset and not (drawn is not None and getattr(reset, "__func__", None) in DRAWN):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # not those of GPUs, which nothing here draws from
            reset()
    if drawn is not None:
        generator = torch.Generator().manual_seed(seed)
        bound = 1 / (drawn.weight[0].numel() ** 0.5)
        drawn.weight.uniform_(-bound, bound, generator=generator)
        if drawn.bias is not None:
            drawn.bias.uniform_(-bound, bound, generator=generator)
