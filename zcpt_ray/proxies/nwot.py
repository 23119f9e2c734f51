"""nwot: how differently a network's ReLUs split the images of a minibatch (Mellor et al. 2021; eq. 11 of the paper).

S = log |det K| with K_ij = N_A - d_H(c_i, c_j), where c_i is the binary code (> 0) of every ReLU input for image i, N_A the
length of the code and d_H the Hamming distance. Greater is better. Networks are read in eval mode: at initialisation running
means are 0 and variances 1, so no image touches another. Labels are not used.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from zcpt_ray.arch import PartialArch
from zcpt_ray.data import Batch
from zcpt_ray.layers import RELUS, ReluCode, eval_mode, relu_code, watched_inputs
from zcpt_ray.ops import ReLUConvBN
from zcpt_ray.proxies.base import Measured, Proxy
from zcpt_ray.supernet import Supernet


def agreement(code: Tensor) -> Tensor:
    """Number of units on which two images agree: bool [B, D] -> int32 or float32 [B, B] with exact integers (D < 2^24)."""
    if code.device.type == "cpu":
        both = torch._int_mm(code.view(torch.int8), code.view(torch.int8).T)
    else:
        both = code.float() @ code.float().T
    ones = both.diagonal()
    return code.shape[1] - ones[:, None] - ones + 2 * both


def log_determinant(kernel: np.ndarray) -> float:
    """log |det K| of float64 [B, B]; -inf where K is singular, as when two images have one code.

    With numpy: torch's batched CPU version has returned garbage.
    """
    return float(np.linalg.slogdet(kernel)[1])


@torch.no_grad()
def relu_kernel(net: nn.Module, images: Tensor, observed: tuple[type[nn.Module], ...] = RELUS) -> np.ndarray:
    """K of `images` [B, ...], float64 [B, B], summed over the inputs of the `observed` modules, in the mode that `net` is in."""
    kernel = np.zeros((len(images), len(images)))

    def see(x: Tensor) -> None:
        nonlocal kernel
        kernel += agreement(relu_code(x)).cpu().numpy()

    with watched_inputs((module for module in net.modules() if isinstance(module, observed)), see):
        net(images)
    return kernel


def _row(name: str, reads: Callable[[ReluCode], int], hooked: tuple[type[nn.Module], ...], reference: str) -> Proxy:
    """A reading of "every ReLU": how often a code counts, and the modules whose inputs carry those codes."""

    def score(net: nn.Module, batch: Batch) -> float:
        with eval_mode(net):
            return log_determinant(relu_kernel(net, batch.images, hooked))

    def measure_variants(supernet: Supernet, archs: Sequence[PartialArch], batch: Batch, alone: bool) -> list[Measured]:
        kernels = np.zeros((len(archs), len(batch.images), len(batch.images)))
        for site in supernet.relu_sites(archs, batch.images):
            code = site.without_removed_ops() if alone else site
            part = reads(code) * agreement(site.code).cpu().numpy() + code.silent * site.code.shape[1]
            for arch in site.archs:
                kernels[arch] += part
        return [(log_determinant(kernel),) for kernel in kernels]

    return Proxy(
        name,
        (score,),
        reference,
        batch_norm="running",
        needs=("images",),
        removed_op="a code of zeros for each of its ReLUs, as if it ran on zeros",
        nan="-inf where the kernel is singular",
        measure_variants=measure_variants,
    )


NWOT = _row("nwot", lambda code: code.relus, RELUS, "Mellor et al. 2021, eq. 11 of the paper")
NWOT_RELEASED = _row(
    "nwot-released",
    lambda code: code.relus + code.blocks,
    (*RELUS, ReLUConvBN),
    "the paper's released code, which counts the input of each ReLU-conv-BN block beside its ReLU",
)
