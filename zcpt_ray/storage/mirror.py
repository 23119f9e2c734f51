"""Copies of a folder, to object storage or from it.

What a cluster has found outlives its machines so, and its data set comes from where all of them can read it. A file
that is there in the same size, and no older, is not copied again; nothing is ever deleted.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from zcpt_ray.errors import UserError
from zcpt_ray.storage.paths import whole_file

COPIES_AT_ONCE = 8
"""Threads that copy: of small files the time goes into waiting."""


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
        """The files in it, by their path below it, without those that are being written (`.tmp`)."""
        found = self.system.get_file_info(fs.FileSelector(self.path, allow_not_found=True, recursive=True))
        files = [info for info in found if info.type == fs.FileType.File and info.extension != "tmp"]
        return {info.path.removeprefix(self.path).lstrip("/"): info for info in files}


JOURNAL = "jsonl"
"""How files end that are only ever appended to."""


def mirror(source: Place, target: Place) -> int:
    """Copy the files that `target` lacks, and say how many they were; each is there whole or not at all.

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
        names = [name for name, info in there.items() if name not in here or _is_newer(info, here[name])]
        with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
            return len(list(pool.map(copy, names)))
    except OSError as error:
        raise UserError(f"cannot copy to {target.path}: {str(error).splitlines()[0]}") from error


def _is_newer(source: fs.FileInfo, target: fs.FileInfo) -> bool:
    """Whether a file is to be copied over another: never an older one over a newer.

    A journal may have grown while it was copied, whose copy is younger then; it only ever grows.
    """
    grown = source.extension == JOURNAL and source.size > target.size
    return bool(grown or source.mtime_ns > target.mtime_ns)
