"""Killing processes that tests have started, and what was on disk then."""

import os
import signal
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import psutil


def kill_when(
    title: str, ready: Callable[[], bool], killed: list[dict[str, int]], out: Path, by: int = signal.SIGKILL
) -> threading.Thread:
    """Kill, or freeze by SIGSTOP, the first process whose title has `title` in it, once `ready`.

    `killed` gets what was on disk then.
    """

    def watch() -> None:
        until = time.monotonic() + 500  # a busy machine takes its time
        while time.monotonic() < until:
            for process in psutil.process_iter(["cmdline"]):
                if title in " ".join(process.info["cmdline"] or ()) and ready():
                    os.kill(process.pid, by)
                    killed.append(stored(out))
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def stored(out: Path) -> dict[str, int]:
    """The lines of each journal: by file and line, a number that stands for it."""
    return {
        f"{path}:{number}": zlib.crc32(line)
        for name in ("proposals", "validations")
        for path in (out / name).glob("*.jsonl")
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True))
        if line.endswith(b"\n") and number
    }
