"""zen_score: how far a small change of the input moves the features (Lin et al. 2021; eq. 13 of the paper)."""

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zcpt_ray.data import Batch
from zcpt_ray.errors import UserError
from zcpt_ray.layers import module_modes, watched_inputs
from zcpt_ray.proxies.base import Proxy, in_memory_order
from zcpt_ray.seeding import derive_seed

STEP = 0.01


def zen_score(net: nn.Module, batch: Batch) -> float:
    """log mean_b sum_chw abs(f(a) - f(a + 0.01 e)) + sum over batch norms that ran of log sqrt(mean running variance afterwards).

    f are the features before global pooling with weights drawn from N(0, 1), a and e are N(0, 1) of the minibatch's shape, all
    from the minibatch's seed; the network's own weights and the images do not count. Residual connections stay, as in the values
    published for NAS-Bench-201.

    Raises:
        UserError: the network has no `AdaptiveAvgPool2d`.
    """
    pools = [module for module in net.modules() if isinstance(module, nn.AdaptiveAvgPool2d)]
    if not pools:
        raise UserError("zen_score needs a network with a global pooling layer (torch.nn.AdaptiveAvgPool2d)")
    norms = [name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
    tensors = {name: buffer.clone() for name, buffer in net.named_buffers()}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            tensors[f"{name}.weight"] = _normal(module.weight, batch.seed, name)
    first = in_memory_order(_normal(batch.images, batch.seed, "first input"))
    features: list[Tensor] = []
    with watched_inputs(pools[-1:], features.append), module_modes(net, training=True), torch.no_grad():
        for images in (first, first + STEP * _normal(batch.images, batch.seed, "step")):
            functional_call(net, tensors, images)
    moved = float((features[0] - features[1]).abs().sum((1, 2, 3)).mean())
    ran = [name for name in norms if tensors[f"{name}.num_batches_tracked"] > net.get_buffer(f"{name}.num_batches_tracked")]
    scale = sum(0.5 * math.log(float(tensors[f"{name}.running_var"].mean())) for name in ran)
    return math.log(moved) + scale if moved > 0 else -math.inf


def _normal(like: Tensor, seed: int, name: str) -> Tensor:
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(derive_seed(seed, "zen_score", name)))
    return drawn.to(like.device)


ZEN_SCORE = Proxy(
    "zen_score",
    (zen_score,),
    "Lin et al. 2021, eq. 13, as published per network of NAS-Bench-201",
    nan="-inf where the features do not move",
)
