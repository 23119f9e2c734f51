"""`zcpt budgets`: a limit of milliseconds beside one of FLOPs, on the devices of HW-NAS-Bench."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console, require_some
from zcpt_ray.cli.flags import Cluster, Help, parse
from zcpt_ray.configs import SearchConfig
from zcpt_ray.devices import HW_NAS_TARGETS
from zcpt_ray.resources import BUDGET_FIELDS

BUDGETS_HELP = Help(
    "budgets",
    """Compare searches under a limit of milliseconds with searches under FLOPs, on devices that HW-NAS-Bench measured.

The limit is what a share of all networks keep on a device; that of FLOPs is the largest under which 90 % of the
networks keep it. Beside what is found is the best network that there is.""",
    (
        "zcpt budgets --dataset cifar10",
        "zcpt budgets --dataset cifar10 --targets raspi4 --limit-ms 19.3 --seeds 0 1",
        "zcpt budgets --dataset cifar100 --proxy synflow --num-proposals 4 --local",
    ),
    {
        **dict.fromkeys(BUDGET_FIELDS, "the limits follow from --share"),
        "space": "HW-NAS-Bench measured nasbench201",
        "seed": "seeds are given by --seeds",
    },
)


@dataclass(frozen=True)
class BudgetsFlags:
    """What to compare, and where."""

    config: SearchConfig
    targets: tuple[str, ...] = HW_NAS_TARGETS
    """Devices."""
    share: float = 0.3
    """Share of all networks that keep the limit of milliseconds."""
    limit_ms: float | None = None
    """The limit of milliseconds itself, instead of what a share keeps."""
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Search seeds."""
    out: str = "runs/budgets"
    """Folder, local or a URI, of the searches and of the table. The same command goes on where it stopped."""
    cluster: Cluster = field(default_factory=Cluster)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, run the searches, print and save the table."""
    with one_line_errors():
        run(parse(BudgetsFlags(SearchConfig(dataset="cifar10")), BUDGETS_HELP, argv), open_console())


def run(flags: BudgetsFlags, console: Console) -> None:
    """Run the searches, print and save the table.

    Raises:
        UserError: an unknown device, a missing table, or a folder of something else.
    """
    require_some(targets=flags.targets, seeds=flags.seeds)
    from zcpt_ray.cli.running import search_runner
    from zcpt_ray.errors import UserError
    from zcpt_ray.experiments.device_budgets import compare_budgets
    from zcpt_ray.reports.output import Output
    from zcpt_ray.storage.paths import any_path, require_storage

    if flags.limit_ms is not None and not flags.limit_ms > 0:
        raise UserError(f"--limit-ms must be above 0, got {flags.limit_ms:g}")
    if unknown := [target for target in flags.targets if target not in HW_NAS_TARGETS]:
        raise UserError(f"unknown device {unknown[0]!r}; choose from {', '.join(HW_NAS_TARGETS)}")
    require_storage(out := any_path(flags.out))
    table = compare_budgets(
        flags.config,
        flags.targets,
        flags.seeds,
        flags.share,
        out,
        search_runner(flags.cluster, console, quiet=True),
        lambda line: console.print(line, highlight=False),
        flags.limit_ms,
    )
    title = f"Accuracies on {flags.config.dataset}, {len(flags.seeds)} seeds"
    Output(out, console).table(table, "budgets", title)
    console.print(f"Table: {out / 'budgets.md'} (.csv, .tex, .parquet)", soft_wrap=True, highlight=False)
