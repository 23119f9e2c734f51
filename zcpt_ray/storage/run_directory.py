"""Whose a run directory is: it holds the configuration of one run, and refuses others."""

import json
import math
import zlib
from collections.abc import Callable, Collection
from typing import Any

from zcpt_ray.errors import UserError
from zcpt_ray.storage.paths import AnyPath, write_whole

CHECKSUM = "checksum"


def claim_directory(
    directory: AnyPath, config: dict[str, Any], may_differ: Collection[str], is_unused: Callable[[], bool]
) -> None:
    """Make a directory the run directory of a configuration.

    The configuration is written first, so that the directory is ours from then on, whenever we die.

    It may have been another's, if the two differ only in what `may_differ` names, or if that one left nothing
    (`is_unused`).

    Raises:
        UserError: it belongs to another configuration, or holds something else.
        OSError: it cannot be written.
    """
    path = directory / "config.json"
    directory.mkdir(parents=True, exist_ok=True)
    if path.exists():
        found = read_json(path)
        if not isinstance(found, dict):
            raise UserError(f"{path} is not the configuration of a run")
        changed = [key for key in {**config, **found} if found.get(key) != config.get(key)]
        differing = [_told(key, found.get(key), config.get(key)) for key in changed if key not in may_differ]
        if changed and (not differing or is_unused()):
            _write_plain(
                path, strict_json(config)
            )  # more or less of the same, or a run that failed before it had anything
        elif differing:
            raise UserError(
                f"{directory} holds a run with another configuration ({', '.join(differing)}); choose another --out"
            )
    elif any(not entry.name.endswith(".tmp") for entry in directory.iterdir()):
        raise UserError(f"{directory} is not empty and is no run directory (no config.json); choose another --out")
    else:
        _write_plain(path, strict_json(config))


def _told(key: str, theirs: Any, ours: Any) -> str:
    """What a run there has under `key` and we have not; of a group only what differs."""
    if not isinstance(theirs, dict) and not isinstance(ours, dict):
        return f"{key} {theirs!r}"
    theirs, ours = theirs or {}, ours or {}
    inner = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return ", ".join(f"{key} {_told(name, theirs.get(name), ours.get(name))}" for name in inner)


def read_json(path: AnyPath) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: it cannot be read, or is no JSON.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it to have it computed again") from error
    if isinstance(content, dict) and (checksum := content.pop(CHECKSUM, None)) not in (None, _checksum(content)):
        raise UserError(f"{path} is damaged (its checksum is not {checksum}); delete it to have it computed again")
    return content


def write_json(path: AnyPath, content: Any) -> None:
    """Write JSON to a file that is there whole or not at all; infinite numbers become the texts `inf` and `-inf`.

    An object gets a checksum, by which `read_json` sees whether it was changed.
    """
    content = strict_json(content)
    if isinstance(content, dict):
        content = {**content, CHECKSUM: _checksum(content)}
    _write_plain(path, content)


def _write_plain(path: AnyPath, content: Any) -> None:
    write_whole(path, json.dumps(content, indent=1, allow_nan=False))


def _checksum(content: dict[str, Any]) -> str:
    """Of what a file holds, however it is laid out."""
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def strict_json(content: Any) -> Any:
    """A copy in which infinite numbers are texts, as JSON has no infinity.

    A score is infinite where a network tells two images apart in nothing.
    """
    if isinstance(content, dict):
        return {key: strict_json(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [strict_json(value) for value in content]
    return str(content) if isinstance(content, float) and math.isinf(content) else content
