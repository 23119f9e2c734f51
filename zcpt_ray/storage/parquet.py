"""Reading tables, of which a damaged one can fail in any way."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zcpt_ray.errors import UserError
from zcpt_ray.storage.paths import AnyPath

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def reading(path: AnyPath, remedy: str = "") -> Iterator[None]:
    """Inside, whatever goes wrong is the file's fault, in one line; `remedy` says what helps if it is one of our own.

    Raises:
        UserError: it cannot be read.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        why = str(error) or repr(error)
        raise UserError(f"{path} is damaged ({why}); {remedy}" if remedy else f"cannot read {path}: {why}") from error


def read_parquet(path: AnyPath, remedy: str = "") -> "pd.DataFrame":
    """The table in a file.

    Raises:
        UserError: it cannot be read.
    """
    import pandas as pd  # who reads images only does without

    with reading(path, remedy):
        return pd.read_parquet(path if isinstance(path, Path) else io.BytesIO(path.read_bytes()))


def read_csv(path: AnyPath) -> "pd.DataFrame":
    """The table in a file of comma-separated values.

    Raises:
        UserError: it cannot be read.
    """
    import pandas as pd

    with reading(path):
        return pd.read_csv(io.BytesIO(path.read_bytes()))
