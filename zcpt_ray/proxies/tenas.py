"""tenas: trainability and expressivity as ranks (Chen et al. 2021; eq. 12 of the paper).

Trainability is the condition number of the neural tangent kernel, expressivity the number of linear regions. Their
sizes cannot be compared, so networks that compete (`Scoring.scope`, or the candidates of a search) are ranked by each
and scored by the sum of their ranks.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics, running_layers, weights_of
from zcpt_ray.engine.relu_codes import BinaryCode, relu_code, watched_activations
from zcpt_ray.proxies.base import Measured, Proxy, in_memory_order, not_served
from zcpt_ray.seeding import generator

NTK_IMAGES, TENAS_IMAGES = 16, 72
"""Images of the minibatch that the kernel is taken over, here and by Chen et al. on NAS-Bench-201.

Each costs a backward pass through all of them.
"""
REGION_BATCHES, REGION_IMAGES, REGION_PIXELS = 3, 1000, 3
"""How many images of 1x3x3 linear regions are counted on."""


def negative_condition_number(net: nn.Module, batch: Batch, num_images: int = NTK_IMAGES) -> float:
    """-lambda_max / lambda_min of the NTK over the first `num_images`, or all there are; -inf where it is singular.

    The kernel is G G^T, row i of G being the gradient of the sum of image i's logits by all weights, in train mode.
    Eigenvalues are taken in float64 by `eigvalsh`: a symmetric kernel of rank deficit has no small complex ones.
    """
    with batch_statistics(net):
        with running_layers(net) as ran:
            logits = net(in_memory_order(batch.images[:num_images]))  # [b, num_classes]
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
    """Number of different codes of the network's thin form over 3 x 1000 crops of the minibatch; 1 to 3000.

    As in the code of Chen et al., the images are normalised, and a crop is one channel of 3x3 pixels; here they are of
    the minibatch at hand. Random noise would do as well as nothing: nearly every image would have a region of its own.

    Raises:
        UserError: the network has no thin form.
    """
    thin = getattr(net, "thin", None)
    if thin is None:
        raise not_served(net, "a thin form")
    codes: list[BinaryCode] = []
    rows = []
    with watched_activations(lambda x: codes.append(relu_code(x))), batch_statistics(thin), torch.no_grad():
        for crops in torch.split(random_crops(batch), REGION_IMAGES):
            codes.clear()
            thin(crops)
            rows.append(torch.cat([code.bits for code in codes], dim=1).numpy())
    return float(len(np.unique(np.concatenate(rows), axis=0)))


def random_crops(batch: Batch) -> Tensor:
    """Of random images and channels of a minibatch, random places: [3000, 1, 3, 3] on the CPU, the same for a seed."""
    random = generator(batch.seed, "linear regions")
    images, channels, height, width = batch.images.shape
    rows, columns = height - REGION_PIXELS + 1, width - REGION_PIXELS + 1
    drawn = [
        torch.from_numpy(random.integers(0, most, REGION_BATCHES * REGION_IMAGES))
        for most in (images, channels, rows, columns)
    ]
    image, channel, row, column = (numbers[:, None, None].to(batch.images.device) for numbers in drawn)
    pixels = torch.arange(REGION_PIXELS, device=batch.images.device)
    crops: Tensor = batch.images[image, channel, row + pixels[:, None], column + pixels]
    return crops[:, None].float().cpu()


def rank_sum(measured: Sequence[Measured]) -> list[float]:
    """Per architecture the sum of its ranks by each measure, 1 for the worst, equals sharing the mean of theirs."""
    return [float(total) for total in rankdata(np.array(measured), axis=0).sum(axis=1)]


def _tenas(name: str, num_images: int) -> Proxy:
    return Proxy(
        name,
        (partial(negative_condition_number, num_images=num_images), linear_regions),
        f"Chen et al. 2021, eq. 12; the kernel of up to {num_images} images",
        direction="ranks: 1 for the greatest condition number and for the fewest regions",
        dtype="float32, kernel in float64",
        needs=("images", "gradients"),
        removed_op="no gradients; a constant code in linear regions",
        nan="-inf for a singular kernel",
        reads=("a thin form",),
        thin=True,
        combine=rank_sum,
    )


TENAS = _tenas("tenas", NTK_IMAGES)
TENAS_72 = _tenas("tenas-72", TENAS_IMAGES)
