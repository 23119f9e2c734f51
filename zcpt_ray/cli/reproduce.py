"""`zcpt reproduce`: the paper's tables and figures at the paper's settings, each number beside ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from zcpt_ray.cli import COMMANDS
from zcpt_ray.cli.console import one_line_errors, open_console
from zcpt_ray.cli.flags import Cluster, Help, parse
from zcpt_ray.errors import UserError
from zcpt_ray.registry import lookup

if TYPE_CHECKING:
    from zcpt_ray.storage.paths import AnyPath

REPRODUCE_HELP = Help(
    "reproduce",
    """Repeat the paper's tables and figures: each number that it prints, ours, the difference, and whether the two lie
within their deviations.

At the paper's settings that takes hours on a CPU. The same command goes on where it stopped.""",
    (
        "zcpt reproduce table5",
        "zcpt reproduce table1 figure2 figureA6 --quick --local",
        "zcpt reproduce --finished --saved docs/records --out runs/redrawn",
    ),
)
Words = tuple[str, ...]
"""A command of zcpt and its flags."""
RECORDS = "records"
"""The folder of OUT that holds its runs in few files."""
NAMED_SEEDS = ("0", "1", "2", "3")
"""The paper's search seeds."""
SEARCHED: Words = (
    *("--dataset", "cifar10", "--num-proposals", "10", "--num-validations", "100", "--batch-size", "256"),
    *("--validation", "race"),
)
"""The paper's settings. A race stops where the winner of the 100 minibatches is certain: the same winner, sooner."""
COSTLY = "costly"
"""The part of a folder whose proxies or searches take ten times as long as the others: with smaller minibatches."""
QUICK_SEARCH: Words = ("--dataset", "cifar10", "--num-proposals", "2", "--num-validations", "2", "--batch-size", "16")
STUDIED: Words = ("--dataset", "cifar10", "--batch-size", "256")
QUICK_STUDY: Words = ("--dataset", "cifar10", "--batch-size", "16")
TEN_SEEDS: Words = (
    *("ablation", "--preset", "", "--dataset", "cifar10", "--num-proposals", "10", "--num-validations", "10"),
    *("--batch-size", "32", "--weight-counts", "0", "1", "2", "--seeds", *map(str, range(10))),
)
"""Small enough for ten seeds; each part changes what the paper's text leaves open."""
DARTS: Words = ("ablation", "--preset", "", "--orders", "random", "global-op-iter")
BY_PROXY: Words = ("ablation", "--preset", "", "--proxies")
SUBSPACES: Words = ("ablation", "--preset", "", "--order", "random", "--spaces")
MOBILENET: Words = ("ablation", "--preset", "", "--spaces", "mobilenet", "--order", "random")
FUNCTIONS = ("zc-pt(nwot-released)", "disc-zc(nwot-released)", "zc-pt(synflow)", "disc-zc(synflow)", "tenas")


@dataclass(frozen=True)
class Runs:
    """Commands that fill a folder, each its own part of it; how long they take says the documentation."""

    commands: Mapping[str, Words]
    quick: Mapping[str, Words]


def _searches(*words: str, quick: Words = ()) -> Runs:
    """One command that searches with seeds 0 to 3, or in short with seed 0."""
    whole = {"": (*words, *SEARCHED, "--seeds", *NAMED_SEEDS)}
    return Runs(whole, {"": (*_changed(words, quick), *QUICK_SEARCH, "--seeds", "0")})


def _study(part: str, *words: str, quick: Words = ()) -> Runs:
    """A part of the study, a folder for each seed."""
    command = ("study", "--parts", part, *words)
    whole = {f"seed{seed}": (*command, *STUDIED, "--seeds", seed) for seed in NAMED_SEEDS}
    return Runs(whole, {"seed0": (*_changed(command, quick), *QUICK_STUDY, "--seeds", "0")})


def _changed(words: Words, others: Words) -> Words:
    """The command with other values of some flags."""
    kept, keeps = [], True
    for word in words:
        if word.startswith("--"):
            keeps = word not in others
        if keeps:
            kept.append(word)
    return (*kept, *others)


RUNS: dict[str, Runs] = {
    "initial": _study("initial", "--functions", *FUNCTIONS, quick=("--functions", *FUNCTIONS[:2])),
    "proxies": Runs(
        {
            "": (*BY_PROXY, "nwot-released", "synflow", *SEARCHED, "--seeds", *NAMED_SEEDS),
            COSTLY: (
                *(*BY_PROXY, "zen_score", "snip", "grad_norm", "fisher", "tenas", "grasp"),
                *(*_changed(SEARCHED, ("--batch-size", "16")), "--seeds", *NAMED_SEEDS),
            ),
        },
        {"": (*BY_PROXY, "nwot-released", "synflow", *QUICK_SEARCH, "--seeds", "0")},
    ),
    "baselines": Runs(
        {
            "": ("baselines", "--searches", "zero-cost-disc", "random", *SEARCHED, "--seeds", *NAMED_SEEDS),
            COSTLY: (
                *("baselines", "--searches", "te-nas", "naswot", "--proxies", "nwot-released", "synflow"),
                *(*_changed(SEARCHED, ("--batch-size", "16")), "--seeds", *NAMED_SEEDS),
            ),
        },
        {"": ("baselines", "--searches", "zero-cost-disc", "random", *QUICK_SEARCH, "--seeds", "0")},
    ),
    "orders": _searches("ablation", "--preset", "orders", quick=("--orders", "random", "fixed")),
    "darts": Runs(
        {"": (*DARTS, "--spaces", "darts", *_changed(SEARCHED, ("--batch-size", "64")), "--seeds", *NAMED_SEEDS)},
        {"": (*DARTS, "--spaces", "darts-small", *QUICK_SEARCH, "--seeds", "0")},
    ),
    "subspaces": Runs(
        {
            "": (
                *(*SUBSPACES, "darts-s1", "darts-s2", "darts-s3", "darts-s4", "--datasets", "cifar10", "cifar100"),
                *(*_changed(SEARCHED, ("--batch-size", "64")), "--seeds", "0", "2"),
            )
        },
        {"": (*SUBSPACES, "darts-s2", *QUICK_SEARCH, "--seeds", "0")},
    ),
    "mobilenet": Runs(
        {
            "": (
                *MOBILENET,
                *_changed(SEARCHED, ("--batch-size", "8")),
                *("--image-size", "224", "--seeds", *NAMED_SEEDS[:3]),
            )
        },
        {"": (*MOBILENET, *QUICK_SEARCH, "--image-size", "32", "--seeds", "0")},
    ),
    "proposals": Runs(
        {
            "": (
                *("ablation", "--preset", "proposals-validations", "--proposals", "1", "10", "100", *STUDIED),
                *("--validations", "0", "1", "--seeds", *NAMED_SEEDS),
            )
        },
        {"": ("ablation", "--preset", "", "--proposals", "3", "--validations", "0", *QUICK_STUDY, "--seeds", "0")},
    ),
    "spaces": _searches(
        *("ablation", "--preset", "", "--spaces", "nasbench-macro", "nasbench1shot1-1", "nasbench1shot1-2"),
        *("nasbench1shot1-3", "--proxies", "nwot-released"),
        quick=("--spaces", "nasbench-macro"),
    ),
    "settings": Runs(
        {
            "weights": (*TEN_SEEDS, "--proxies", "nwot-released", "nwot", "--proposal-weight-counts", "1", "10"),
            "batches": (*TEN_SEEDS, "--batch-sizes", "16", "64"),
        },
        {"weights": ("ablation", "--preset", "", *QUICK_SEARCH, "--proposal-weight-counts", "1", "2", "--seeds", "0")},
    ),
    "final-ops": _study(
        "final-ops", "--num-proposals", "10", "--proxy", "nwot-released", quick=("--num-proposals", "2")
    ),
    "toy-chain": _study("toy-chain", "--longest-chain", "8", quick=("--longest-chain", "2")),
}
"""By folder. Tables and figures may share one."""


PAPER_TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "table1": ("Table 1: what each function picks at iteration 0", ("initial",)),
    "table2": ("Table 2: searches and proxies on NAS-Bench-201", ("proxies", "baselines")),
    "table4": ("Table 4: DARTS, what is found", ("darts",)),
    "table5": ("Table 5: orders", ("orders",)),
    "table7": ("Table 7 and figure A25: the MobileNet-like space, what is found", ("mobilenet",)),
    "tableA1": ("Table A1: ops picked at iteration 0", ("initial",)),
    "tableA2": ("Table A2: ops in ten proposed architectures", ("final-ops",)),
    "tableA3": ("Table A3: tenas, by search seed", ("proxies",)),
    "tableA9": ("Table A9: S1 to S4, what is found", ("subspaces",)),
    "tableA10": ("Tables A10 and A11: NAS-Bench-1Shot1 and NAS-Bench-Macro", ("spaces",)),
    "settings": ("Table 2, nwot: what the text leaves open", ("settings",)),
    "figure2": ("Figure 2: op scores beside accuracies at iteration 0", ("initial",)),
    "figure4": ("Figure 4: distinct architectures by N", ("proposals",)),
    "figureA6": ("Figure A6: op scores on a chain of eight layers", ("toy-chain",)),
}
"""By the name that the command takes: a title, and the folders that it is made from."""


@dataclass(frozen=True)
class ReproduceFlags:
    """What to repeat, and where."""

    tables: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """table1, table2, table4, table5, table7, tableA1, tableA2, tableA3, tableA9, tableA10, settings, figure2,
    figure4, figureA6; by default all, or those of which something is finished.
    """
    quick: bool = False
    """One seed and small settings, in OUT/quick: shows that everything runs, and reproduces nothing."""
    finished: bool = False
    """Compute nothing: compare what is finished."""
    saved: str = ""
    """Go on from the records in this folder, where an earlier call has left them: OUT/records."""
    out: str = "runs/reproduction"
    """Folder, local or a URI, of all runs; for each name of a table (.csv, .md, .tex, .parquet) and a figure; and of
    records, which hold the runs in few files.
    """
    cluster: Cluster = field(default_factory=Cluster)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, run what is missing, compare."""
    with one_line_errors():
        run(parse(ReproduceFlags(), REPRODUCE_HELP, argv), open_console())


def run(flags: ReproduceFlags, console: Console) -> None:
    """Run what is missing, and compare table by table.

    Raises:
        UserError: an unknown table, missing data, no such records, or nothing that is finished.
        SystemExit: a command failed; what it has computed stays.
    """
    for name in flags.tables:
        lookup(PAPER_TABLES, name, "table")
    from zcpt_ray.benchmarks.tables import require_benchmark
    from zcpt_ray.reports.figures import paper_and_ours
    from zcpt_ray.reports.output import Output
    from zcpt_ray.reports.reproduction import COMPARED, comparison_table, in_short
    from zcpt_ray.reports.tables import write_table
    from zcpt_ray.reports.terminal import print_table
    from zcpt_ray.storage.packed import save_packed
    from zcpt_ray.storage.paths import any_path

    if not flags.finished:
        require_benchmark("nasbench201", "zcpt reproduce")
    out = any_path(f"{flags.out}/quick" if flags.quick else flags.out)  # quick runs are never taken for the others
    if flags.saved:
        _unpack(any_path(flags.saved), out)
    done: set[str] = set()
    shown = 0
    for name in flags.tables or PAPER_TABLES:
        title, folders = PAPER_TABLES[name]
        for folder in folders:
            if folder in done:
                continue
            if not flags.finished:
                _fill(flags, out / folder, RUNS[folder], console)
            if (out / folder).exists():
                save_packed(out / folder, out / RECORDS / f"{folder}.parquet")
            done.add(folder)
        table = comparison_table(list(COMPARED[name](*(out / folder for folder in folders))))
        if flags.finished and (table.empty or not table["values"].any()):
            continue
        shown += 1
        write_table(table, out / name)
        Output(out, console).figure(paper_and_ours(table), name)
        print_table(console, in_short(table), f"{title}{' (quick: reproduces nothing)' if flags.quick else ''}")
    if not shown:
        raise UserError(f"nothing is finished in {out}")


def _unpack(saved: "AnyPath", out: "AnyPath") -> None:
    """Have the runs of the records `saved` in `out`."""
    from zcpt_ray.storage.packed import unpack

    known = {name: saved / f"{name}.parquet" for name in RUNS if (saved / f"{name}.parquet").exists()}
    if not known:
        raise UserError(f"{saved} has no records of zcpt reproduce, as {next(iter(RUNS))}.parquet")
    for name, records in known.items():
        unpack(records, out / name)


def _fill(flags: ReproduceFlags, folder: "AnyPath", runs: Runs, console: Console) -> None:
    """Run the commands of a folder; each goes on where it stopped."""
    cluster = flags.cluster
    where = ["--local"] if cluster.local else [*(["--address", cluster.address] if cluster.address else [])]
    if not cluster.local:
        where += ["--cpus-per-task", str(cluster.cpus_per_task), "--gpus-per-task", str(cluster.gpus_per_task)]
    for part, words in (runs.quick if flags.quick else runs.commands).items():
        given = [*words[1:], *where, "--out", str(folder / part if part else folder)]
        console.print(f"zcpt {words[0]} {' '.join(given)}", soft_wrap=True, highlight=False)
        import_module(f"zcpt_ray.cli.{COMMANDS[words[0]][0]}").main(given)
