"""`zcpt predict`: what a trained model says of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console
from zcpt_ray.cli.flags import Help, parse

PREDICT_HELP = Help(
    "predict",
    "Name the classes of images by a trained model. Writes predictions.csv (and .md, .tex, .parquet).",
    (
        "zcpt predict runs/training/trials/0a1b2c3d4e5f/model.pt photo.jpg",
        "zcpt predict model.pt ~/photos --top 3 --out runs/predictions",
        "zcpt predict runs/training a.jpg b.jpg --out s3://bucket/predictions",
    ),
)


@dataclass(frozen=True)
class PredictFlags:
    """What to predict."""

    model: Annotated[str, tyro.conf.Positional]
    """The file model.pt of a training, or its folder."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Image files, and folders of them."""
    top: int = 1
    """How many classes of an image are shown, the likeliest first."""
    out: str = "runs/predictions"
    """Folder, local or a URI, of the table."""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, predict, print and save the table."""
    with one_line_errors():
        run(parse(PredictFlags("", ()), PREDICT_HELP, argv), open_console())


def run(flags: PredictFlags, console: Console) -> None:
    """Predict all images, then print and save the table.

    Raises:
        UserError: no model, or something that is no image.
    """
    import pandas as pd

    from zcpt_ray.datasets.layouts import images_below
    from zcpt_ray.errors import UserError
    from zcpt_ray.reports.tables import write_table
    from zcpt_ray.reports.terminal import print_table
    from zcpt_ray.storage.paths import any_path, require_storage
    from zcpt_ray.training.model_file import load_model

    if flags.top < 1:
        raise UserError(f"--top must be at least 1, got {flags.top}")
    model = load_model(flags.model)
    given = [path.expanduser() for path in flags.images]
    paths = [found for path in given for found in (sorted(images_below(path)) if path.is_dir() else [path])]
    require_storage(out := any_path(flags.out))
    table = model.predict(paths)
    write_table(table, out / "predictions")
    likely = table[[f"p({name})" for name in model.info.classes]].to_numpy().tolist()
    rows = [
        {"image": image, **_likeliest(model.info.classes, row, flags.top)}
        for image, row in zip(table["image"], likely, strict=True)
    ]
    print_table(
        console, pd.DataFrame(rows), f"Predictions, test error of the model {model.info.metrics['top1_error']:.2f} %"
    )
    console.print(f"Table: {out / 'predictions.csv'} (and .md, .tex, .parquet)", soft_wrap=True, highlight=False)


def _likeliest(classes: Sequence[str], probabilities: Sequence[float], top: int) -> dict[str, str]:
    order = sorted(range(len(classes)), key=lambda index: -probabilities[index])[:top]
    return {
        ("class" if place == 0 else f"{place + 1}."): f"{classes[index]} ({100 * probabilities[index]:.1f} %)"
        for place, index in enumerate(order)
    }
