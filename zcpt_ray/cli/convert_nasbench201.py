"""The command `zcpt convert-nasbench201`: the official NAS-Bench-201 file becomes the table that searches look up."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from zcpt_ray.cli.console import one_line_errors
from zcpt_ray.cli.convert import convert_official

CONVERT_DESCRIPTION = """Convert the official NAS-Bench-201 file into a parquet table.

Examples:
  zcpt convert-nasbench201 NAS-Bench-201-v1_1-096897.pth
  ZCPT_DATA=~/data zcpt convert-nasbench201 ~/downloads/NAS-Bench-201-v1_1-096897.pth
  zcpt convert-nasbench201 NAS-Bench-201-v1_1-096897.pth --out nasbench201.parquet"""


def convert_file(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")], out: Path | None = None
) -> None:
    """Convert the official NAS-Bench-201 file into a parquet table.

    Args:
        source: The file, such as NAS-Bench-201-v1_1-096897.pth.
        out: Where to write the table; by default where searches look for it, below $ZCPT_DATA.
    """
    convert_official(source, "nasbench201", out)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command on these arguments, by default those of the process; exits with 2 if it cannot be done."""
    with one_line_errors():
        tyro.cli(convert_file, prog="zcpt convert-nasbench201", description=CONVERT_DESCRIPTION, args=argv)
