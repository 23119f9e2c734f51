"""meco: how independent the channels of a network's feature maps are (Jiang, Wang and Bie 2023)."""

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics, leaves_of, watched_outputs
from zcpt_ray.proxies.base import Proxy, in_memory_order
from zcpt_ray.seeding import generator

OPT_CHANNELS = 8
"""Channels of an output that meco-opt draws."""
CONSTANT = 1e-12
"""A channel whose variance is a smaller share of its mean square says nothing: it is rounding."""


def meco(net: nn.Module, batch: Batch) -> float:
    """Sum over outputs of the smallest eigenvalue of the correlations of their channels, on the first image.

    Outputs are those of modules without children, each once, in train mode. Published code takes every module, so that
    one tensor counts as often as modules hand it on, and scores depend on how a network is cut into modules.
    """
    return float(smallest_eigenvalues(_correlations(net, batch.images[:1])).sum())


def meco_opt(net: nn.Module, batch: Batch) -> float:
    """As `meco`, of 8 channels of each output, drawn from the batch's seed, times C / 8."""
    correlations, random = _correlations(net, batch.images[:1]), generator(batch.seed, "meco-opt")
    sizes = sorted({len(matrix) for matrix in correlations})
    drawn = {size: random.permutation(size)[:OPT_CHANNELS] for size in sizes}  # the same for all outputs of a size
    parts = [matrix[np.ix_(drawn[len(matrix)], drawn[len(matrix)])] for matrix in correlations]
    shares = [len(matrix) / len(part) for matrix, part in zip(correlations, parts, strict=True)]
    return float(np.dot(shares, smallest_eigenvalues(parts)))


@torch.no_grad()
def _correlations(net: nn.Module, images: Tensor) -> list[Tensor]:
    found: list[Tensor] = []

    def see(output: Tensor) -> None:
        if output.dim() in (3, 4):
            found.append(channel_correlations(output))

    with batch_statistics(net), watched_outputs(leaves_of(net), see):
        net(in_memory_order(images))
    return found


def channel_correlations(output: Tensor) -> Tensor:
    """Pearson correlations [C, C] of the channels of the first image, float64 on the CPU, of [B, C, H, W] or [B, T, C].

    0 where a channel is constant.
    """
    channels = output[0].flatten(1) if output.dim() == 4 else output[0].T
    channels = channels.double() if output.device.type == "cpu" else channels
    centred = channels - channels.mean(1, keepdim=True)
    norms = centred.norm(dim=1)
    varies = norms.square() > CONSTANT * channels.square().sum(1)
    scaled = torch.where(varies[:, None], centred / norms[:, None].clamp_min(1e-30), 0.0)
    return (scaled @ scaled.T).cpu().double()


def smallest_eigenvalues(matrices: list[Tensor]) -> np.ndarray:
    """Of each of some symmetric matrices, in their order, float64."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for index, matrix in enumerate(matrices):
        by_size[len(matrix)].append(index)
    smallest = np.zeros(len(matrices))
    for members in by_size.values():
        smallest[members] = np.linalg.eigvalsh(torch.stack([matrices[i] for i in members]).numpy())[:, 0]
    return smallest


MECO = Proxy(
    "meco",
    (meco,),
    "Jiang et al. 2023; outputs of modules without children, each once",
    needs=("images",),
    removed_op="nothing: its outputs are constant",
    nan="0 for correlations with a channel that is constant",
)
MECO_OPT = Proxy(
    "meco-opt",
    (meco_opt,),
    "Jiang et al. 2023, with 8 channels of each output",
    direction="as published; not to be compared with meco",
    needs=("images",),
    removed_op="nothing: its outputs are constant",
    nan="0 for correlations with a channel that is constant",
)
