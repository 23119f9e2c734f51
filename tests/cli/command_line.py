"""For tests of commands: what one printed and how it ended, the flags of each, and the tables among its lines."""

import re
import shlex
from typing import Any, NamedTuple, Protocol

from zcpt_ray.cli import (
    ablation,
    baselines,
    budgets,
    correlate,
    data,
    fit,
    profile,
    rank,
    report,
    reproduce,
    search,
    speed,
    study,
    train,
)
from zcpt_ray.cli.flags import Help, parse
from zcpt_ray.configs import SearchConfig
from zcpt_ray.fit_config import FitConfig
from zcpt_ray.train_config import TrainConfig

FLAGS: dict[str, tuple[Any, Help]] = {
    "search": (search.SearchFlags(SearchConfig()), Help("search", search.SEARCH_DESCRIPTION, search.SEARCH_EXAMPLES)),
    "rank": (rank.RankFlags(SearchConfig(num_validations=10)), rank.RANK_HELP),
    "baselines": (baselines.BaselineFlags(SearchConfig()), baselines.BASELINES_HELP),
    "ablation": (ablation.AblationFlags(SearchConfig()), ablation.ABLATION_HELP),
    "study": (study.StudyFlags(SearchConfig()), study.STUDY_HELP),
    "train": (train.TrainFlags(TrainConfig(arch="")), train.TRAIN_HELP),
    "fit": (fit.FitFlags(FitConfig()), fit.FIT_HELP),
    "profile": (profile.ProfileFlags(), profile.PROFILE_HELP),
    "budgets": (budgets.BudgetsFlags(SearchConfig()), budgets.BUDGETS_HELP),
    "correlate": (correlate.CorrelateFlags(SearchConfig()), correlate.CORRELATE_HELP),
    "reproduce": (reproduce.ReproduceFlags(), reproduce.REPRODUCE_HELP),
    "report": (report.ReportFlags(), report.REPORT_HELP),
    "data": (data.DataFlags(), data.DATA_HELP),
    "benchmark": (speed.SpeedFlags(), speed.SPEED_HELP),
}
"""By command its flags as they are by default, and its help."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Zcpt(Protocol):
    """Runs `zcpt` with these arguments in this process."""

    def __call__(self, *arguments: str) -> Ended: ...


def understood(command_line: str) -> Any:
    """The flags of a line that begins with `zcpt COMMAND`, as the command reads them."""
    zcpt, command, *flags = shlex.split(command_line)
    assert zcpt == "zcpt"
    return parse(*FLAGS[command], flags)


def hints(out: str) -> list[str]:
    """The commands that come next, as the last lines say."""
    return [line.removeprefix("Next: ") for line in out.splitlines() if line.startswith("Next: ")]


def table_lines(out: str) -> list[str]:
    """The lines that are part of a table."""
    return [line for line in out.splitlines() if line[:1] in set("┏┃┡│└")]


def cells(out: str, head: str) -> list[str]:
    """The cells below a head, each with its lines: where the first cell of a line is empty, a row goes on."""
    found: list[str] = []
    column = None
    for line in table_lines(out):
        row = [cell.strip() for cell in re.split("[┃│]", line)[1:-1]]
        if line[0] == "┃" and head in row:
            column = row.index(head)
        elif line[0] == "│" and column is not None:
            if row[0]:
                found.append(row[column])
            else:
                found[-1] += f"\n{row[column]}"
        elif line[0] == "└":
            column = None
    return found
