"""Converts the official file of NATS-Bench's size space into the table that is read here.

That is `NATS-sss-v1_0-50262.pickle.pbz2`, or the folder `NATS-sss-v1_0-50262-simple` with a file per network. Both are
pickles, and a pickle can run code: only containers and numbers are built, anything else is refused.
"""

import bz2
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from zcpt_ray.benchmarks.convert_nasbench201 import official_row, written_table
from zcpt_ray.datasets.pickles import read_numbers
from zcpt_ray.errors import UserError

LONG, SHORT = "90", "12"
"""Epochs of the trainings that are read."""
TOLD_EVERY = 2000


def convert(source: Path, target: Path, report: Callable[[str], None] = lambda _: None) -> pd.DataFrame:
    """Write the table of an official file or folder to `target`, and return it.

    `index` is the number that NATS-Bench gives an architecture. Accuracies in percent after 90 epochs (`_e12`: after
    12), mean over the training seeds and per seed.

    Raises:
        UserError: it is missing, damaged, of another format, or asks for something that is not trusted.
    """
    rows = []
    try:
        for index, arch, results in _networks(source):
            rows.append({"index": index, **official_row(arch, results[LONG], results[SHORT])})
            if len(rows) % TOLD_EVERY == 0:
                report(f"{len(rows):,} networks read")
    except Exception as error:  # a damaged pickle can fail in any way
        raise UserError(f"cannot read {source} as a file of NATS-Bench's size space: {error!r}") from error
    return written_table(rows, target, f"{source} holds no architecture")


def _networks(source: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Number, architecture, and results by epochs, of each network."""
    if source.is_dir():
        archs = _read(source / "meta.pickle.pbz2")["meta_archs"]
        for path in sorted(source.glob("[0-9]*.pickle.pbz2")):
            index = int(path.name.partition(".")[0])
            yield index, archs[index], _read(path)
        return
    content = _read(source)
    for index, results in sorted(content["arch2infos"].items()):
        yield index, content["meta_archs"][index], results


def _read(path: Path) -> Any:
    with bz2.open(path) as file:
        return read_numbers(file)
