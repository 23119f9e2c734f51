"""Tasks that hang, noticed by what their peers take: they are killed, and Ray starts them anew."""

import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zcpt_ray.errors import UserError

log = logging.getLogger(__name__)
TIMES = 10
"""How much longer than its peers a task may be silent."""
LOOK_SECONDS = 2
"""How often those are asked for that are silent, at most."""


class Process(NamedTuple):
    """One on a node of the cluster."""

    node: str
    pid: int

    @classmethod
    def this(cls) -> "Process":
        """The one that asks."""
        return cls(ray.get_runtime_context().get_node_id(), os.getpid())


class Hung(NamedTuple):
    """A task that is silent, and for how many seconds."""

    what: str
    process: Process
    seconds: float

    def kill(self, remedy: str) -> None:
        """Kill its process, and say so."""
        log.warning(
            "%s has said nothing for %.0f s (process %d on node %s): killed, %s",
            self.what,
            self.seconds,
            self.process.pid,
            self.process.node[:8],
            remedy,
        )
        there = NodeAffinitySchedulingStrategy(self.process.node, soft=False)
        _kill.options(scheduling_strategy=there).remote(self.process.pid)


@ray.remote(num_cpus=0, max_retries=0)
def _kill(pid: int) -> None:
    """Kill a process of Ray's on this node, a stopped one too; not one that has its number by now."""
    with suppress(OSError):
        if not sys.platform.startswith("linux") or Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
            os.kill(pid, signal.SIGKILL)


def patience() -> float:
    """Seconds that any task may be silent: `$ZCPT_HUNG_SECONDS`, or 300.

    Raises:
        UserError: the variable says something else.
    """
    said = os.environ.get("ZCPT_HUNG_SECONDS", "300")
    with suppress(ValueError):
        if float(said) > 0:
            return float(said)
    raise UserError(f"ZCPT_HUNG_SECONDS is {said!r}, but should be seconds above 0, such as 300")


@dataclass
class _Sign:
    process: Process
    when: float
    times_hung: int = 0


class Watchdog:
    """Hears signs of life from tasks.

    A task hangs if it is silent for ten times as long as any of its kind has been between two signs, and for
    `patience()` at least. One that was killed for it has twice as long the next time.
    """

    def __init__(self, least: float) -> None:
        self.least = least
        self.longest: dict[str, float] = {}
        self.signs: dict[tuple[str, Hashable], _Sign] = {}

    def heard(self, kind: str, task: Hashable, process: Process) -> None:
        """A sign of life; the first that comes from a process is its start."""
        last = self.signs.get((kind, task))
        if last and last.process == process:
            self._note(kind, last)
        self.signs[kind, task] = _Sign(process, time.monotonic(), last.times_hung if last else 0)

    def ended(self, kind: str, task: Hashable) -> None:
        """It is done, which is a sign as well."""
        if last := self.signs.pop((kind, task), None):
            self._note(kind, last)

    def hung(self) -> list[Hung]:
        """Those to be killed now; before one of a kind has given two signs, nobody knows what is long."""
        now, found = time.monotonic(), []
        for (kind, task), last in self.signs.items():
            limit = max(self.least, TIMES * self.longest.get(kind, math.inf)) * 2**last.times_hung
            if now - last.when > limit:
                found.append(Hung(f"{kind} {task}", last.process, now - last.when))
                last.times_hung, last.when = last.times_hung + 1, now
        return found

    def _note(self, kind: str, last: _Sign) -> None:
        self.longest[kind] = max(self.longest.get(kind, 0), time.monotonic() - last.when)


@ray.remote(num_cpus=0, max_restarts=-1)
class WatchdogActor(Watchdog):
    """A watchdog that tasks reach."""


@contextmanager
def watched(watchdog: Any, kind: str, task: Hashable) -> Iterator[Callable[[], None]]:
    """In a task: a `WatchdogActor` hears of its start, end and log lines, and whenever it calls what this gives."""
    this = Process.this()

    def alive() -> None:
        watchdog.heard.remote(kind, task, this)

    lines = _Lines(alive)
    alive()
    logging.getLogger("zcpt_ray").addHandler(lines)
    try:
        yield alive
    finally:
        logging.getLogger("zcpt_ray").removeHandler(lines)
        watchdog.ended.remote(kind, task)


class _Lines(logging.Handler):
    """Log lines, such as those of the epochs of a supernet, as signs of life."""

    def __init__(self, alive: Callable[[], None]) -> None:
        super().__init__()
        self.alive = alive

    def emit(self, record: logging.LogRecord) -> None:
        self.alive()


class Looks:
    """In the driver: kills what a `WatchdogActor` of its own finds, from time to time."""

    def __init__(self) -> None:
        actor: Any = WatchdogActor  # the decorator's type has no options()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self.watchdog = actor.options(scheduling_strategy=here).remote(patience())
        self.asked: Any = None
        self.last = time.monotonic()

    def look(self, remedy: str = "it is done again") -> None:
        """Kill what hangs; an answer that is not there yet is taken up the next time."""
        if self.asked is None and time.monotonic() - self.last > LOOK_SECONDS:
            self.asked, self.last = self.watchdog.hung.remote(), time.monotonic()
        elif self.asked is not None and ray.wait([self.asked], timeout=0)[0]:
            with suppress(ray.exceptions.RayError):  # it has died, and starts again
                for hung in ray.get(self.asked):
                    hung.kill(remedy)
            self.asked = None
