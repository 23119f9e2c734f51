"""What a zero-cost proxy is, and the one place where scores are taken."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.arch import PartialArch
from zcpt_ray.data import Batch
from zcpt_ray.errors import UserError
from zcpt_ray.layers import eval_mode
from zcpt_ray.supernet import MaskedSupernet, Supernet

Measured = tuple[float, ...]
"""What each measure of a proxy gave for one architecture on one minibatch."""


def only_measure(measured: Sequence[Measured]) -> list[float]:
    """The score of a proxy with one measure: that measure."""
    return [value for (value,) in measured]


@dataclass(frozen=True)
class Proxy:
    """A zero-cost proxy S: greater is better.

    Each of `measures` maps (net, batch) to a number, greater is better; it takes any network and leaves it as it was: weights,
    gradients, modes, buffers, hooks. `combine` turns the measures of architectures that are compared with each other into their
    scores; a proxy with one measure uses it as it is. `measure_variants(supernet, archs, batch, alone)`, where there is one, gives
    the same numbers (1e-5 relative) for many architectures at once, see `measure_archs`. The other fields are for the reader.
    """

    name: str
    measures: tuple[Callable[[nn.Module, Batch], float], ...]
    reference: str
    direction: str = "as published"
    """How the published quantity became one of which more is better."""
    batch_norm: Literal["batch", "running", "bypassed", "none"] = "batch"
    """Statistics that batch norms use: the minibatch's own (train mode), running ones (eval mode), none at all."""
    dtype: str = "float32"
    needs: tuple[Literal["images", "labels", "gradients"], ...] = ()
    minibatches: int = 1
    """In how many parts the batch is taken; it must be as large in images, twice that for statistics over parts."""
    removed_op: str = "nothing"
    """What an op that was removed from a supernet contributes."""
    nan: str = "cannot be NaN"
    """What stands for a quantity that is not defined. Any other NaN is an error."""
    thin: bool = False
    """Whether it also looks at the network's thin form, which not every space has (`Space.thin`)."""
    combine: Callable[[Sequence[Measured]], list[float]] = only_measure
    measure_variants: Callable[[Supernet, Sequence[PartialArch], Batch, bool], list[Measured]] | None = None

    def measure(self, net: nn.Module, batch: Batch) -> Measured:
        """All measures of one network."""
        return tuple(measure(net, batch) for measure in self.measures)


def measure_archs(
    proxy: Proxy, supernet: Supernet, archs: Sequence[PartialArch], batch: Batch, alone: bool = False
) -> list[Measured]:
    """The measures of each of `archs` on `batch`, without TF32; batched over the architectures where the proxy can.

    Architectures that are the same function (a supernet with and without `none`) are measured once. With `alone`, each is taken as
    a network of its own, which holds nothing but what it keeps: a removed op contributes nothing then, whatever the proxy.

    Raises:
        UserError: one is NaN.
    """
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        if proxy.measure_variants:
            measured = proxy.measure_variants(supernet, archs, batch, alone)
        else:
            known: dict[Hashable, Measured] = {}
            keys = [supernet.key(arch) for arch in archs]
            for key, arch in zip(keys, archs, strict=True):
                if key not in known:
                    known[key] = proxy.measure(MaskedSupernet(supernet, arch), batch)
            measured = [known[key] for key in keys]
    for arch, values in zip(archs, measured, strict=True):
        if any(math.isnan(value) for value in values):
            raise UserError(f"proxy {proxy.name!r} gave NaN on a minibatch of {len(batch.images)} for {arch}")
    return measured


def score_archs(proxy: Proxy, supernet: Supernet, archs: Sequence[PartialArch], batch: Batch) -> list[float]:
    """S of each of `archs`, compared with each other.

    Raises:
        UserError: a measure is NaN.
    """
    return proxy.combine(measure_archs(proxy, supernet, archs, batch))


@contextmanager
def running_layers(
    net: nn.Module, kinds: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.Linear)
) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """Inside, every layer of these kinds that runs is listed with its output: of a removed op, none does."""
    ran: list[tuple[nn.Module, Tensor]] = []
    layers = [module for module in net.modules() if isinstance(module, kinds)]
    hooks = [layer.register_forward_hook(lambda layer, _, output: ran.append((layer, output))) for layer in layers]
    try:
        yield ran
    finally:
        for hook in hooks:
            hook.remove()


def layers_that_run(
    net: nn.Module, batch: Batch, kinds: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.Linear)
) -> list[tuple[nn.Module, Tensor]]:
    """The layers of these kinds that take part, each with its output on the first image, in eval mode."""
    with eval_mode(net), torch.no_grad(), running_layers(net, kinds) as ran:
        net(batch.images[:1])
    return ran


def weights_of(ran: Iterable[tuple[nn.Module, Tensor]]) -> list[Tensor]:
    """The weights of convolutions and linear layers that ran, each once."""
    return list({id(layer): layer.get_parameter("weight") for layer, _ in ran}.values())


def loss_and_weights(
    net: nn.Module, batch: Batch, memory_format: torch.memory_format = torch.channels_last
) -> tuple[Tensor, list[Tensor]]:
    """Cross-entropy on the minibatch, and the weights of the convolutions and linear layers that took part.

    Take gradients of it by `torch.autograd.grad(..., materialize_grads=True)`: nothing accumulates in the network, and a layer
    that the loss does not reach (behind `none`) has gradient 0.
    """
    with running_layers(net) as ran:
        loss = F.cross_entropy(net(in_memory_order(batch.images, memory_format)), batch.labels)
    return loss, weights_of(ran)


def in_memory_order(images: Tensor, memory_format: torch.memory_format = torch.channels_last) -> Tensor:
    """[B, C, H, W] in a memory order, by default the one that convolutions on a CPU are faster with; other shapes as they are."""
    return images.contiguous(memory_format=memory_format) if images.dim() == 4 else images
