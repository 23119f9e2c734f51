"""snip: how much the loss would change without each weight, to first order (Lee et al. 2019; eq. 8 of the paper)."""

import torch
from torch import nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics
from zcpt_ray.proxies.base import Proxy, loss_and_weights


def snip(net: nn.Module, batch: Batch) -> float:
    """Sum of abs(dL/dtheta * theta), >= 0."""
    with batch_statistics(net):
        loss, weights = loss_and_weights(net, batch)
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
    return float(
        sum((gradient * weight).detach().abs().sum() for gradient, weight in zip(gradients, weights, strict=True))
    )


SNIP = Proxy("snip", (snip,), "Lee et al. 2019, eq. 8", needs=("images", "labels", "gradients"))
