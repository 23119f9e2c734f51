"""jacob_cov: how uncorrelated a network's responses to the images of a minibatch are.

Mellor et al. 2020, first version.
"""

import math

import numpy as np
import torch
from torch import nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics
from zcpt_ray.proxies.base import Proxy, in_memory_order

EPSILON = 1e-5


def jacob_cov(net: nn.Module, batch: Batch) -> float:
    """-sum_i (log(v_i + k) + 1 / (v_i + k)) with k = 1e-5, over the eigenvalues v of the images' correlations.

    Correlations are those of the gradients of the sum of logits by each image. -inf where an image's gradient is
    constant: its correlations are not defined.
    """
    images = in_memory_order(batch.images).detach().requires_grad_()
    with batch_statistics(net):
        (jacobian,) = torch.autograd.grad(net(images).sum(), images, materialize_grads=True)
    rows = jacobian.flatten(1).cpu().double().numpy()  # [B, C * H * W]
    if (np.ptp(rows, axis=1) == 0).any():
        return -math.inf
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(rows))
    return -float(np.sum(np.log(eigenvalues + EPSILON) + 1 / (eigenvalues + EPSILON)))


JACOB_COV = Proxy(
    "jacob_cov",
    (jacob_cov,),
    "Mellor et al. 2020 (arXiv 2006.04647v1), in the form of zero-cost-nas",
    needs=("images", "gradients"),
    least_images=2,
    nan="-inf where an image has a constant gradient",
)
