"""What all commands share at their rim: the console, one line for an error, exit codes, and the hint at the end."""

import logging
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console

from zcpt_ray.errors import UserError

NOTHING_FOUND = 3
"""Exit code of a search whose scores told nothing apart."""
PIPE_WIDTH = 150
"""Columns where there is no terminal: wide enough for an architecture in a table."""


def open_console() -> Console:
    """As wide as the terminal; folders and names are printed as they are, whatever brackets they have."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, emoji=False)


class TerminationError(KeyboardInterrupt):
    """SIGTERM, which ends a command as ctrl-C does."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Bad input ends the process with one line and exit code 2; ctrl-C with 130, SIGTERM, as tidily, with 143.

    What takes long says how far it is.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger("zcpt_ray").setLevel(logging.INFO)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a disk that fails, a folder that is gone
        print(f"error: {error}; what was finished before is kept", file=sys.stderr)
        sys.exit(2)
    except TerminationError:
        print("stopped by SIGTERM", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def _terminate(*_: object) -> None:
    raise TerminationError


def print_next(console: Console, *commands: Sequence[object]) -> None:
    """Say which commands, each given word by word, usually come after this one: as a shell takes them."""
    for command in commands:
        console.print(f"Next: zcpt {shlex.join(map(str, command))}", soft_wrap=True, highlight=False)


def require_some(**flags: Sequence[object]) -> None:
    """Refuse flags that were given without a value.

    Raises:
        UserError: one of them is empty.
    """
    for name, values in flags.items():
        if not values:
            raise UserError(f"--{name} needs at least one")
