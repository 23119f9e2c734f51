"""Who works in a run directory now: each process keeps a small file fresh there."""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from zcpt_ray.errors import UserError
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.storage.run_directory import read_json, write_json

log = logging.getLogger(__name__)

OWNERS = "owners"
"""The folder of these files."""
BEAT_SECONDS, STALE_SECONDS = 15, 120
"""How often a file is written again, and after how long its process counts as gone, if it is on another machine."""


@contextmanager
def at_work(directory: AnyPath, run: str) -> Iterator[None]:
    """Inside, others see that this process works in `directory` on the run that `run` stands for.

    Several may work on one run: what they compute is the same, and each appends to files of its own.

    Raises:
        UserError: another process works there on another run.
    """
    path = directory / OWNERS / f"{uuid.uuid4().hex[:12]}.json"
    about = {"run": run, "host": socket.gethostname(), "pid": os.getpid()}
    require_free(directory, run)
    write_json(path, {**about, "beat": time.time()})
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            with suppress(UserError):  # what the run itself writes will say so
                write_json(path, {**about, "beat": time.time()})

    thread = threading.Thread(target=beat, daemon=True, name="owner of a run directory")
    thread.start()
    try:
        require_free(directory, run)  # whoever came at the same moment has written before it looks
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):
            path.unlink()
            if isinstance(path, Path):
                path.parent.rmdir()  # if nobody else is there


def require_free(directory: AnyPath, run: str) -> None:
    """See that nobody works in `directory` on another run; who has ended without a word is taken off.

    Raises:
        UserError: somebody does.
    """
    paths: list[AnyPath] = list((directory / OWNERS).glob("*.json"))
    for path in paths:
        try:
            owner = read_json(path)
            who = f"process {owner['pid']} on {owner['host']}"
            there, same = _is_there(owner), owner["run"] == run
        except (UserError, KeyError, TypeError):  # it was removed meanwhile, or is no such file
            continue
        if not there:
            log.info("%s, which worked in %s, has ended without a word", who, directory)
            with suppress(OSError):
                path.unlink()
        elif not same:
            raise UserError(f"{directory} is in use by another run ({who}); choose another --out, or wait for its end")


def _is_there(owner: dict[str, Any]) -> bool:
    if owner["host"] != socket.gethostname():
        return bool(time.time() - owner["beat"] < STALE_SECONDS)
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is there, and somebody else's
        return True
    return True
