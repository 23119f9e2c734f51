"""`zcpt fit`: from images to a trained model, in so many minutes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console, print_next
from zcpt_ray.cli.flags import Cluster, Help, OwnCode, parse
from zcpt_ray.fit_config import FitConfig

if TYPE_CHECKING:
    from zcpt_ray.experiments.fitting import Fitted

FIT_HELP = Help(
    "fit",
    """From a data set or a folder of images to a trained model: search a network within limits, train it, compare it
with others on the same data, and write model.pt, model.onnx, model.py and a report.

Each choice is said, and has a flag. The same command goes on where it stopped.""",
    (
        "zcpt fit ~/photos --max-latency-ms 8",
        "zcpt fit digits --minutes 10 --max params_m=0.3 memory_mb=1",
        "zcpt fit cifar10 --minutes 50 --max-latency-ms 5 --out runs/cifar10",
    ),
    {"dataset": "it comes first: zcpt fit DATA"},
)


@dataclass(frozen=True)
class FitFlags:
    """What to fit, and where."""

    config: FitConfig
    data: Annotated[str, tyro.conf.Positional] = "digits"
    """Data set, or a folder of images with a subfolder per class."""
    out: str | None = None
    """Folder for everything; by default runs/fit- and the name of the data."""
    smoke: bool = False
    """As small as it goes, on 64 digits: shows that everything runs."""
    own: OwnCode = field(default_factory=OwnCode)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, search, train, compare, export, report."""
    with one_line_errors():
        run(parse(FitFlags(FitConfig()), FIT_HELP, argv), open_console())


def run(flags: FitFlags, console: Console) -> "Fitted":
    """Search, train, compare, export, report.

    Raises:
        UserError: unknown names, missing data, a budget that nothing fits, or a folder of something else.
    """
    config = replace(flags.config, dataset=flags.data)
    if flags.smoke:
        config = as_small(config)
    console.print(f"Fit a network to {config.dataset} in about {config.minutes:g} minutes", highlight=False)
    from zcpt_ray.cli.running import search_runner
    from zcpt_ray.experiments.fitting import fit, report_fit
    from zcpt_ray.reports.output import Output
    from zcpt_ray.storage.paths import any_path, require_storage

    name = Path(config.dataset).name
    directory = any_path(flags.out or f"runs/fit-{name}{'-smoke' * flags.smoke}")
    require_storage(directory)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False)

    fitted = fit(config, directory, search_runner(Cluster(local=True), console), say)
    report_fit(fitted, Output(directory, console), say)
    print_next(console, ("predict", directory, "IMAGES..."))
    return fitted


def as_small(config: FitConfig) -> FitConfig:
    """The same as small as it goes."""
    small = replace(config, dataset="digits", num_proposals=1, num_validations=1, epochs=1, max_images=64, minutes=1.0)
    return replace(small, space="photos-small", batch_size=16, images=FitConfig().images)
