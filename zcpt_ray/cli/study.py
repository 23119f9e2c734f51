"""`zcpt study`: which operation scoring functions track the truth; tables and figures of section 3 of the paper."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from rich.console import Console

from zcpt_ray.cli.console import one_line_errors, open_console, print_next, require_some
from zcpt_ray.cli.flags import Cluster, Help, OwnCode, parse
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.resources import BUDGET_FIELDS

STUDY_HELP = Help(
    "study",
    "See which operation scoring functions track the truth (section 3, appendices A.3 and A.4): tables and figures.",
    (
        "zcpt study --parts initial --dataset cifar10 --batch-size 64",
        "zcpt study --parts progressive --functions 'zc-pt(nwot)' 'disc-zc(nwot)' --seeds 0 1",
        "zcpt study --parts toy-chain --longest-chain 4 --local",
    ),
    {
        "seed": "seeds are given by --seeds",
        "scoring": "scorings are given by --functions",
        "method": "every part discretizes",
        "num_validations": "no part validates",
        "evaluations": "no part has evolution",
        **dict.fromkeys(BUDGET_FIELDS, "no part keeps a budget"),
    },
)


@dataclass(frozen=True)
class StudyFlags:
    """What to study; scores that were taken before are read."""

    config: SearchConfig
    parts: tuple[Literal["initial", "progressive", "toy-chain", "final-ops"], ...] = (
        "initial",
        "progressive",
        "toy-chain",
        "final-ops",
    )
    """initial: figure 2 left, tables 1, A1, A12. progressive: figure 2 right. toy-chain: figures A5 to A7, nwot on
    chains, whatever --space says. final-ops: table A2, the only part that --proxy, --order and --num-proposals have to
    do with.
    """
    functions: tuple[str, ...] = ("zc-pt(nwot)", "disc-zc(nwot)", "zc-pt(synflow)", "disc-zc(synflow)", "tenas")
    """Scoring functions, beside the oracles; darts, darts-pt and disc-acc train a supernet (paper: 60 --epochs)."""
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Search seeds of the progressive part; the others use the first."""
    longest_chain: int = 8
    """The toy chains have 1 to so many layers, 4 ops each; scoring all networks of the longest takes longest."""
    published: Path | None = None
    """Instead of taking scores: a CSV with the columns edge, scorer and one per op, for the initial part."""
    smoke: bool = False
    """Shrink everything; a chain of three layers stands in for the space."""
    out: str = "runs/study"
    """Folder, local or a URI, for scores, tables (.csv, .md, .tex, .parquet) and figures (.png, .svg)."""
    own: OwnCode = field(default_factory=OwnCode)
    cluster: Cluster = field(default_factory=Cluster)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse flags, take or read the scores, show each part as soon as it is there."""
    with one_line_errors():
        run(parse(StudyFlags(SearchConfig()), STUDY_HELP, argv), open_console())


def run(flags: StudyFlags, console: Console) -> None:
    """Take or read the scores, part by part, and show each part as soon as it is there.

    Raises:
        UserError: an unknown name, missing data, or a flag without a value.
    """
    require_some(seeds=flags.seeds, functions=flags.functions, parts=flags.parts)
    if flags.longest_chain < 1:
        raise UserError(f"--longest-chain must be at least 1, got {flags.longest_chain}")
    console.print(f"Study of {', '.join(flags.functions)} -> {flags.out}", soft_wrap=True, highlight=False)
    from zcpt_ray.cli.running import search_runner, spread
    from zcpt_ray.experiments.study import read_published_scores, with_function
    from zcpt_ray.experiments.study_parts import STUDY_PARTS, Study, functions_beside_oracles, report_initial
    from zcpt_ray.reports.output import Output
    from zcpt_ray.search.resolved import Search, smoke
    from zcpt_ray.search.scoring import SCORINGS, TrainedSupernet
    from zcpt_ray.storage.paths import any_path

    space = Search.of(flags.config).space
    config, seeds, longest = replace(flags.config, seed=flags.seeds[0]), flags.seeds, flags.longest_chain
    if flags.smoke:
        size = max(smoke(with_function(config, name)).batch_size for name in flags.functions)
        config, seeds, longest = replace(smoke(config), space="toy-chain-3", batch_size=size), seeds[:1], 2
    output = Output(any_path(flags.out), console)
    if flags.published:
        report_initial(output, read_published_scores(flags.published, space))
        return
    functions, oracles = functions_beside_oracles(config, flags.functions)
    if len(oracles) == 1:
        console.print(f"No accuracies of {config.space} on {config.dataset}: the oracle is {oracles[0]} instead.")
    trains = any(isinstance(SCORINGS[each.scoring].evidence, TrainedSupernet) for each in functions)
    there = spread(flags.cluster, config.device, show_logs=trains)
    run_search = search_runner(flags.cluster, console)
    study = Study(config, functions, oracles, seeds, longest, there, run_search, output)
    for name, part in STUDY_PARTS.items():
        if name in flags.parts:
            part(study)
    print_next(console, ("search", "--space", config.space, "--scoring", "zc-pt", "--proxy", "nwot", *flags.own.words))
