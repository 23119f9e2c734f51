"""`zcpt data`: what is understood of a data set: its images and classes, and how it is split."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console, print_next
from zcpt_ray.cli.flags import Help, OwnCode, parse, words_of
from zcpt_ray.configs import AS_THEY_ARE, ImageOptions
from zcpt_ray.errors import UserError

if TYPE_CHECKING:
    from zcpt_ray.datasets import LoadedDataset

DATA_HELP = Help(
    "data",
    "Say what is understood of a data set: its images and classes, and how it is split into training and test images.",
    ("zcpt data digits", "zcpt data ~/photos --image-size 64", "zcpt data cifar10"),
)
CLASSES_SHOWN = 20
"""How many classes have a row of their own."""


@dataclass(frozen=True)
class DataFlags:
    """Which data set, and how large its images are to be."""

    place: Annotated[str, tyro.conf.Positional] = ""
    """The name of a data set, such as digits or cifar10, or a folder of images with a subfolder for each class."""
    images: ImageOptions = AS_THEY_ARE
    own: OwnCode = field(default_factory=OwnCode)


def main(argv: Sequence[str] | None = None) -> None:
    """Read a data set and print what it has; bad input ends in one line and exit code 2."""
    with one_line_errors():
        run(parse(DataFlags(), DATA_HELP, argv), open_console())


def run(flags: DataFlags, console: Console) -> None:
    """Read a data set and print what it has.

    Raises:
        UserError: there is no such data set, or it cannot be read.
    """
    if not flags.place:
        raise UserError("name a data set, such as digits, or a folder of images")
    from zcpt_ray.datasets import load_dataset  # takes seconds, which --help does without

    loaded = load_dataset(flags.place, **vars(flags.images))
    print_dataset(loaded, console)
    batch_size = ("--batch-size", min(64, len(loaded.train) // 2))  # a search draws from half of the training images
    images = words_of(flags.images)
    print_next(console, ("search", "--dataset", flags.place, *images, *batch_size, *flags.own.words))


def print_dataset(loaded: "LoadedDataset", console: Console) -> None:
    """Print a line about a data set, a table of its classes, how it is split, and its colours."""
    from rich.table import Table
    from rich.text import Text

    from zcpt_ray.datasets import describe_dataset

    found = describe_dataset(loaded)
    console.print(f"{loaded.name}: {loaded.summary}", soft_wrap=True, highlight=False, markup=False)
    table = Table("class")
    for split in ("train", "test"):
        table.add_column(split, justify="right")
    rows = found["images_per_class"]
    for row in rows[:CLASSES_SHOWN]:
        table.add_row(Text(row["class"]), f"{row['train']:,}", f"{row['test']:,}")
    console.print(table)
    if rest := rows[CLASSES_SHOWN:]:
        train, test = sum(row["train"] for row in rest), sum(row["test"] for row in rest)
        some = "1 more class has" if len(rest) == 1 else f"{len(rest)} more classes have"
        console.print(
            f"{some} {train:,} train and {test:,} test images.", soft_wrap=True, highlight=False, markup=False
        )
    console.print(f"Split: {found['split']}.", soft_wrap=True, highlight=False, markup=False)
    for note in found["notes"]:
        console.print(f"Note: {note}.", soft_wrap=True, highlight=False, markup=False)
    mean, std = (", ".join(f"{value:.3f}" for value in values) for values in (found["mean"], found["std"]))
    console.print(
        f"Colours have mean {mean} and deviation {std}, on a scale of 0 to 1.",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
