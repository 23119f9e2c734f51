"""zico: large and steady gradients train fast (Li et al. 2023)."""

import math

import torch
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics
from zcpt_ray.proxies.base import Proxy, loss_and_weights

ZICO_PARTS = 2


def zico(net: nn.Module, batch: Batch) -> float:
    """Sum over layers of log sum_theta mean_i abs(g_i) / std_i(g_i), i over two halves of the minibatch.

    Published scores are over two whole minibatches: a batch size of 2b here is theirs of b. Standard deviations are
    those of the two (divided by 2), weights whose gradients do not differ are left out, as there. A layer whose
    gradients do not differ at all is -inf here and left out there.
    """
    parts = zip(batch.images.chunk(ZICO_PARTS), batch.labels.chunk(ZICO_PARTS), strict=True)
    gradients = []
    with batch_statistics(net):
        for images, labels in parts:
            loss, weights = loss_and_weights(net, Batch(images, labels))
            gradients.append(torch.autograd.grad(loss, weights, materialize_grads=True))
    layers = [torch.stack(layer) for layer in zip(*gradients, strict=True)]  # each [parts, *weight]
    found = torch.stack([_signal_to_noise(layer) for layer in layers]).tolist()
    return sum(math.log(ratio) if ratio > 0 else -math.inf for ratio, reached in found if reached)


def _signal_to_noise(gradients: Tensor) -> Tensor:
    """The sum of the ratios where gradients differ, and whether there is any gradient, [2]."""
    spread = gradients.std(0, correction=0)
    ratios = torch.where(spread > 0, gradients.abs().mean(0) / spread, 0.0)
    return torch.stack([ratios.sum(), gradients.any().to(ratios.dtype)])


ZICO = Proxy(
    "zico",
    (zico,),
    "Li et al. 2023, eq. 9",
    needs=("images", "labels", "gradients"),
    minibatches=ZICO_PARTS,
    nan="a layer without any gradient is left out",
)
