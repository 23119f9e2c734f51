"""The parts of AZ-NAS (Lee and Ham 2024): features of a network's blocks, and what flows back through each block."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics, hooked
from zcpt_ray.proxies.base import Lacking, Proxy, in_memory_order, not_served
from zcpt_ray.proxies.flops import FLOPS
from zcpt_ray.seeding import derive_seed

ENTROPY_EPSILON = 1e-8
"""Beside the shares whose entropy is taken."""
RESPONSE_EPSILON = 1e-6
FEATURES: Lacking = "features [B, C, H, W] of two blocks"
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
Probe = Callable[[int, Tensor], Tensor]
"""+1 or -1 at random, like a feature, for the block of this number."""


def expressivity(net: nn.Module, batch: Batch) -> float:
    """Sum over features of the entropy of their principal components' shares, in train mode; -inf for zeros."""
    return sum(feature_entropies(net, batch))


def progressivity(net: nn.Module, batch: Batch) -> float:
    """The least growth of that entropy from a block to the next; -inf where a feature is zeros."""
    found = feature_entropies(net, batch)
    grown = [after - before for before, after in pairwise(found)]
    return min(-math.inf if math.isnan(each) else each for each in grown)


def trainability(net: nn.Module, batch: Batch, probe: Probe | None = None) -> float:
    """Mean over blocks of 2 - s - 1 / (s + 1e-6), at most 0: s is how much a block scales random gradients back.

    That is the largest singular value of G = g_in^T g_out / N, N pixels, where g_out is +-1 at random and g_in what
    the block alone makes of it. -inf where a block hands on its input.
    """
    draw = probe or (lambda index, like: _signs(batch.seed, index, like))
    found: list[Tensor] = []
    before: list[Tensor] = []

    def see(feature: Tensor) -> Tensor:
        if before:
            found.append(_response(before[-1], feature, draw(len(found) + 1, feature)))
        before[:] = [feature.detach().requires_grad_()]
        return before[-1]

    with batch_statistics(net), torch.enable_grad(), watched_features(net, see):
        net(in_memory_order(batch.images))
    if not found:
        raise not_served(net, FEATURES)
    return float(torch.stack(found).mean())


@torch.no_grad()
def feature_entropies(net: nn.Module, batch: Batch) -> list[float]:
    """-sum_i p_i log(p_i + 1e-8) of each block's feature, p_i the shares of its covariance's eigenvalues."""
    found: list[Tensor] = []

    def see(feature: Tensor) -> Tensor:
        found.append(_entropy(feature))
        return feature

    with batch_statistics(net), watched_features(net, see):
        net(in_memory_order(batch.images))
    if len(found) < 2:
        raise not_served(net, FEATURES)
    return [-math.inf if math.isnan(entropy) else entropy for entropy in torch.stack(found).tolist()]


def _entropy(feature: Tensor) -> Tensor:
    pixels = feature.movedim(1, -1).flatten(0, -2)  # [N, C]
    pixels = pixels - pixels.mean(0)
    eigenvalues = torch.linalg.eigvalsh(pixels.T @ pixels / len(pixels)).clamp_min(0)
    shares: Tensor = eigenvalues / eigenvalues.sum()
    return -(shares * (shares + ENTROPY_EPSILON).log()).sum()


def _response(read: Tensor, feature: Tensor, signs: Tensor) -> Tensor:
    back = None
    if feature.requires_grad:
        (back,) = torch.autograd.grad(feature, read, signs, allow_unused=True)
    back = torch.zeros_like(read) if back is None else back
    out = signs.movedim(1, -1).flatten(0, -2)
    gradients: Tensor = _as_fine_as(back, signs).movedim(1, -1).flatten(0, -2)
    scale = torch.linalg.matrix_norm(gradients.T @ out / len(out), 2)
    response: Tensor = 2 - scale - 1 / (scale + RESPONSE_EPSILON)
    return torch.where((back == signs).all(), -math.inf, response) if back.shape == signs.shape else response


def _as_fine_as(gradient: Tensor, coarse: Tensor) -> Tensor:
    """A gradient [B, C, H, W] with the pixels of a coarser one: those that become one are further channels."""
    factor = -(-gradient.shape[-1] // coarse.shape[-1])
    right, below = (factor * coarse.shape[dim] - gradient.shape[dim] for dim in (-1, -2))
    pixels: Tensor = F.pixel_unshuffle(F.pad(gradient, (0, right, 0, below)), factor)
    return pixels


def _signs(seed: int, index: int, like: Tensor) -> Tensor:
    random = torch.Generator().manual_seed(derive_seed(seed, "trainability", index))
    return (torch.randint(0, 2, like.shape, generator=random) * 2 - 1).to(like)


def watched_features(net: nn.Module, see: Callable[[Tensor], Tensor]) -> AbstractContextManager[None]:
    """Inside, `see` is given each block's feature [B, C, H, W] in turn, and what it gives goes on in its place.

    Blocks are the children of the network, and in place of an nn.Sequential or a list of modules what it holds; of an
    only child, its blocks. Where a block hands on several tensors, as cells with two inputs do, its feature is the
    last.
    """

    def hook(_: nn.Module, __: object, output: object) -> object:
        if isinstance(output, tuple) and output and isinstance(output[-1], Tensor):
            return (*output[:-1], see(output[-1])) if output[-1].dim() == 4 else output
        return see(output) if isinstance(output, Tensor) and output.dim() == 4 else output

    return hooked([block.register_forward_hook(hook) for block in _blocks(net)])


def _blocks(net: nn.Module) -> list[nn.Module]:
    children = [
        block for child in net.children() for block in (_blocks(child) if isinstance(child, CONTAINERS) else [child])
    ]
    return _blocks(children[0]) if len(children) == 1 and any(True for _ in children[0].children()) else children


EXPRESSIVITY = Proxy(
    "expressivity",
    (expressivity,),
    "Lee and Ham 2024 (AZ-NAS)",
    reads=(FEATURES,),
    needs=("images",),
    removed_op="what its edge's sum lacks",
    nan="-inf where a feature is zeros",
)
PROGRESSIVITY = replace(EXPRESSIVITY, name="progressivity", measures=(progressivity,))
TRAINABILITY = Proxy(
    "trainability",
    (trainability,),
    "Lee and Ham 2024 (AZ-NAS)",
    reads=(FEATURES,),
    needs=("images", "gradients"),
    removed_op="what its edge's sum lacks",
    nan="-inf where a block hands on its input",
)
COMPLEXITY = replace(FLOPS, name="complexity", reference="Lee and Ham 2024 (AZ-NAS): the number of multiply-adds")
