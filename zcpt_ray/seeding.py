"""Seeds from named parts: the only source of randomness."""

import hashlib
import operator

import numpy as np


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2^63) that depends on `parts` alone: the same in every process, on every machine.

    Whole numbers of numpy count as Python's.

    Example: `derive_seed(seed, "proposal", 3, "minibatch", 0)`.
    """
    plain = (part if isinstance(part, str) else operator.index(part) for part in parts)
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in plain)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """A numpy random generator seeded by `derive_seed(*parts)`."""
    return np.random.default_rng(derive_seed(*parts))
