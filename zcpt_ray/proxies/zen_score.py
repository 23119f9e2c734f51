"""zen_score: how far a small change of the input moves the features (Lin et al. 2021; eq. 13 of the paper)."""

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import module_modes, running_layers, watched_inputs
from zcpt_ray.errors import UserError
from zcpt_ray.proxies.base import Proxy, in_memory_order
from zcpt_ray.seeding import derive_seed

STEP = 0.01


def zen_score(net: nn.Module, batch: Batch) -> float:
    """log mean_b sum_chw abs(f(a) - f(a + 0.01 e)) + sum over batch norms that ran of log sqrt(mean_c(variance)).

    f are the features before global pooling, and variances are the running ones afterwards. The weights are drawn from
    N(0, 1), a and e from N(0, 1) in the minibatch's shape, all from the minibatch's seed. The network's own weights and
    the images do not count. Residual connections stay, as in the values published for NAS-Bench-201.

    Raises:
        UserError: the network has no `AdaptiveAvgPool2d`.
    """
    pools = [module for module in net.modules() if isinstance(module, nn.AdaptiveAvgPool2d)]
    if not pools:
        raise UserError("zen_score needs a network with a global pooling layer (torch.nn.AdaptiveAvgPool2d)")
    names = {module: name for name, module in net.named_modules()}
    tensors = {name: buffer.clone() for name, buffer in net.named_buffers()}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            tensors[f"{name}.weight"] = _normal(module.weight, batch.seed, name)
    first = in_memory_order(_normal(batch.images, batch.seed, "first input"))
    features: list[Tensor] = []
    watched = watched_inputs(pools[-1:], features.append), running_layers(net, (nn.BatchNorm2d,))
    with watched[0], watched[1] as ran, module_modes(net, training=True), torch.no_grad():
        for images in (first, first + STEP * _normal(batch.images, batch.seed, "step")):
            functional_call(net, tensors, images)
    norms = dict.fromkeys(names[module] for module, _ in ran)
    variances = [tensors[f"{name}.running_var"].mean() for name in norms]
    distance = (features[0] - features[1]).abs().sum((1, 2, 3)).mean()
    moved, *scales = torch.stack([distance, *variances]).tolist()
    return math.log(moved) + sum(0.5 * math.log(scale) for scale in scales) if moved > 0 else -math.inf


def _normal(like: Tensor, seed: int, name: str) -> Tensor:
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(derive_seed(seed, "zen_score", name)))
    return drawn.to(like.device)


ZEN_SCORE = Proxy(
    "zen_score",
    (zen_score,),
    "Lin et al. 2021, eq. 13, as published per network of NAS-Bench-201",
    nan="-inf where the features do not move",
)
