"""grad_norm: how large the gradients of one minibatch are (Abdelfattah et al. 2021)."""

import torch
from torch import nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics
from zcpt_ray.proxies.base import Proxy, loss_and_weights


def grad_norm(net: nn.Module, batch: Batch) -> float:
    """Sum over layers of the L2 norm of dL/dtheta, >= 0."""
    with batch_statistics(net):
        loss, weights = loss_and_weights(net, batch)
        gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
    return float(sum(gradient.norm() for gradient in gradients))


GRAD_NORM = Proxy("grad_norm", (grad_norm,), "Abdelfattah et al. 2021", needs=("images", "labels", "gradients"))
