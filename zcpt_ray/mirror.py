"""Copies a folder to or from object storage: `python -m zcpt_ray.mirror FROM TO`, each a folder or a URI such as s3://bucket/runs.

What a cluster has found outlives its machines so, and its data set comes from where all of them can read it. A file that is
there in the same size, and no older, is not copied again; nothing is ever deleted.
"""

import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import tyro
from pyarrow import fs

from zcpt_ray.errors import UserError
from zcpt_ray.files import whole_file

COPIES_AT_ONCE = 8
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """A folder on some file system."""

    system: fs.FileSystem
    path: str

    @classmethod
    def find(cls, where: str) -> "Place":
        """The folder that a path or a URI names; it need not be there yet.

        Raises:
            UserError: no such file system or bucket, or no access.
        """
        try:
            return cls(*fs.FileSystem.from_uri(where if "://" in where else str(Path(where).expanduser().absolute())))
        except (OSError, ValueError) as error:
            raise UserError(f"cannot open {where}: {str(error).splitlines()[0]}") from error

    def files(self) -> dict[str, fs.FileInfo]:
        """What is in it, by path below it; files that are being written (`.tmp`) are left out."""
        found = self.system.get_file_info(fs.FileSelector(self.path, allow_not_found=True, recursive=True))
        files = [info for info in found if info.type == fs.FileType.File and info.extension != "tmp"]
        return {info.path.removeprefix(self.path).lstrip("/"): info for info in files}


def mirror(source: Place, target: Place) -> int:
    """Copy what `target` lacks, whole files only; returns how many.

    Raises:
        UserError: something cannot be read or written.
    """

    def copy(name: str) -> None:
        path = f"{target.path}/{name}"
        if isinstance(target.system, fs.LocalFileSystem):
            with whole_file(Path(path)) as temporary:
                fs.copy_files(there[name].path, str(temporary), source.system, target.system)
        else:
            fs.copy_files(there[name].path, path, source.system, target.system)

    try:
        there, here = source.files(), target.files()
        names = [name for name, info in there.items() if name not in here or _differs(info, here[name])]
        with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
            return len(list(pool.map(copy, names)))
    except OSError as error:
        raise UserError(f"cannot copy to {target.path}: {str(error).splitlines()[0]}") from error


def _differs(source: fs.FileInfo, target: fs.FileInfo) -> bool:
    return bool(source.size != target.size or source.mtime_ns > target.mtime_ns)


def main(source: tyro.conf.Positional[str], target: tyro.conf.Positional[str], every: float = 0) -> None:
    """Copy what the target lacks; exits with 2 if that cannot be done.

    Args:
        source: Folder or URI.
        target: Folder or URI.
        every: Go on, and look again after so many seconds; 0: once.
    """
    while True:
        try:
            count = mirror(Place.find(source), Place.find(target))
            if count or not every:
                LOG.info("%d files copied from %s to %s", count, source, target)
        except UserError as error:
            if not every:
                print(f"error: {error}", file=sys.stderr)
                sys.exit(2)
            LOG.warning("%s; trying again", error)
        if not every:
            return
        time.sleep(every)


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    tyro.cli(main, description=__doc__)
