"""The study: scores are taken once, follow the search, and only of spaces and functions that there are."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from zcpt_ray.configs import SearchConfig, SupernetTraining
from zcpt_ray.errors import UserError
from zcpt_ray.experiments import study
from zcpt_ray.reports import figures
from zcpt_ray.reports.study_tables import mean_ranks, spearman_table
from zcpt_ray.spaces import SPACES

CONFIG = SearchConfig(
    space="toy-chain-2", batch_size=8, training=SupernetTraining(1, 1, training_batch_size=16, max_images=32)
)
FUNCTIONS = ("best-zc(nwot)", "zc-pt(nwot)", "disc-zc(params)", "tenas", "darts-pt")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path / "cache"))


def runs(progressive: bool = False, seeds: tuple[int, ...] = (0,)) -> list[study.StudyRun]:
    configs = [
        study.with_function(dataclasses.replace(CONFIG, seed=seed), name) for name in FUNCTIONS for seed in seeds
    ]
    return [study.StudyRun.of(config, ("best-zc(nwot)",), progressive) for config in configs]


def test_scores_are_taken_once(tmp_path: Path) -> None:
    lines: list[str] = []
    scores = study.run_study(runs(), tmp_path / "scores", report=lines.append)
    assert len(scores) == len(FUNCTIONS) * 2 * 4
    assert set(scores["function"]) == set(FUNCTIONS)
    assert sum("toy-chain-2, seed 0" in line for line in lines) == len(FUNCTIONS)
    again: list[str] = []
    pd.testing.assert_frame_equal(study.run_study(runs(), tmp_path / "scores", report=again.append), scores)
    assert not again


def test_progressive_scores_follow_the_search(tmp_path: Path) -> None:
    scores = study.run_study(runs(progressive=True, seeds=(0, 1)), tmp_path)
    assert len(scores) == len(FUNCTIONS) * 2 * (8 + 4)
    first, last = (scores[scores["iteration"] == iteration] for iteration in (0, 1))
    assert (first.groupby(["function", "seed"])["edge"].nunique() == 2).all()
    assert (last.groupby(["function", "seed"])["edge"].nunique() == 1).all()
    table = spearman_table(scores, "best-zc(nwot)")
    own = table[table["function"] == "best-zc(nwot)"]
    assert (own["spearman"] == 1).all()
    figures.save_figure(figures.progressive_scoring(table, "best-zc(nwot)"), tmp_path / "progressive")
    assert (tmp_path / "progressive.svg").stat().st_size > 1000
    assert (tmp_path / "progressive.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "name", ["zc-pt", "best-acc(nwot)", "tenas(nwot)", "zc-pt(nonsense)", "nonsense", "zc-pt(nwot"]
)
def test_functions_that_there_are_not(name: str) -> None:
    with pytest.raises(
        UserError, match=r"unknown scoring function .*; choose from zc-pt, .* as in zc-pt\(nwot\): nwot, "
    ):
        study.with_function(CONFIG, name)


def test_published_scores_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        study.read_published_scores(tmp_path / "none.csv", SPACES["nasbench201"])
    (tmp_path / "other.csv").write_text("edge,none\n0,1\n")
    with pytest.raises(UserError, match="needs the columns edge, scorer, none"):
        study.read_published_scores(tmp_path / "other.csv", SPACES["nasbench201"])
    for row in ("6,f,1,2,3,4,5", "0,f,1,2,3,4,", "0,f,1,2,3,4,x"):
        (tmp_path / "bad.csv").write_text(
            "edge,scorer,none,skip_connect,nor_conv_1x1,nor_conv_3x3,avg_pool_3x3\n" + row + "\n"
        )
        with pytest.raises(UserError, match="needs an edge of 0 to 5 and a number for each op"):
            study.read_published_scores(tmp_path / "bad.csv", SPACES["nasbench201"])


def test_figures_of_a_chain(tmp_path: Path) -> None:
    configs = [dataclasses.replace(CONFIG, space=f"toy-chain-{length}") for length in (1, 2)]
    names = ("best-zc(nwot)", "zc-pt(nwot)")
    scores = study.run_study(
        [study.StudyRun.of(study.with_function(c, name), names[:1]) for c in configs for name in names], tmp_path
    )
    table = spearman_table(scores, names[0])
    figures.save_figure(figures.toy_chain_correlation(table, names[0]), tmp_path / "a6")
    figures.save_figure(figures.toy_chain_ops(mean_ranks(scores), names), tmp_path / "a7")
    figures.save_figure(figures.initial_scoring({names[0]: table}), tmp_path / "figure2")
    assert len(list(tmp_path.glob("*.svg"))) == 3


def test_a_space_whose_edges_keep_more_than_one(tmp_path: Path) -> None:
    run = study.StudyRun.of(SearchConfig(space="darts-s2-small"), ())
    with pytest.raises(UserError, match="'normal/node2' of 'darts-s2-small' keeps 2"):
        study.run_study([run], tmp_path)
