"""What lies in a run directory, by name, and how it is read; files of earlier versions too."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from zcpt_ray.errors import UserError
from zcpt_ray.identity import digest
from zcpt_ray.search.records import Proposal
from zcpt_ray.search.resolved import Search
from zcpt_ray.storage.journal import Journal
from zcpt_ray.storage.owners import require_free
from zcpt_ray.storage.paths import AnyPath
from zcpt_ray.storage.run_directory import claim_directory, read_json

PROPOSALS, STEPS, VALIDATIONS, FINALISTS = "proposals", "steps", "validations", "finalists"
"""The folders of a run directory."""

DATA_FILE = "data.json"
"""Which images the scores beside it are on."""

EXTENDABLE = (
    *("num_proposals", "num_validations", "validation", "error", "neighbours"),
    *("finalists", "finalist_epochs", "finalist_source", "finalist_images", "finalist_early_stopping"),
)
"""In what searches that share a run directory may differ: what one has computed the others take from there."""

T = TypeVar("T")


def extendable(search: Search, validated_elsewhere: bool = False) -> tuple[str, ...]:
    """In what searches that share a run directory may differ; also in who validates, where those scores lie elsewhere.

    A user's own proxy of validation is part of what is the user's own, and so must be the same.
    """
    if not validated_elsewhere:
        return EXTENDABLE
    aggregation = () if "+" in search.config.proxy else ("aggregation",)
    return (*EXTENDABLE, "validation_proxy", "validation_weights", *aggregation)


def run_key(search: Search, validated_elsewhere: bool = False) -> str:
    """What stands for all runs that may share a directory."""
    differing = extendable(search, validated_elsewhere)
    return digest({name: value for name, value in search.identity.items() if name not in differing})


def claim_run(search: Search, directory: AnyPath, validated_elsewhere: bool = False) -> None:
    """Make `directory` that of a run, if it is nobody else's.

    Raises:
        UserError: it cannot be written, belongs to another configuration or something else, or another run uses it.
    """
    try:
        require_free(directory, run_key(search, validated_elsewhere))
        differing = extendable(search, validated_elsewhere)
        claim_directory(directory, search.identity, differing, lambda: is_unused(directory))
    except OSError as error:
        raise UserError(f"cannot use the run directory {directory}: {error}") from error


def read_proposals(directory: AnyPath) -> list[Proposal]:
    """The proposals that a run directory holds, whosever it is, by index.

    Raises:
        UserError: one is damaged.
    """
    found = {p.index: p for p in reversed(read_all(Journal(directory / PROPOSALS, None), Proposal.from_dict))}
    return [found[index] for index in sorted(found)]


def is_unused(directory: AnyPath) -> bool:
    """Whether no run has left anything there."""
    folders = [directory / name for name in (PROPOSALS, STEPS, VALIDATIONS)]
    stored = any(_files(folder) or not Journal(folder, None).is_empty() for folder in folders)
    return not stored and not (directory / "result.json").exists()


def read_all(journal: Journal, parse: Callable[[Mapping[str, Any]], T]) -> list[T]:
    """What a folder holds: a journal, and the files of earlier versions.

    Raises:
        UserError: one is damaged.
    """
    files = [parsed(parse, read_json(path), path) for path in _files(journal.folder)]
    return files + [parsed(parse, record, journal.folder) for record in journal.read()]


def _files(directory: AnyPath) -> list[AnyPath]:
    return sorted((path for path in directory.glob("*.json") if path.name != DATA_FILE), key=str)


def parsed(parse: Callable[[Mapping[str, Any]], T], record: Any, place: AnyPath) -> T:
    """What `parse` makes of a record that `place` held.

    Raises:
        UserError: it is none.
    """
    try:
        return parse(record)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{place} is damaged ({error!r}); delete it to have it computed again") from error
