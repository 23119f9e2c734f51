"""near: how many directions a network's layers spread their outputs over (Husistein, Reiher and Eckhoff 2025)."""

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics, eval_mode, watched_outputs
from zcpt_ray.proxies.base import Proxy, in_memory_order

ACTIVATION_MODULES = "torch.nn.modules.activation"


@torch.no_grad()
def near(
    net: nn.Module, batch: Batch, draw: Callable[[int], int] = lambda bound: 0, running_statistics: bool = False
) -> float:
    """Sum over layers of the effective rank exp(-sum_i p_i log p_i), p_i the shares of a square matrix's singular
    values.

    Layers are modules with a weight (convolutions, linear layers, norms) and activation modules. The rows of a matrix
    are C positions of the output, its columns the C channels. Rows begin where `draw` says, given the number of places
    there are, layer by layer; by default with the first image, where published code draws at random: networks that are
    compared are so looked at alike. Norms use the minibatch's statistics, or running ones.
    """
    pieces: dict[torch.Size, list[Tensor]] = defaultdict(list)

    def see(output: Tensor) -> None:
        piece = _square_piece(output, draw)
        pieces[piece.shape].append(piece)

    layers = [module for module in net.modules() if hasattr(module, "weight") or _is_activation(module)]
    modes = eval_mode(net) if running_statistics else batch_statistics(net)
    with modes, watched_outputs(layers, see):
        net(in_memory_order(batch.images))
    return float(torch.stack([effective_ranks(torch.stack(group)).sum() for group in pieces.values()]).sum())


def effective_ranks(matrices: Tensor) -> Tensor:
    """Of each of [n, rows, columns], 0 to the lesser of both; 0 where all is 0."""
    values = torch.linalg.svdvals(matrices)
    total = values.sum(-1, keepdim=True)
    shares = torch.where(total > 0, values / total, 0.0)
    return torch.where(total[:, 0] > 0, torch.special.entr(shares).sum(-1).exp(), 0.0)


def _is_activation(module: nn.Module) -> bool:
    return type(module).__module__ == ACTIVATION_MODULES and not isinstance(module, nn.MultiheadAttention)


def _square_piece(output: Tensor, draw: Callable[[int], int]) -> Tensor:
    """C rows of an output [B, C, H, W], of its positions image by image and column by column, or of [B, ..., C]."""
    if output.dim() == 4:
        (count, channels, height, width) = output.shape
        bound, step, area = count * height - 1, width, height * width
    else:
        output = output.flatten(0, -2)
        (count, channels), area = output.shape, 1
        bound, step = count // channels - 1, channels
    start = step * draw(bound) if bound > 0 else 0
    first, last = start // area, -(-(start + channels) // area)
    images = output[first:last]
    rows = images.permute(0, 3, 2, 1).flatten(0, 2) if output.dim() == 4 else images
    return rows[start - first * area :][:channels]


NEAR = Proxy(
    "near",
    (near,),
    "Husistein et al. 2025 (arXiv 2408.08776); the first rows of each output, where its code draws some",
    needs=("images",),
    removed_op="nothing: the ranks of its outputs are 0",
    nan="0 for a layer that gives zeros only",
)
