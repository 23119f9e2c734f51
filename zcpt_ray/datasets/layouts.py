"""How a folder is laid out: where its class folders or parquet files are, and which are for training and for tests.

What could mean two things is refused, with what was found.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zcpt_ray.errors import UserError

IMAGE_ENDINGS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".gif",
        ".webp",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".tif",
        ".tiff",
        ".jp2",
        ".avif",
    ]
)
SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What folders and files of a split are called, in any case."""
TEST_SPLITS = ("val", "test")
"""Splits that tests may be of, the first that is there."""
EXPECTED = "expected CLASS/*.jpg (or .png, ...), train/CLASS/*.jpg and val/CLASS/*.jpg, or *.parquet"
SHOWN = 6
"""How many of the folders that were found a message names."""


@dataclass(frozen=True)
class Layout:
    """A folder with a subfolder for each class, and another one of test images.

    Where `is_split` is False all images lie in `training`; else `testing` is None if there are no test images.
    `classes` are those of the training images. `notes` says what else was noticed.
    """

    training: Path
    testing: Path | None
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    is_split: bool

    def files(self, split: str) -> list[list[str]]:
        """Per class, the paths of its images from `place(split)` on, in order, at any depth."""
        place = self.place(split)
        return [sorted(str(path.relative_to(place)) for path in images_below(place / name)) for name in self.classes]

    def place(self, split: str) -> Path:
        """Where the class folders lie that hold the images of a split, or of both.

        Raises:
            UserError: there are no test images.
        """
        if split == "train" or not self.is_split:
            return self.training
        if self.testing is None:
            raise UserError(
                f"no test images in {self.training.parent}: expected CLASS/*.jpg (or .png, ...) in val, validation or"
                " test there"
            )
        return self.testing


def find_layout(folder: Path) -> Layout:
    """Where the classes and splits of a folder of images are.

    Raises:
        UserError: they cannot be told for sure; the message shows what was found, and what is expected.
    """
    found = subfolders(folder)
    by_split: dict[str, list[str]] = {}
    for name in found:
        if split := split_called(name):
            by_split.setdefault(split, []).append(name)
    others = [name for name in found if not split_called(name)]
    if by_split:
        others = [name for name in others if any(images_below(folder / name))]
    else:
        if len(others) == 1 and not any(_images_in(folder)) and subfolders(folder / others[0]):
            inner = find_layout(folder / others[0])
            return replace(inner, notes=(*inner.notes, f"found in {others[0]}/"))
        classes = _classes(folder)
        return Layout(folder, None, classes, _notes(folder, [folder]), is_split=False)
    twice = next((names for names in by_split.values() if len(names) > 1), None)
    if twice:
        raise _refused(folder, f"{' and '.join(f'{name}/' for name in twice)} name the same split")
    if others:
        raise _refused(
            folder,
            f"{by_split.popitem()[1][0]}/ is called like a split, but {others[0]}/ lies beside it; if these are classes"
            " all, put them into a folder train/",
        )
    if "train" not in by_split:
        raise _refused(folder, "no training images")
    training = _descend(folder / by_split["train"][0])
    classes = _classes(training)
    tests = [by_split[split][0] for split in TEST_SPLITS if split in by_split]
    if not tests:
        return Layout(training, None, classes, _notes(folder, [training]), is_split=True)
    testing = folder / tests[0]
    if not set(subfolders(testing)) & set(classes):
        testing = _descend(testing)
    names = subfolders(testing)
    if not names:
        raise _refused(testing, _why_no_classes(testing))
    if foreign := sorted(set(names) - set(classes)):
        raise UserError(f"{testing} has classes that {training} has not: {', '.join(foreign[:5])}")
    unused = tuple(f"{name}/ is not used" for name in tests[1:])
    return Layout(training, testing, classes, _notes(folder, [training, testing]) + unused, is_split=True)


def find_shards(folder: Path, split: str) -> tuple[list[Path], str]:
    """The parquet files of a split below `folder`, and which these are, in words, if they hold that split alone.

    Their names, or the folders that they lie in, say so: train for training and val, or else test, for tests
    (`SPLIT_WORDS`). If none says so, all of them hold both splits.

    Raises:
        UserError: there are files of the other split only, or some that say nothing beside others that do.
    """
    shards = sorted(folder.rglob("*.parquet"))
    of_split: dict[str | None, list[Path]] = {}
    for path in shards:
        of_split.setdefault(split_of_file(path, folder), []).append(path)
    if of_split.keys() <= {None}:
        return shards, ""
    if None in of_split:
        said = next(paths[0] for word, paths in of_split.items() if word)
        raise UserError(
            f"{of_split[None][0]} does not say by its name or folder of which split it is, while"
            f" {said.relative_to(folder)} beside it does; name it train-..., validation-... or test-..."
        )
    for word in ("train",) if split == "train" else TEST_SPLITS:
        if found := of_split.get(word):
            kinds = sorted({_as_named(path, folder) for path in found})
            return found, f"the files {', '.join(kinds)}"
    wanted = "train*.parquet" if split == "train" else "validation*.parquet or test*.parquet"
    raise UserError(f"no {wanted} below {folder}, only {shards[0].name} and the like")


def _as_named(path: Path, folder: Path) -> str:
    """`train*.parquet` or `train/*.parquet`, as the file or its folder is named after a split."""
    if split_of_file(Path(path.name), Path()):
        return re.split(r"[^a-z]", path.name.lower())[0] + "*.parquet"
    named = next(part for part in reversed(path.relative_to(folder).parts[:-1]) if split_called(part))
    return f"{named}/*.parquet"


def split_called(name: str) -> str | None:
    """The split, "train", "val" or "test", that a folder of this name holds; None if it names none."""
    return next((split for split, words in SPLIT_WORDS.items() if name.lower() in words), None)


def split_of_file(path: Path, folder: Path) -> str | None:
    """The split that a file below `folder` belongs to: as its name begins, or else as a folder that it lies in."""
    for split, words in SPLIT_WORDS.items():
        if re.match(rf"({'|'.join(words)})(?![a-z])", path.name.lower()):
            return split
    called = map(split_called, reversed(path.relative_to(folder).parts[:-1]))
    return next(filter(None, called), None)


def subfolders(folder: Path) -> tuple[str, ...]:
    """Their names, in order, without hidden ones; none where there is no such folder."""
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    )


def images_below(folder: Path) -> Iterator[Path]:
    """Image files at any depth, without hidden ones."""
    return (path for path in _files_below(folder) if path.suffix.lower() in IMAGE_ENDINGS)


def _files_below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, file) for file in files if not file.startswith("."))


def _images_in(folder: Path) -> list[Path]:
    """Image files right in a folder."""
    return [path for path in _files_in(folder) if path.suffix.lower() in IMAGE_ENDINGS]


def _files_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]


def _descend(folder: Path) -> Path:
    """Into the only folder of a folder, where that holds the class folders."""
    inner = subfolders(folder)
    if len(inner) == 1 and not _images_in(folder) and subfolders(folder / inner[0]):
        return _descend(folder / inner[0])
    return folder


def _classes(folder: Path) -> tuple[str, ...]:
    """The class folders of a folder: two at least, each with images.

    Raises:
        UserError: there are none, only one, an empty one, or the classes may lie deeper.
    """
    names = subfolders(folder)
    if not names:
        raise _refused(folder, _why_no_classes(folder))
    for name in names:
        if not any(images_below(folder / name)):
            kinds = _kinds(_files_below(folder / name))
            raise UserError(
                f"class folder {folder / name} has no images ({', '.join(sorted(IMAGE_ENDINGS))})"
                + (f", only {kinds}" if kinds else "")
            )
    if len(names) == 1:
        raise _refused(folder, f"there is one class only, {names[0]}")
    if not any(_images_in(folder / name) for name in names):
        raise _refused(folder, f"{names[0]}/ and the others have no images themselves; classes may lie deeper")
    return names


def _why_no_classes(folder: Path) -> str:
    return "its images lie in no class folder" if _images_in(folder) else "no images"


def _notes(folder: Path, parts: Sequence[Path]) -> tuple[str, ...]:
    """What is left out."""
    kinds = _kinds(path for part in parts for name in subfolders(part) for path in _files_below(part / name))
    beside = sum(len(_images_in(part)) for part in {folder, *parts})
    notes = []
    if beside:
        notes.append(f"{beside} image{'s' * (beside > 1)} beside the class folders left out")
    if kinds:
        notes.append(f"other files left out: {kinds}")
    return tuple(notes)


def _kinds(files: Iterator[Path]) -> str:
    """How many files that are no images there are of each kind, the most frequent first."""
    return _counted(path.suffix.lower() for path in files if path.suffix.lower() not in IMAGE_ENDINGS)


def _counted(endings: Iterable[str]) -> str:
    counts = sorted(Counter(endings).items(), key=lambda item: (-item[1], item[0] == "", item[0]))
    return ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in counts[:SHOWN])


def _refused(folder: Path, why: str) -> UserError:
    found = [f"{name}/ ({_contents(folder / name)})" for name in subfolders(folder)]
    shown = found[:SHOWN] + [f"{len(found) - SHOWN} more folders"] * (len(found) > SHOWN)
    if folder.is_dir() and (own := _counted(path.suffix.lower() for path in _files_in(folder))):
        shown.append(own)
    return UserError(f"no classes to be told in {folder}: {why}. Found {', '.join(shown) or 'nothing'}; {EXPECTED}")


def _contents(folder: Path) -> str:
    inner, images = len(subfolders(folder)), len(_images_in(folder))
    parts = [f"{images} image{'s' * (images != 1)}"] * bool(images or not inner)
    return ", ".join([*parts, *[f"{inner} folder{'s' * (inner > 1)}"] * bool(inner)])
