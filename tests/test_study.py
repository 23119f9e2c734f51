import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from zcpt_ray import plots, study
from zcpt_ray.configs import SearchConfig, SupernetTraining
from zcpt_ray.errors import UserError
from zcpt_ray.spaces import SPACES

CONFIG = SearchConfig(space="toy-chain-2", batch_size=8, training=SupernetTraining(1, 1, training_batch_size=16, max_images=32))
FUNCTIONS = ("best-zc(nwot)", "zc-pt(nwot)", "disc-zc(params)", "tenas", "darts-pt")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path / "cache"))


def runs(progressive: bool = False, seeds: tuple[int, ...] = (0,)) -> list[study.StudyRun]:
    configs = [study.with_function(dataclasses.replace(CONFIG, seed=seed), name) for name in FUNCTIONS for seed in seeds]
    return [study.StudyRun(config, ("best-zc(nwot)",), progressive) for config in configs]


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
    table = study.spearman_table(scores, "best-zc(nwot)")
    own = table[table["function"] == "best-zc(nwot)"]
    assert (own["spearman"] == 1).all()
    plots.save_figure(plots.progressive_scoring(table, "best-zc(nwot)"), tmp_path / "progressive")
    assert (tmp_path / "progressive.svg").stat().st_size > 1000
    assert (tmp_path / "progressive.png").stat().st_size > 1000


def by_hand() -> pd.DataFrame:
    """Two edges of three ops. `f` orders edge a as the truth does and edge b the other way round; `flat` says nothing."""
    truth = {"a": (1, 2, 3), "b": (3, 2, 1)}
    f = {"a": (10, 20, 30), "b": (1, 2, 3)}
    functions = {"truth": truth, "f": f, "flat": {"a": (0, 0, 0), "b": (5, 5, 5)}}
    rows = [
        {"function": name, "edge": edge, "op": op, "score": score, "params": params}
        for name, values in functions.items()
        for edge, scores in values.items()
        for op, score, params in zip("xyz", scores, (0, 7, 7), strict=True)
    ]
    return pd.DataFrame(rows).assign(space="s", seed=0, iteration=0)


def test_spearman_by_hand() -> None:
    table = study.spearman_table(by_hand(), "truth").set_index("function")["spearman"]
    assert table.to_dict() == {"truth": 1, "f": 0, "flat": 0}
    with_column = by_hand().assign(oracle=lambda scores: -scores["score"])
    assert study.spearman_table(with_column, "oracle").set_index("function")["spearman"]["f"] == -1


def test_picks_by_hand() -> None:
    """Of equals the op with more parameters, then the later one: z for `flat`."""
    chosen = study.picks(by_hand()).groupby("function")["op"].agg("".join).to_dict()
    assert chosen == {"truth": "zx", "f": "zz", "flat": "zz"}
    ranks = study.mean_ranks(by_hand()).set_index(["function", "op"])
    assert ranks.loc[("f", "z"), "rank"] == 3
    assert ranks.loc[("truth", "y"), "rank"] == 2
    assert ranks.loc[("truth", "x"), "picked"] == 1


def test_op_counts_by_hand() -> None:
    space = SPACES["toy-chain-2"]
    archs = {"two": [space.decode("skip_connect>nor_conv_1x1"), space.decode("skip_connect>skip_connect")]}
    assert study.op_counts(archs, space.edges[0].candidates).to_dict("records") == [
        {"architectures": "two", "skip_connect": 3, "nor_conv_1x1": 1, "nor_conv_3x3": 0, "avg_pool_3x3": 0}
    ]


@pytest.mark.parametrize("name", ["zc-pt", "best-acc(nwot)", "tenas(nwot)", "zc-pt(nonsense)", "nonsense", "zc-pt(nwot"])
def test_functions_that_there_are_not(name: str) -> None:
    with pytest.raises(UserError, match=r"unknown scoring function .*; choose from zc-pt, .* as in zc-pt\(nwot\): nwot, "):
        study.with_function(CONFIG, name)


def test_published_scores_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        study.read_published_scores(tmp_path / "none.csv", SPACES["nasbench201"])
    (tmp_path / "other.csv").write_text("edge,none\n0,1\n")
    with pytest.raises(UserError, match="needs the columns edge, scorer, none"):
        study.read_published_scores(tmp_path / "other.csv", SPACES["nasbench201"])
    for row in ("6,f,1,2,3,4,5", "0,f,1,2,3,4,", "0,f,1,2,3,4,x"):
        (tmp_path / "bad.csv").write_text("edge,scorer,none,skip_connect,nor_conv_1x1,nor_conv_3x3,avg_pool_3x3\n" + row + "\n")
        with pytest.raises(UserError, match="needs an edge of 0 to 5 and a number for each op"):
            study.read_published_scores(tmp_path / "bad.csv", SPACES["nasbench201"])
    with pytest.raises(UserError, match="no oracle 'best-acc' among the scores of truth, f, flat"):
        study.spearman_table(by_hand(), "best-acc")


def test_figures_of_a_chain(tmp_path: Path) -> None:
    configs = [dataclasses.replace(CONFIG, space=f"toy-chain-{length}") for length in (1, 2)]
    names = ("best-zc(nwot)", "zc-pt(nwot)")
    scores = study.run_study([study.StudyRun(study.with_function(c, name), names[:1]) for c in configs for name in names], tmp_path)
    table = study.spearman_table(scores, names[0])
    plots.save_figure(plots.toy_chain_correlation(table, names[0]), tmp_path / "a6")
    plots.save_figure(plots.toy_chain_ops(study.mean_ranks(scores), names), tmp_path / "a7")
    plots.save_figure(plots.initial_scoring({names[0]: table}), tmp_path / "figure2")
    assert len(list(tmp_path.glob("*.svg"))) == 3


def test_a_space_whose_edges_keep_more_than_one(tmp_path: Path) -> None:
    run = study.StudyRun(SearchConfig(space="darts-s2-small"), ())
    with pytest.raises(UserError, match="'normal/node2' of 'darts-s2-small' keeps 2"):
        study.run_study([run], tmp_path)
