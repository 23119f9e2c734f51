"""zen_score: how far a small change of the input moves the features (Lin et al. 2021; eq. 13 of the paper)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import hooked, leaves_of, module_modes, running_layers
from zcpt_ray.engine.module_kinds import OTHER_NORMS
from zcpt_ray.engine.supernet import MaskedSupernet
from zcpt_ray.errors import UserError
from zcpt_ray.proxies.base import Proxy, in_memory_order, not_served
from zcpt_ray.seeding import derive_seed

STEP = 0.01
IMAGE_DIMENSIONS = 4
GLOBAL_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def zen_score(net: nn.Module, batch: Batch) -> float:
    """log mean_b sum_chw abs(f(a) - f(a + 0.01 e)) + sum over batch norms that ran of log sqrt(mean_c(variance)).

    f are the features before global pooling, and variances are the running ones afterwards. The weights are drawn from
    N(0, 1), a and e from N(0, 1) in the minibatch's shape, all from the minibatch's seed. The network's own weights and
    the images do not count.

    A skip connection has no batch norm, but what it adds raises the variances of all that follow: with one in place of
    a 3x3 convolution, the network of NAS-Bench-201 with nothing but these scores 187 for 181. The published values of
    finished networks are so, and here too. In a supernet, skips that are still a choice beside other ops are left out,
    as Lin et al. leave out residual links: otherwise they would be kept for what they do to the other ops.

    Raises:
        UserError: a batch norm that ran keeps no statistics, or nothing gives an image-shaped tensor.
    """
    if isinstance(net, MaskedSupernet):
        net = net.without_open_skips()
    names = {module: name for name, module in net.named_modules()}
    tensors = {name: buffer.clone() for name, buffer in net.named_buffers()}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            tensors[f"{name}.weight"] = _normal(module.weight, batch.seed, name)
    first = in_memory_order(_normal(batch.images, batch.seed, "first input"))
    features: list[Tensor] = []
    with running_layers(net, (nn.BatchNorm2d,)) as ran, module_modes(net, training=True), torch.no_grad():
        for images in (first, first + STEP * _normal(batch.images, batch.seed, "step")):
            with _image_features(net) as seen:
                functional_call(net, tensors, images)
            features += seen[-1:]
    norms = dict.fromkeys(names[each.layer] for each in ran)
    if not norms and any(isinstance(module, OTHER_NORMS) for module in net.modules()):
        raise not_served(net, "batch norms that ran")
    if without := [name for name in norms if tensors.get(f"{name}.running_var") is None]:
        raise UserError(f"zen_score reads running statistics, and the batch norm {without[0]!r} keeps none")
    if not features:
        raise UserError("zen_score reads the features before global pooling, and nothing here gives any [B, C, H, W]")
    variances = [tensors[f"{name}.running_var"].mean() for name in norms]
    distance = (features[0] - features[1]).abs().sum((1, 2, 3)).mean()
    moved, *scales = torch.stack([distance, *variances]).tolist()
    return math.log(moved) + sum(0.5 * math.log(scale) for scale in scales) if moved > 0 else -math.inf


@contextmanager
def _image_features(net: nn.Module) -> Iterator[list[Tensor]]:
    """Inside, what global pools read is listed; without such modules, what others give [B, C, H, W]."""
    seen: list[Tensor] = []

    def see(tensor: object) -> None:
        if isinstance(tensor, Tensor) and tensor.dim() == IMAGE_DIMENSIONS:
            seen[:] = [tensor]

    pools = [module for module in net.modules() if isinstance(module, GLOBAL_POOLS)]
    hooks = [pool.register_forward_pre_hook(lambda _, inputs: see(inputs[0])) for pool in pools] or [
        leaf.register_forward_hook(lambda _, inputs, output: see(output)) for leaf in leaves_of(net)
    ]
    with hooked(hooks):
        yield seen


def _normal(like: Tensor, seed: int, name: str) -> Tensor:
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(derive_seed(seed, "zen_score", name)))
    return drawn.to(like)


ZEN_SCORE = Proxy(
    "zen_score",
    (zen_score,),
    reads=("batch norms that ran",),
    reference="Lin et al. 2021, eq. 13; networks alone as published for NAS-Bench-201",
    removed_op="nothing; nor do skips that are still a choice",
    nan="-inf where the features do not move",
)
