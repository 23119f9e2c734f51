"""Pickled batches of images, as the CIFAR and ImageNet16 archives hold them; reading them runs no code."""

import pickle
from typing import IO, Any


class _ArraysOnly(pickle.Unpickler):
    """Unpickles plain containers and numpy arrays, and refuses whatever else a file asks for."""

    allowed = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy.core.numeric", "_frombuffer"),
            ("numpy._core.numeric", "_frombuffer"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a data file")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


class _NumbersOnly(_ArraysOnly):
    """Numpy's scalars and ordered dicts as well."""

    allowed = _ArraysOnly.allowed | {
        ("collections", "OrderedDict"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
    }


def read_numbers(file: IO[bytes]) -> Any:
    """Read pickled containers of texts, numbers and arrays.

    A file that holds something else, or a damaged one, can raise anything.
    """
    return _NumbersOnly(file).load()


def read_batch(file: IO[bytes]) -> dict[str, Any]:
    """Read a pickled dict, of Python 2 or 3.

    A file that holds something else, or a damaged one, can raise anything.
    """
    batch = _ArraysOnly(file, encoding="bytes").load()
    return {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
