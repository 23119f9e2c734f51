"""Killing processes that tests have started, and what was on disk then."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def kill_when(title: str, ready: Callable[[], bool], killed: list[dict[str, int]], out: Path) -> threading.Thread:
    """SIGKILL the first process whose title has `title` in it, once `ready`; `killed` gets what was on disk then."""

    def watch() -> None:
        until = time.monotonic() + 500  # a busy machine takes its time
        while time.monotonic() < until:
            for process in psutil.process_iter(["cmdline"]):
                if title in " ".join(process.info["cmdline"] or ()) and ready():
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(stored(out))
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def stored(out: Path) -> dict[str, int]:
    return {
        str(path): path.stat().st_mtime_ns
        for name in ("proposals", "validations")
        for path in (out / name).glob("*.json")
    }
