"""`zcpt profile`: how long the ops of a space take on this machine, for searches with --max-latency-ms."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console
from zcpt_ray.cli.flags import Help, OwnCode, parse

PROFILE_HELP = Help(
    "profile",
    """Time each op of a space on this machine's CPU, and see how well their sum predicts whole networks.

The file is a table: an op of an edge per row, in milliseconds. `zcpt search --device-table FILE --max-latency-ms 8`
keeps within it, on any machine.""",
    (
        "zcpt profile --space photos --image-size 96",
        "zcpt profile --space nasbench201 --num-classes 100 --threads 2 --out raspi4.parquet",
        "zcpt profile --space photos --image-size 64 --runtime onnxruntime",
    ),
)


@dataclass(frozen=True)
class ProfileFlags:
    """What to time."""

    space: str = "nasbench201"
    """Search space."""
    image_size: int | None = None
    """Pixels a side; by default those that the space is made for."""
    num_classes: int = 10
    """Classes of the networks."""
    batch_size: int = 1
    """Images at once."""
    threads: int = 1
    """CPU threads."""
    runtime: Literal["torch", "onnxruntime"] = "torch"
    """What runs the networks; onnxruntime needs the extra `export`, and takes minutes."""
    seed: int = 0
    """Which random networks."""
    out: str | None = None
    """File to write, local or a URI; by default runs/profile-SPACE-SIZEpx.parquet."""
    own: OwnCode = field(default_factory=OwnCode)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, time, print and save the table."""
    with one_line_errors():
        run(parse(ProfileFlags(), PROFILE_HELP, argv), open_console())


def run(flags: ProfileFlags, console: Console) -> None:
    """Time the ops, then print and save the table.

    Raises:
        UserError: an unknown space, a number out of range, images that the space does not take, or no onnxruntime.
    """
    from pathlib import Path

    from zcpt_ray.errors import UserError
    from zcpt_ray.experiments.profiling import profile_space
    from zcpt_ray.experiments.stopwatch import Conditions
    from zcpt_ray.reports.terminal import print_table
    from zcpt_ray.spaces import find_space
    from zcpt_ray.storage.paths import any_path, require_storage

    space = find_space(flags.space)
    size = flags.image_size or space.made_for
    if size < 8 or flags.num_classes < 2:
        raise UserError(
            f"--image-size must be at least 8 and --num-classes at least 2, got {size} and {flags.num_classes}"
        )
    conditions = Conditions((3, size, size), flags.num_classes, flags.batch_size, flags.threads, flags.runtime)
    out = any_path(flags.out or f"runs/profile-{Path(space.name).stem}-{size}px.parquet")
    require_storage(out.parent)
    found = profile_space(space, conditions, lambda line: console.print(line, highlight=False), flags.seed)
    found.save(out)
    table = found.table.assign(edge=found.table["edge"].replace("", "(the rest)"))
    print_table(console, table.round(4), f"Milliseconds on {found.about['cpu']}, {flags.threads} thread(s)")
    console.print(found.told(), highlight=False)
    console.print(f"Table: {out}", soft_wrap=True, highlight=False)
