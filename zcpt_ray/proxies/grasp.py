"""grasp: how much the gradient norm would shrink without each weight, to first order.

Wang et al. 2020; eq. 9 of the paper.
"""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics
from zcpt_ray.proxies.base import Proxy, loss_and_weights


def grasp(net: nn.Module, batch: Batch) -> float:
    """Sum of -(H dL/dtheta) * theta; of either sign. The Hessian-vector product comes from a second backward pass.

    On a CPU that pass is faster and more exact in NCHW order than in channels_last.
    """
    with batch_statistics(net), sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        loss, weights = loss_and_weights(net, batch, torch.contiguous_format)
        gradients = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
        product = torch.stack([(gradient * gradient.detach()).sum() for gradient in gradients]).sum()
        curved = torch.autograd.grad(product, weights, materialize_grads=True)
    return -float(sum((h * weight).detach().sum() for h, weight in zip(curved, weights, strict=True)))


GRASP = Proxy("grasp", (grasp,), "Wang et al. 2020, eq. 9", needs=("images", "labels", "gradients"))
