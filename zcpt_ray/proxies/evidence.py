"""How well proxies rank the trained networks of each space, as `zcpt correlate` has measured it (correlations.csv)."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

AUTO_PROXY = "auto"
"""In the place of a proxy: the one that is documented to serve the space best."""
CONTROL = "params"
BEST_IN_SEARCHES = {"nasbench201": "nwot"}
"""Where searches were compared too: what ranks all networks best need not decide ops best."""


@dataclass(frozen=True)
class Correlation:
    """Spearman correlation with accuracy, and its 95 % interval."""

    space: str
    task: str
    proxy: str
    spearman: float
    low: float
    high: float
    networks: int


@lru_cache
def measured_correlations() -> tuple[Correlation, ...]:
    """What the package's table holds."""
    text = (files("zcpt_ray.proxies") / "correlations.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(
        Correlation(row["space"], row["task"], row["proxy"], *_numbers(row), networks=int(row["networks"]))
        for row in rows
    )


def _numbers(row: Mapping[str, str]) -> tuple[float, float, float]:
    return float(row["spearman"]), float(row["low"]), float(row["high"])


def best_proxy(space: str, default: str) -> str:
    """What `auto` stands for in a space; `default` where nothing was measured."""
    known = [row for row in measured_correlations() if row.space == space]
    best = max(known, key=lambda row: row.spearman).proxy if known else default
    return BEST_IN_SEARCHES.get(space, best)


def doubt(space: str, proxy: str) -> str:
    """A line where a proxy is known to rank networks less well than counting parameters does; else nothing."""
    known = {row.proxy: row for row in measured_correlations() if row.space == space}
    if proxy not in known or proxy == CONTROL or CONTROL not in known:
        return ""
    ours, control = known[proxy], known[CONTROL]
    if ours.spearman >= control.low:
        return ""
    return (
        f"{proxy} is known to rank networks of {space} less well than counting their parameters does (Spearman"
        f" {ours.spearman:.2f} beside {control.spearman:.2f}, {ours.networks} networks, {ours.task}):"
        f" --proxy {AUTO_PROXY} takes {best_proxy(space, proxy)}"
    )
