"""The command `zcpt mirror`: copies a folder to object storage, or from it, once or again and again."""

import sys
import time
from collections.abc import Sequence
from typing import Annotated

import tyro

from zcpt_ray.cli.console import one_line_errors
from zcpt_ray.errors import UserError
from zcpt_ray.storage.mirror import Place, mirror

MIRROR_DESCRIPTION = """Copy what the target lacks: new files and those that have changed. Nothing is deleted.

Examples:
  zcpt mirror runs s3://bucket/runs
  zcpt mirror s3://bucket/data ~/data
  zcpt mirror ~/runs s3://bucket/runs --every 60"""


def copy_folder(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FROM")],
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TO")],
    every: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0,
) -> None:
    """Copy what the target lacks: whole files, new ones and those that have changed. Nothing is deleted.

    Args:
        source: Folder, or a URI such as s3://bucket/runs.
        target: Folder or URI.
        every: Go on, and look again after so many seconds; 0: once.
    """
    if not every >= 0:
        raise UserError(f"--every must be 0 or more seconds, got {every}")
    while True:
        try:
            count = mirror(Place.find(source), Place.find(target))
            if count or not every:
                print(f"{count} {'file' if count == 1 else 'files'} copied from {source} to {target}", flush=True)
        except UserError as error:
            if not every:
                raise
            print(f"{error}; trying again", file=sys.stderr, flush=True)
        if not every:
            return
        time.sleep(every)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command on these arguments, by default those of the process; exits with 2 if it cannot be done."""
    with one_line_errors():
        tyro.cli(copy_folder, prog="zcpt mirror", description=MIRROR_DESCRIPTION, args=argv)
