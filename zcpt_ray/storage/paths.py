"""Where runs lie: local paths and URIs.

A file is there whole or not at all, whenever a process or a machine dies.
"""

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import platformdirs

from zcpt_ray.errors import UserError


@dataclass(frozen=True, order=True)
class RemotePath:
    """A path on a file system that pyarrow opens: `s3://`, `gs://`, `hdfs://`, ...

    It has what this project uses of `pathlib.Path`.
    """

    location: str
    """The URI without a slash at its end."""
    options: str = ""
    """What a URI says after a question mark, as in `s3://bucket/runs?region=eu-west-1`."""

    def __str__(self) -> str:
        return f"{self.location}?{self.options}" if self.options else self.location

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.location}/{name}", self.options)

    @property
    def name(self) -> str:
        return self.location.rsplit("/", 1)[-1]

    @property
    def parent(self) -> "RemotePath":
        return RemotePath(self.location.rsplit("/", 1)[0], self.options)

    def with_suffix(self, suffix: str) -> "RemotePath":
        return self.parent / PurePosixPath(self.name).with_suffix(suffix).name

    def absolute(self) -> "RemotePath":
        return self

    def exists(self) -> bool:
        return bool(self._info().type)

    def is_dir(self) -> bool:
        return not self._info().is_file and self.exists()

    def iterdir(self) -> Iterator["RemotePath"]:
        from pyarrow import fs

        system, path = self._system()
        return (self / info.base_name for info in system.get_file_info(fs.FileSelector(path, allow_not_found=True)))

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """What lies directly in it and matches the pattern."""
        return (entry for entry in self.iterdir() if PurePosixPath(entry.name).match(pattern))

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        system, path = self._system()
        system.create_dir(path, recursive=True)

    def read_bytes(self) -> bytes:
        system, path = self._system()
        with system.open_input_stream(path, compression=None) as stream:
            content: bytes = stream.read()
        return content

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def write_bytes(self, content: bytes) -> None:
        system, path = self._system()
        with system.open_output_stream(path, compression=None) as stream:
            stream.write(content)

    def write_text(self, content: str) -> None:
        self.write_bytes(content.encode())

    def unlink(self) -> None:
        system, path = self._system()
        system.delete_file(path)

    def _info(self) -> Any:
        system, path = self._system()
        return system.get_file_info(path)

    def _system(self) -> tuple[Any, str]:
        from pyarrow import ArrowException, fs

        try:
            system, path = fs.FileSystem.from_uri(str(self))
        except (ArrowException, ValueError, OSError) as error:
            raise UserError(f"cannot open {self}: {str(error).splitlines()[0]}") from error
        return system, path


AnyPath = Path | RemotePath


def any_path(place: str | Path | RemotePath) -> AnyPath:
    """A local path, with `~` for the user's folder, or what a URI names.

    Raises:
        UserError: the path begins with `~name`, and there is no such user.
    """
    if isinstance(place, RemotePath):
        return place
    if isinstance(place, Path) or "://" not in place:
        try:
            return Path(place).expanduser()
        except RuntimeError as error:
            raise UserError(f"cannot find the folder {place}: {error}") from error
    location, _, options = place.partition("?")
    return RemotePath(location.rstrip("/"), options)


@contextmanager
def whole_file(path: AnyPath) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` when the block ends well, and else is removed.

    It lies beside `path` if that is local.

    Raises:
        UserError: it cannot be written: no room, no right to, no such store.
    """
    try:
        if isinstance(path, RemotePath):  # an object appears once it is written whole
            with tempfile.TemporaryDirectory() as folder:
                temporary = Path(folder) / path.name
                yield temporary
                path.parent.mkdir()
                path.write_bytes(temporary.read_bytes())
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def require_storage(out: AnyPath, num_bytes: int = 64 << 20) -> None:
    """Find out now whether `out` can be written, and has room for `num_bytes` if that can be told.

    Raises:
        UserError: it cannot, or has not.
    """
    probe = out / f"probe-{uuid.uuid4().hex}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
        free = num_bytes if isinstance(out, RemotePath) else shutil.disk_usage(out).free
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error}") from error
    if free < num_bytes:
        raise UserError(
            f"{out} has {free >> 20} MiB free, {num_bytes >> 20} MiB are needed at least; give another --out"
        )


def cannot_write(path: AnyPath, error: OSError) -> UserError:
    """What to raise where the system has refused."""
    reason = error.strerror or str(error).splitlines()[0]
    return UserError(f"cannot write {path}: {reason}; what was finished before is kept")


def write_whole(path: AnyPath, content: str | bytes) -> None:
    """Write a file that is there whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def file_digest(place: str | Path) -> str:
    """16 hexadecimal digits that stand for what a file holds.

    Raises:
        UserError: it cannot be read.
    """
    path = any_path(place)
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def data_directory() -> Path:
    """`$ZCPT_DATA`, or the user's cache directory where that is unset or empty."""
    return _directory("ZCPT_DATA")


def cache_directory() -> Path:
    """`$ZCPT_CACHE`, or the user's cache directory: for what takes long to compute and several runs use."""
    return _directory("ZCPT_CACHE")


def _directory(variable: str) -> Path:
    return Path(os.environ.get(variable) or platformdirs.user_cache_dir("zcpt_ray")).expanduser()
