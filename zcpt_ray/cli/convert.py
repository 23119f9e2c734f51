"""The command `zcpt convert`: a benchmark's official file becomes the table that searches look up."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from zcpt_ray.cli.console import one_line_errors

CONVERT_HELP = """Convert the official file of a tabular benchmark into a parquet table.

Examples:
  zcpt convert nasbench_only108.tfrecord --space nasbench101
  zcpt convert NATS-sss-v1_0-50262-simple --space nats-size
  ZCPT_DATA=~/data zcpt convert ~/downloads/NAS-Bench-201-v1_1-096897.pth --space nasbench201"""


def convert_official(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")],
    space: Literal["nasbench101", "nasbench201", "nats-size"],
    out: Path | None = None,
) -> None:
    """Convert the official file of a tabular benchmark into a parquet table.

    Args:
        source: The file, or the folder of NATS-Bench.
        space: The search space that it is of.
        out: Where to write the table; by default where searches look for it, below $ZCPT_DATA.
    """
    from zcpt_ray.benchmarks import convert_nasbench101, convert_nasbench201, convert_nats_size  # imports torch
    from zcpt_ray.benchmarks.formats import WHOLE_TABLES
    from zcpt_ray.storage.paths import data_directory

    target = (out or data_directory() / WHOLE_TABLES[space].file).expanduser()
    given = source.expanduser()
    if space == "nasbench201":
        table = convert_nasbench201.convert(given, target)
    else:
        module = convert_nasbench101 if space == "nasbench101" else convert_nats_size
        table = module.convert(given, target, lambda line: print(line, flush=True))
    print(f"{len(table)} architectures -> {target}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command on these arguments, by default those of the process; exits with 2 if it cannot be done."""
    with one_line_errors():
        tyro.cli(convert_official, prog="zcpt convert", description=CONVERT_HELP, args=argv)
