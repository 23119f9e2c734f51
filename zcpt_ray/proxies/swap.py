"""swap: how many different patterns of images a network's units are active for (Peng et al. 2024)."""

import numpy as np
import torch
from torch import Tensor, nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.inspection import batch_statistics, eval_mode
from zcpt_ray.engine.relu_codes import watched_activations
from zcpt_ray.proxies.base import Proxy, in_memory_order

WORD = 32
"""Images whose bits are compared at a time."""


@torch.no_grad()
def swap(net: nn.Module, batch: Batch, running_statistics: bool = False) -> float:
    """Number of different rows of the 0/1 matrix [units, B] that says for which images a unit is > 0; 1 to 2^B.

    Units are all elements that activations read [B, C, H, W] or [B, T, C], in train mode. Of few images most patterns
    occur whatever the network: take more than log2 of the units, about 20.
    """
    seen: list[np.ndarray] = []

    def see(x: Tensor) -> None:
        if x.dim() >= 3:
            bits = (x > 0).flatten(1).cpu().numpy()  # [B, units]
            seen.append(_words(bits))

    modes = eval_mode(net) if running_statistics else batch_statistics(net)
    with modes, watched_activations(see):
        net(in_memory_order(batch.images))
    if not seen:
        return 0.0
    patterns, *rest = (np.concatenate(words) for words in zip(*seen, strict=True))
    for words in rest:
        numbered = np.unique(patterns, return_inverse=True)[1].astype(np.uint64)
        patterns = numbered << np.uint64(WORD) | words
    return float(len(np.unique(patterns)))


def _words(bits: np.ndarray) -> np.ndarray:
    """The bits [B, units] as numbers of 32 bits, [words, units]; patterns that a unit has repeatedly are left in."""
    missing = -len(bits) % WORD
    padded = np.concatenate([bits, np.zeros((missing, bits.shape[1]), bool)]) if missing else bits
    packed = np.packbits(padded, axis=0).reshape(-1, WORD // 8, bits.shape[1]).astype(np.uint64)
    shifts = np.arange(0, WORD, 8, dtype=np.uint64)[:, None]
    words: np.ndarray = (packed << shifts).sum(1, dtype=np.uint64)
    return words


SWAP = Proxy(
    "swap",
    (swap,),
    "Peng et al. 2024 (SWAP-NAS); one set of weights",
    needs=("images",),
    removed_op="nothing: on zeros its units are active for no image",
)
