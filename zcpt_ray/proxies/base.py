"""What a zero-cost proxy is, and the one place where scores are taken."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.arch import PartialArch
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import nothing_in_place, running_layers, weights_of
from zcpt_ray.engine.module_kinds import BATCH_NORMS
from zcpt_ray.engine.pointwise import safe_pointwise
from zcpt_ray.engine.precision import exact_float32
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError

Measured = tuple[float, ...]
"""What each measure of a proxy gave for one architecture on one minibatch."""
BATCH_NORM_IMAGES = 3
"""The fewest images whose own statistics tell anything."""
Lacking = Literal["features [B, C, H, W] of two blocks", "batch norms that ran", "a thin form"]
"""What a network may lack that some proxies need."""
Measuring = Callable[[], list[Measured]]
"""Measures that a device is at: the call waits for them and does what is left to do on the host."""


def only_measure(measured: Sequence[Measured]) -> list[float]:
    """The score of a proxy with one measure: that measure."""
    return [value for (value,) in measured]


def not_served(net: nn.Module, lacking: Lacking) -> UserError:
    """That a network lacks what a proxy reads, and which proxies do without."""
    from zcpt_ray.proxies import PROXIES  # which imports this module

    others = ", ".join(name for name, proxy in PROXIES.items() if lacking not in proxy.reads)
    return UserError(f"{type(net).__name__} has no {lacking}, which this proxy reads; proxies that serve it: {others}")


@dataclass(frozen=True)
class Proxy:
    """A zero-cost proxy S: greater is better.

    Each of `measures` maps (net, batch) to a number, greater is better; it takes any network and leaves it as it was:
    weights, gradients, modes, buffers, hooks. `combine` turns the measures of architectures that are compared with each
    other into their scores; a proxy with one measure uses it as it is. `measure_variants(supernet, archs, batch,
    alone)`, where there is one, gives a function that returns the same numbers (1e-5 relative) for many architectures
    at once, see `start_measuring`. The other fields are for the reader.
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
    """In how many parts the batch is taken."""
    least_images: int = 1
    """Of a minibatch, beside what `images_needed` says."""
    removed_op: str = "nothing"
    """What an op that was removed from a supernet contributes."""
    nan: str = "cannot be NaN"
    """What stands for a quantity that is not defined. Any other NaN is an error."""
    reads: tuple[Lacking, ...] = ()
    """What it needs a network to have."""
    thin: bool = False
    """Whether it also looks at the network's thin form, which not every space has (`Space.thin`)."""
    members: tuple["Proxy", ...] = ()
    """Of an aggregate: the proxies whose measures its own are, one after another."""
    combine: Callable[[Sequence[Measured]], list[float]] = only_measure
    measure_variants: Callable[[Supernet, Sequence[PartialArch], Batch, bool], "Measuring"] | None = None

    @property
    def is_relative(self) -> bool:
        """Whether it only ranks networks against each other."""
        return self.combine is not only_measure

    def images_needed(self, has_batch_norms: bool = True) -> int:
        """How many images a minibatch must have for the score of a network to say anything.

        Three for each part where batch norms use its statistics: of two values they make 1 and -1, whatever these are.
        """
        each = BATCH_NORM_IMAGES if has_batch_norms and self.batch_norm == "batch" else 1
        return max(self.least_images, self.minibatches * each)

    def require_images(self, num_images: int, has_batch_norms: bool = True) -> None:
        """Refuse minibatches that are too small.

        Raises:
            UserError: of `num_images`, the score would say nothing.
        """
        if num_images < (needed := self.images_needed(has_batch_norms)):
            raise UserError(f"proxy {self.name!r} needs minibatches of at least {needed} images, got {num_images}")

    def measure(self, net: nn.Module, batch: Batch) -> Measured:
        """All measures of one network.

        Raises:
            UserError: the minibatch is too small, or one is not a number.
        """
        if len(batch.images) < self.images_needed():  # unless the network has no batch norms
            self.require_images(len(batch.images), any(isinstance(module, BATCH_NORMS) for module in net.modules()))
        try:
            return tuple(self._number(measure(net, batch)) for measure in self.measures)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                f"proxy {self.name!r} has batch norms use the statistics of few images, whose features come down to one"
                " pixel here: use larger images (--image-size)"
            ) from error

    def _number(self, value: object) -> float:
        try:
            return float(value.detach() if isinstance(value, Tensor) else value)  # type: ignore[arg-type]
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"proxy {self.name!r} must give one number, got {str(value)[:80]}") from error


def measure_archs(
    proxy: Proxy, supernet: Supernet, archs: Sequence[PartialArch], batch: Batch, alone: bool = False
) -> list[Measured]:
    """The measures of each of `archs` on `batch`, without TF32; batched over the architectures where the proxy can.

    Architectures that are the same function (a supernet with and without `none`) are measured once. With `alone`, each
    is taken as a network of its own, which holds nothing but what it keeps: a removed op contributes nothing then,
    whatever the proxy.

    Raises:
        UserError: one is NaN, or the proxy left the network in another state.
    """
    return start_measuring(proxy, supernet, archs, batch, alone)()


def start_measuring(
    proxy: Proxy, supernet: Supernet, archs: Sequence[PartialArch], batch: Batch, alone: bool = False
) -> Measuring:
    """As `measure_archs`, in two parts: on a GPU what is returned can be called, by another thread too, while it works.

    Only what a proxy's `measure_variants` leaves to do on the host is done then.
    """
    with exact_float32():
        if proxy.measure_variants:
            proxy.require_images(len(batch.images))
            measuring = proxy.measure_variants(supernet, archs, batch, alone)
        else:
            known: dict[Hashable, Measured] = {}
            keys = [supernet.key(arch) for arch in archs]
            for key, arch in zip(keys, archs, strict=True):
                if key not in known:
                    measure = proxy.measure if known else partial(_measured, proxy)  # the first stands for all
                    known[key] = measure(supernet.masked(arch), batch)
            measuring = partial(list, [known[key] for key in keys])
    return partial(_without_nan, proxy, measuring, archs, len(batch.images))


def _without_nan(proxy: Proxy, measuring: Measuring, archs: Sequence[PartialArch], num_images: int) -> list[Measured]:
    measured = measuring()
    for arch, values in zip(archs, measured, strict=True):
        if any(math.isnan(value) for value in values):
            kept = ", ".join(
                f"{edge.name} {'/'.join(ops)}" for edge, ops in zip(arch.edges, arch.kept, strict=True) if ops
            )
            raise UserError(f"proxy {proxy.name!r} gave NaN on a minibatch of {num_images} for {kept}")
    return measured


def _measured(proxy: Proxy, net: nn.Module, batch: Batch) -> Measured:
    """The measures of one network, which the proxy must leave as it was.

    Raises:
        UserError: it did not.
    """
    before = _state(net)
    measured = proxy.measure(net, batch)
    changed = [name for name, value in _state(net).items() if str(value) != str(before[name])]
    if changed:
        raise UserError(f"proxy {proxy.name!r} must leave the network as it was: it changed {' and '.join(changed)}")
    return measured


def _state(net: nn.Module) -> dict[str, object]:
    """What a proxy must leave as it was, in short."""
    parameters = list(net.parameters())
    sums = torch.stack([parameter.detach().float().sum() for parameter in parameters]) if parameters else torch.ones(0)
    return {
        "weights": sums.tolist(),
        "gradients": [None if parameter.grad is None else id(parameter.grad) for parameter in parameters],
        "train and eval modes": [module.training for module in net.modules()],
    }


def score_archs(proxy: Proxy, supernet: Supernet, archs: Sequence[PartialArch], batch: Batch) -> list[float]:
    """S of each of `archs`, compared with each other.

    Raises:
        UserError: a measure is NaN.
    """
    return proxy.combine(measure_archs(proxy, supernet, archs, batch))


def score_network(proxy: Proxy, net: nn.Module, batch: Batch) -> float:
    """The score of one network on a minibatch, without TF32; greater is better. The network stays as it was.

    Raises:
        UserError: a proxy that only ranks networks against each other or left the network in another state, a measure
            that is NaN, or arguments of another kind.
    """
    if not isinstance(net, nn.Module) or not isinstance(batch, Batch):
        raise UserError(
            f"a score needs a torch.nn.Module and a Batch(images, labels), got {type(net).__name__} and "
            f"{type(batch).__name__}"
        )
    if proxy.is_relative:
        raise UserError(f"proxy {proxy.name!r} only ranks networks against each other: one alone has no score")
    batch = _in_precision_of(net, batch)
    with exact_float32(), safe_pointwise(net), nothing_in_place(net):
        lazy = any(nn.parameter.is_lazy(parameter) for parameter in net.parameters())  # its first call gives it weights
        (score,) = proxy.combine([proxy.measure(net, batch) if lazy else _measured(proxy, net, batch)])
    if math.isnan(score):
        raise UserError(f"proxy {proxy.name!r} gave NaN on a minibatch of {len(batch.images)}")
    return score


def _in_precision_of(net: nn.Module, batch: Batch) -> Batch:
    """Images of floating point as the network's weights are.

    Raises:
        UserError: those have half precision, of which some scores would be noise.
    """
    dtypes = {parameter.dtype for parameter in net.parameters() if parameter.is_floating_point()}
    if half := dtypes - {torch.float32, torch.float64}:
        raise UserError(f"scores need weights in float32 or float64, these are {half.pop()}: use net.float()")
    if len(dtypes) == 1 and batch.images.is_floating_point():
        return replace(batch, images=batch.images.to(dtypes.pop()))
    return batch


def loss_and_weights(
    net: nn.Module, batch: Batch, memory_format: torch.memory_format = torch.channels_last
) -> tuple[Tensor, list[Tensor]]:
    """Cross-entropy on the minibatch, and the weights of the convolutions and linear layers that took part.

    Take gradients of it by `torch.autograd.grad(..., materialize_grads=True)`: nothing accumulates in the network, and
    a layer that the loss does not reach (behind `none`) has gradient 0.
    """
    with running_layers(net) as ran:
        loss = F.cross_entropy(net(in_memory_order(batch.images, memory_format)), batch.labels)
    return loss, weights_of(ran)


def in_memory_order(images: Tensor, memory_format: torch.memory_format = torch.channels_last) -> Tensor:
    """Images [B, C, H, W] in a memory order; inputs of another shape as they are.

    By default it is the order that convolutions on a CPU are faster with.
    """
    return images.contiguous(memory_format=memory_format) if images.dim() == 4 else images
