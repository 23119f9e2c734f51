"""What runs have left in a folder, packed into a table of files, so that a few small ones hold hours of work."""

from pathlib import PurePosixPath

from zcpt_ray.errors import UserError
from zcpt_ray.storage.mirror import Place
from zcpt_ray.storage.parquet import read_parquet
from zcpt_ray.storage.paths import AnyPath, write_whole

PACKED = (".json", ".jsonl", ".parquet", ".csv")
"""Results and scores; figures and texts are made of these."""
LEFT_OUT = ("tune", "owners", "steps")
"""Folders of what is of little use elsewhere: Ray Tune's own logs, who is at work, and proposals under way."""


def save_packed(folder: AnyPath, file: AnyPath) -> None:
    """Write a table with a row per file below `folder`: its `path` from there, and its `content` in bytes."""
    import pandas as pd

    paths = sorted(path for path in Place.find(str(folder)).files() if _is_packed(PurePosixPath(path)))
    table = pd.DataFrame({"path": paths, "content": [_below(folder, path).read_bytes() for path in paths]})
    write_whole(file, table.to_parquet(compression="zstd"))


def unpack(file: AnyPath, folder: AnyPath) -> None:
    """Write what `save_packed` has put into `file` below `folder`. Files that are there stay as they are.

    Raises:
        UserError: it is no such table, or a path in it leads out of the folder.
    """
    table = read_parquet(file)
    if list(table.columns) != ["path", "content"]:
        raise UserError(f"{file} must have columns path and content, not {', '.join(table.columns)}")
    for path, content in zip(table["path"], table["content"], strict=True):
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise UserError(f"{file} holds a file that would lie outside of {folder}: {path}")
        place = _below(folder, path)
        if not place.exists():
            write_whole(place, content)


def _is_packed(path: PurePosixPath) -> bool:
    return path.suffix in PACKED and not {*LEFT_OUT} & {*path.parts}


def _below(folder: AnyPath, path: str) -> AnyPath:
    for part in PurePosixPath(path).parts:
        folder = folder / part
    return folder
