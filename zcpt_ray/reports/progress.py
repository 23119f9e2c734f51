"""How far a search or a grid is: bars on a terminal or in a notebook, and a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

import rich.progress as bars
from rich.console import Console

from zcpt_ray.search.records import Progress

PROGRESS_SECONDS = 10
"""How often progress is printed where there is nothing to draw on."""


class TrialsProgress(Protocol):
    """How far a grid is (`experiments.grids.GridProgress`)."""

    @property
    def total(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def fraction(self) -> float: ...


def can_draw(console: Console) -> bool:
    """Whether bars can be drawn: on a terminal, or in a notebook that has widgets."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


@contextmanager
def watch_search(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Bars of proposals and of validation; what is given is called with the progress."""
    columns = (*bars.Progress.get_default_columns()[:2], bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console, disable=not can_draw(console)) as drawn:
        proposals, validations = (drawn.add_task(name, total=None) for name in ("proposals", "validation"))
        printed = time.monotonic()

        def report(progress: Progress) -> None:
            nonlocal printed
            taken = f"proposals ({progress.scores} scores)" if progress.scores else "proposals"
            drawn.update(
                proposals, completed=progress.proposals_done, total=progress.proposals_total, description=taken
            )
            drawn.update(validations, completed=progress.validations_done, total=progress.validations_total or None)
            if not can_draw(console) and time.monotonic() - printed > PROGRESS_SECONDS:
                printed = time.monotonic()
                console.print("; ".join(_line(task) for task in drawn.tasks if task.total))

        yield report


def _line(task: bars.Task) -> str:
    left = f", {task.time_remaining:.0f} s left" if task.time_remaining else ""
    return f"{task.description} {task.completed:g}/{task.total:g}{left}"


@contextmanager
def watch_grid(console: Console) -> Iterator[Callable[[TrialsProgress], None]]:
    """A bar of all trials: done, running, failed, time left; what is given is called with the progress."""
    columns = (*bars.Progress.get_default_columns()[:3], bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console, disable=not can_draw(console)) as drawn:
        task = drawn.add_task("trials", total=1.0)
        started = printed = time.monotonic()
        first: float | None = None  # what was there already says nothing of the time that the rest takes

        def report(now: TrialsProgress) -> None:
            nonlocal printed, first
            line = f"trials: {now.done} of {now.total} done, {now.running} running, {now.failed} failed"
            drawn.update(task, completed=now.fraction, description=line)
            first = now.fraction if first is None else first
            if not can_draw(console) and time.monotonic() - printed > PROGRESS_SECONDS:
                printed = time.monotonic()
                gained = now.fraction - first
                left = f", {(printed - started) * (1 - now.fraction) / gained:.0f} s left" if gained else ""
                console.print(f"{line}; {now.fraction:.0%}{left}", highlight=False)

        yield report
