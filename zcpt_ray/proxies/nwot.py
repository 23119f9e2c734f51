"""nwot: how differently a network's ReLUs split the images of a minibatch (Mellor et al. 2021; eq. 11 of the paper).

S = log |det K| with K_ij = N_A - d_H(c_i, c_j), where c_i is the binary code (> 0) of every ReLU input for image i, N_A
the length of the code and d_H the Hamming distance. Other activations (`relu_codes.ACTIVATIONS`: GELU, SiLU, ...) count
as ReLUs do, by the sign of what they read; gates such as sigmoid do not. Greater is better. Networks are read in eval
mode: at initialisation running means are 0 and variances 1, so no image touches another. Labels are not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from zcpt_ray.arch import PartialArch
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.code_kernels import CodeKernels
from zcpt_ray.engine.inspection import eval_mode, watched_inputs
from zcpt_ray.engine.ops import ReLUConvBN
from zcpt_ray.engine.relu_codes import ACTIVATIONS, relu_code, watched_activations
from zcpt_ray.engine.supernet import Supernet
from zcpt_ray.errors import UserError
from zcpt_ray.proxies.base import Measuring, Proxy


def log_determinant(kernel: np.ndarray) -> float:
    """log |det K| of float64 [B, B]; -inf where K is singular.

    It is if two images have one code. That is looked for, as rounding may make any number of such a determinant.
    With numpy: torch's batched CPU version has returned garbage.
    """
    if len(kernel) > 1 and np.triu(kernel, 1).max() >= kernel[0, 0]:
        return -np.inf
    return float(np.linalg.slogdet(kernel)[1])


@torch.no_grad()
def relu_kernel(net: nn.Module, images: Tensor, counts_blocks: bool = False) -> np.ndarray:
    """K of `images` [B, ...]: float64 [B, B], summed over what activations read and, if wanted, ReLU-conv-BN blocks.

    The network runs in the mode that it is in.

    Raises:
        UserError: it has no activation.
    """
    sums = CodeKernels.on(images.device, 1, len(images))
    blocks = [module for module in net.modules() if isinstance(module, ReLUConvBN) and counts_blocks]
    with (
        watched_activations(lambda x: sums.add([0], relu_code(x))),
        watched_inputs(blocks, lambda x: sums.add([0], relu_code(x))),
    ):
        net(images)
    _require_seen(sums)
    kernel: np.ndarray = sums.kernels()[0]
    return kernel


def _require_seen(sums: CodeKernels) -> None:
    if not any(sums.units):
        raise UserError(
            "nwot tells images apart by what activations read, and this network has none that it knows"
            f" ({', '.join(sorted({function.__name__.strip('_') for function in ACTIVATIONS}))})"
        )


@dataclass(frozen=True)
class ReluCount:
    """How often a code counts: once for each ReLU and, with `counts_blocks`, for each ReLU-conv-BN block that reads it.

    A block's input so counts twice, for the block and for its ReLU.
    """

    counts_blocks: bool

    def score(self, net: nn.Module, batch: Batch) -> float:
        """log |det K| of one network."""
        with eval_mode(net):
            return log_determinant(relu_kernel(net, batch.images, self.counts_blocks))

    def measure_variants(
        self, supernet: Supernet, archs: Sequence[PartialArch], batch: Batch, alone: bool
    ) -> Measuring:
        """`score` of each of `archs`, all at once; see `Proxy`. Determinants are left to do on the host."""
        sums = CodeKernels.on(batch.images.device, len(archs), len(batch.images))
        for site in supernet.relu_sites(archs, batch.images):
            read = site.without_removed_ops() if alone else site
            times = read.relus + read.blocks if self.counts_blocks else read.relus
            sums.add(site.archs, read.code, times, read.silent)
        _require_seen(sums)
        return lambda: [(log_determinant(kernel),) for kernel in sums.kernels()]

    def proxy(self, name: str, reference: str) -> Proxy:
        """This reading as a row of the table of proxies."""
        return Proxy(
            name,
            (self.score,),
            reference,
            batch_norm="running",
            needs=("images",),
            least_images=2,
            removed_op="a code of zeros for each of its ReLUs, as if it ran on zeros",
            nan="-inf where the kernel is singular",
            measure_variants=self.measure_variants,
        )


NWOT = ReluCount(counts_blocks=False).proxy("nwot", "Mellor et al. 2021, eq. 11 of the paper")
NWOT_RELEASED = ReluCount(counts_blocks=True).proxy(
    "nwot-released",
    "the paper's released code, which counts the input of each ReLU-conv-BN block beside its ReLU",
)
