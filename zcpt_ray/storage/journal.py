"""Records that processes append to a folder, whole or not at all: what a run computes, in few files.

Each process has a file of its own there, of lines: a checksum and a record as JSON. The first line says which run the
file is of. On an object store, which cannot append, each addition is an object. What a kill left half written, the
last line without its end, does not count.
"""

import json
import os
import socket
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from zcpt_ray.errors import UserError
from zcpt_ray.storage.paths import AnyPath, RemotePath, cannot_write, write_whole
from zcpt_ray.storage.run_directory import strict_json

ENDING = ".jsonl"
OF = "journal of"
"""The key of a first line: of which run the records are."""


class Journal:
    """The records in `folder`, which all are of the run that `of` stands for; None takes what is there.

    `read` gives those that it has not given and this process has not added.
    """

    def __init__(self, folder: AnyPath, of: str | None) -> None:
        self.folder = folder
        self.of = of
        self.own: AnyPath | None = None
        self.known: dict[str, tuple[int, int]] = {}
        """Of each file, how many bytes and lines."""

    def append(self, records: Iterable[dict[str, Any]]) -> None:
        """Add records: on disk, or in the store, before this returns.

        Raises:
            UserError: they cannot be written, or the folder is gone. Those of before stay.
        """
        lines = b"".join(map(_line, records))
        if not lines:
            return
        if isinstance(self.folder, RemotePath):
            path = self.folder / _file_name()
            content = _line({OF: self.of}) + lines
            write_whole(path, content)
            self.known[path.name] = (len(content), content.count(b"\n"))
            return
        if self.own is None:
            self.own = self.folder / _file_name()
            lines = _line({OF: self.of}) + lines
        elif not self.own.exists():
            raise UserError(f"{self.own} is gone: somebody has removed it, or its folder, while the run went on")
        size, count = self.known.get(self.own.name, (0, 0))
        _append(self.own, lines)
        self.known[self.own.name] = (size + len(lines), count + lines.count(b"\n"))

    def read(self) -> Iterator[dict[str, Any]]:
        """What is new, file by file.

        Raises:
            UserError: a file is damaged, or of another run.
        """
        paths: list[AnyPath] = sorted(self.folder.glob(f"*{ENDING}"), key=str)
        for path in paths:
            known, count = self.known.get(path.name, (0, 0))
            if isinstance(path, RemotePath):
                content = b"" if known else path.read_bytes()
            elif path.stat().st_size > known:
                with path.open("rb") as file:
                    file.seek(known)
                    content = file.read()
            else:
                content = b""
            whole = content[: content.rfind(b"\n") + 1]
            self.known[path.name] = (known + len(whole), count + whole.count(b"\n"))
            for number, line in enumerate(whole.split(b"\n")[:-1], start=count + 1):
                record = _record(line, f"{path}, line {number},")
                if number > 1:
                    yield record
                elif OF not in record or self.of not in (None, record[OF]):
                    raise UserError(f"{path} is of another run; move it away, or choose another folder")

    def is_empty(self) -> bool:
        """Whether nobody has added anything."""
        return next(self.folder.glob(f"*{ENDING}"), None) is None


def _file_name() -> str:
    host = "".join(character for character in socket.gethostname() if character.isalnum())
    return f"{time.time_ns():020d}-{host}-{os.getpid()}-{uuid.uuid4().hex[:6]}{ENDING}"


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(strict_json(record), allow_nan=False, separators=(",", ":")).encode()
    return b"%08x " % zlib.crc32(text) + text + b"\n"


def _record(line: bytes, place: str) -> dict[str, Any]:
    checksum, _, text = line.partition(b" ")
    with suppress(ValueError, RecursionError):
        if checksum == b"%08x" % zlib.crc32(text):
            record = json.loads(text)
            if isinstance(record, dict):
                return record
    raise UserError(f"{place} is damaged: its checksum does not fit; delete that line to have it computed again")


def _append(path: Any, lines: bytes) -> None:
    """Add these bytes to a local file; one that cannot take them stays as it was."""
    try:
        with path.open("ab") as file:
            before = file.tell()
            try:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.ftruncate(file.fileno(), before)
                raise
    except OSError as error:
        raise cannot_write(path, error) from error
