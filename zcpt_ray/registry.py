"""Tables of named records: the one way to look a name up, and the one way to add a record of one's own."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Protocol, TypeVar

from zcpt_ray.errors import UserError
from zcpt_ray.identity import content_digest

T = TypeVar("T")


class Named(Protocol):
    """A record of a table."""

    @property
    def name(self) -> str:
        """What it is called there."""


Record = TypeVar("Record", bound=Named)

_own: dict[int, tuple[str, Named]] = {}


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """The record called `name`.

    Raises:
        UserError: no such record; the message lists what `table` holds. `kind` says what was looked for ("proxy", ...).
    """
    if name not in table:
        raise UserError(f"unknown {kind} {name!r}; choose from {', '.join(table)}")
    return table[name]


def located(name: str, table: Mapping[str, object]) -> str:
    """`name` if `table` has it; otherwise, where it names a file or a folder (`~` allowed), its whole path.

    A worker may have another working directory.
    """
    try:
        path = Path(name).expanduser()
        return str(path.absolute()) if name and name not in table and path.exists() else name
    except (OSError, RuntimeError, ValueError):  # nothing can be called so
        return name


def register(table: MutableMapping[str, Record], record: Record, kind: str, replace: bool = False) -> Record:
    """Add a record of the user's own to a table.

    Raises:
        UserError: an empty name, or one that is there already, unless `replace`.
    """
    if not record.name or not isinstance(record.name, str):
        raise UserError(f"a {kind} needs a name, got {record.name!r}")
    if record.name in table:
        if not replace:
            raise UserError(f"{kind} {record.name!r} is there already; choose another name, or give replace=True")
        _own.pop(id(table[record.name]), None)
    mark_own(record, kind)
    table[record.name] = record
    return record


def mark_own(record: Record, kind: str) -> Record:
    """Note that a record is the user's: what it holds is part of a run's identity, and travels to Ray's workers."""
    content_digest(record)  # now, before what it holds grows as it is used
    _own[id(record)] = kind, record  # keeps it alive, so that the id stays its own
    return record


def own_records() -> list[tuple[str, Named]]:
    """Kind and record of all that is the user's in this process."""
    return list(_own.values())


def own_content(record: Named) -> str:
    """A digest of what a record of the user's holds; empty for one of the package's."""
    return content_digest(record) if id(record) in _own else ""
