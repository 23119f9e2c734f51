"""tenas: trainability and expressivity as ranks (Chen et al. 2021; eq. 12 of the paper).

Trainability is the condition number of the neural tangent kernel, expressivity the number of linear regions. Their
sizes cannot be compared, so networks that compete (the variants of one edge, or the candidates of a search) are ranked
by each and scored by the sum of their ranks.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics, running_layers, watched_inputs, weights_of
from zcpt_ray.engine.relu_codes import RELUS, BinaryCode, relu_code
from zcpt_ray.errors import UserError
from zcpt_ray.proxies.base import Measured, Proxy, in_memory_order
from zcpt_ray.seeding import derive_seed

NTK_IMAGES = 16
"""Images of the minibatch that the kernel is taken over: each costs a backward pass through all of them."""
REGION_BATCHES, REGION_IMAGES = 3, 1000
"""How many random images of 1x3x3 linear regions are counted on."""


def negative_condition_number(net: nn.Module, batch: Batch) -> float:
    """-lambda_max / lambda_min of the NTK over the first 16 images; -inf where it is singular.

    The kernel is G G^T, row i of G being the gradient of the sum of image i's logits by all weights, in train mode.
    Eigenvalues are taken in float64 by `eigvalsh`: a symmetric kernel of rank deficit has no small complex ones.
    """
    with batch_statistics(net):
        with running_layers(net) as ran:
            logits = net(in_memory_order(batch.images[:NTK_IMAGES]))  # [b, num_classes]
        weights = weights_of(ran)
        rows = [
            torch.autograd.grad(image.sum(), weights, retain_graph=True, materialize_grads=True) for image in logits
        ]
    kernel = torch.zeros(len(logits), len(logits), dtype=torch.float64, device=logits.device)
    for layer in zip(*rows, strict=True):
        flat = torch.stack(layer).flatten(1).double()
        kernel += flat @ flat.T
    eigenvalues = np.linalg.eigvalsh(kernel.cpu().numpy())
    return -float(eigenvalues[-1] / eigenvalues[0]) if eigenvalues[0] > 0 else -math.inf


def linear_regions(net: nn.Module, batch: Batch) -> float:
    """Number of different ReLU codes of the network's thin form over 3 x 1000 random images of 1x3x3; 1 to 3000.

    Raises:
        UserError: the network has no thin form.
    """
    thin = getattr(net, "thin", None)
    if thin is None:
        raise UserError("tenas counts linear regions on the thin form of a network, which this one does not have")
    codes: list[BinaryCode] = []
    rows = []
    relus = [module for module in thin.modules() if isinstance(module, RELUS)]
    with watched_inputs(relus, lambda x: codes.append(relu_code(x))), batch_statistics(thin), torch.no_grad():
        for part in range(REGION_BATCHES):
            random = torch.Generator().manual_seed(derive_seed(batch.seed, "linear regions", part))
            codes.clear()
            thin(torch.randn(REGION_IMAGES, 1, 3, 3, generator=random))
            rows.append(torch.cat([code.bits for code in codes], dim=1).numpy())
    return float(len(np.unique(np.concatenate(rows), axis=0)))


def rank_sum(measured: Sequence[Measured]) -> list[float]:
    """Per architecture the sum of its ranks by each measure, 1 for the worst, equals sharing the mean of theirs."""
    return [float(total) for total in rankdata(np.array(measured), axis=0).sum(axis=1)]


TENAS = Proxy(
    "tenas",
    (negative_condition_number, linear_regions),
    "Chen et al. 2021, eq. 12",
    direction="ranks: 1 for the greatest condition number and for the fewest regions",
    dtype="float32, kernel in float64",
    needs=("images", "gradients"),
    removed_op="no gradients; a constant code in linear regions",
    nan="-inf for a singular kernel",
    thin=True,
    combine=rank_sum,
)
