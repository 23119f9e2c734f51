"""Which operation scoring functions track the truth (section 3, appendices A.3 and A.4): tables and figures of the study."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from zcpt_ray.cli import Cluster, Report, open_console, require_some, start
from zcpt_ray.configs import SearchConfig, smoke
from zcpt_ray.errors import UserError
from zcpt_ray.files import any_path
from zcpt_ray.search import resolve
from zcpt_ray.spaces import find_space
from zcpt_ray.study import read_published_scores
from zcpt_ray.study_report import PARTS, UNUSED, ZERO_COST, Part, Study, report_initial


@dataclass(frozen=True)
class Options:
    """What to study; scores that were taken before are read."""

    config: SearchConfig
    parts: tuple[Part, ...] = tuple(PARTS)
    """initial: figure 2 left, tables 1, A1, A12. progressive: figure 2 right.

    toy-chain: figures A5 to A7, nwot on chains, whatever --space says.
    final-ops: table A2, the only part that --proxy, --order and --num-proposals have to do with."""
    functions: tuple[str, ...] = ZERO_COST
    """Scoring functions, beside the oracles; darts, darts-pt and disc-acc train a supernet (paper: 60 --epochs)."""
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Search seeds of the progressive part; the others use the first."""
    longest_chain: int = 8
    """The toy chains have 1 to so many layers, 4 ops each; scoring all networks of the longest takes longest."""
    published: Path | None = None
    """Instead of taking scores: a CSV with the columns edge, scorer and one per op, for the initial part."""
    smoke: bool = False
    """Shrink everything; a chain of three layers stands in for the space."""
    cluster: Cluster = field(default_factory=Cluster)
    out: str = "runs/operation_scoring"
    """Folder, local or a URI, for scores, tables (.csv, .md, .tex, .parquet) and figures (.png, .svg)."""


def main(options: Options) -> None:
    """Take or read the scores, part by part, and show each part as soon as it is there."""
    require_some(seeds=options.seeds, functions=options.functions, parts=options.parts)
    if options.longest_chain < 1:
        raise UserError(f"--longest-chain must be at least 1, got {options.longest_chain}")
    resolve(options.config)
    config, seeds, longest = replace(options.config, seed=options.seeds[0]), options.seeds, options.longest_chain
    if options.smoke:
        config, seeds, longest = replace(smoke(config), space="toy-chain-3"), seeds[:1], 2
    report = Report(any_path(options.out), open_console())
    if options.published:
        report_initial(report, read_published_scores(options.published, find_space(config.space)))
        return
    study = Study.of(config, options.functions, seeds, longest, options.cluster, report)
    for name, part in PARTS.items():
        if name in options.parts:
            part(study)


if __name__ == "__main__":
    start(main, Options(SearchConfig()), __doc__ or "", unused=UNUSED)
