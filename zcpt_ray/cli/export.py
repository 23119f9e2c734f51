"""`zcpt export`: a trained model for those who have nothing of this package."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console
from zcpt_ray.cli.flags import Help, parse

EXPORT_HELP = Help(
    "export",
    """Write a trained model as ONNX, as a torch.export program, or as one plain PyTorch file and its weights.

Each is run before it is kept, and must give the network's logits.""",
    (
        "zcpt export runs/training/trials/0a1b2c3d4e5f --format onnx py",
        "zcpt export model.pt --format torch-export --out deployed",
        "zcpt export runs/training --format py",
    ),
)
ExportFormat = Literal["onnx", "onnx-int8", "torch-export", "py"]


@dataclass(frozen=True)
class ExportFlags:
    """What to write."""

    model: Annotated[str, tyro.conf.Positional]
    """The file model.pt of a training, its folder, or a folder of trainings with one model in it."""
    format: tuple[ExportFormat, ...] = ("onnx", "py")
    """Formats: model.onnx, model-int8.onnx (with its test error), model.pt2, or model.py and weights.pt."""
    out: str = ""
    """Folder for the files; by default that of the model."""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, write the files."""
    with one_line_errors():
        run(parse(ExportFlags(""), EXPORT_HELP, argv), open_console())


def run(flags: ExportFlags, console: Console) -> None:
    """Write the model in each format.

    Raises:
        UserError: no model, several of them, missing packages, or a format that does not give the same logits.
    """
    from zcpt_ray.errors import UserError
    from zcpt_ray.training.export import export_model
    from zcpt_ray.training.model_file import find_model, load_model

    path = find_model(flags.model)
    out = Path(flags.out).expanduser() if flags.out else path.parent
    if not isinstance(out, Path):
        raise UserError(f"{out} is no local folder: give one as --out")
    model = load_model(path)
    for name in flags.format:
        for written in export_model(model, name, out):
            console.print(f"{name}: {written} ({written.stat().st_size / 1e6:.2f} MB)", soft_wrap=True, highlight=False)
