"""zico: large and steady gradients train fast (Li et al. 2023)."""

import math

import torch
from torch import Tensor, nn

from zcpt_ray.data import Batch
from zcpt_ray.layers import batch_statistics
from zcpt_ray.proxies.base import Proxy, loss_and_weights

PARTS = 2


def zico(net: nn.Module, batch: Batch) -> float:
    """Sum over layers of log sum_theta mean_i abs(g_i) / std_i(g_i), i over two halves of the minibatch."""
    parts = zip(batch.images.chunk(PARTS), batch.labels.chunk(PARTS), strict=True)
    gradients = []
    with batch_statistics(net):
        for images, labels in parts:
            loss, weights = loss_and_weights(net, Batch(images, labels))
            gradients.append(torch.autograd.grad(loss, weights, materialize_grads=True))
    layers = [torch.stack(layer) for layer in zip(*gradients, strict=True)]  # each [parts, *weight]
    return sum(_log_signal_to_noise(layer) for layer in layers if layer.any())


def _log_signal_to_noise(gradients: Tensor) -> float:
    spread = gradients.std(0, correction=0)
    ratio = float((gradients.abs().mean(0)[spread > 0] / spread[spread > 0]).sum())
    return math.log(ratio) if ratio > 0 else -math.inf


ZICO = Proxy(
    "zico",
    (zico,),
    "Li et al. 2023, eq. 9",
    needs=("images", "labels", "gradients"),
    minibatches=PARTS,
    nan="a layer without any gradient is left out",
)
