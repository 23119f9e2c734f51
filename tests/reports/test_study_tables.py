"""Tables of the operation-scoring study, by hand."""

import pandas as pd
import pytest
from report_runs import benchmark_row

from zcpt_ray.errors import UserError
from zcpt_ray.reports.study_tables import mean_ranks, op_counts, picked_table, picks, spearman_table
from zcpt_ray.spaces import SPACES


def by_hand() -> pd.DataFrame:
    """Two edges of three ops. `f` orders edge a as the truth does and edge b the other way round.

    `flat` says nothing.
    """
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
    table = spearman_table(by_hand(), "truth").set_index("function")["spearman"]
    assert table.to_dict() == {"truth": 1, "f": 0, "flat": 0}
    with_column = by_hand().assign(oracle=lambda scores: -scores["score"])
    assert spearman_table(with_column, "oracle").set_index("function")["spearman"]["f"] == -1


def test_an_oracle_that_there_is_not() -> None:
    with pytest.raises(UserError, match="no oracle 'best-acc' among the scores of truth, f, flat"):
        spearman_table(by_hand(), "best-acc")


def test_a_score_that_is_no_number() -> None:
    scores = by_hand()
    scores["score"] = scores["score"].astype(float)
    scores.loc[4, "score"] = float("nan")
    with pytest.raises(ValueError, match="a score is NaN"):
        spearman_table(scores, "truth")


def test_picks_by_hand() -> None:
    """Of equals the op with more parameters, then the later one: z for `flat`."""
    chosen = picks(by_hand()).groupby("function")["op"].agg("".join).to_dict()
    assert chosen == {"truth": "zx", "f": "zz", "flat": "zz"}
    ranks = mean_ranks(by_hand()).set_index(["function", "op"])
    assert ranks.loc[("f", "z"), "rank"] == 3
    assert ranks.loc[("truth", "y"), "rank"] == 2
    assert ranks.loc[("truth", "x"), "picked"] == 1


def test_picked_architectures_have_their_errors() -> None:
    names = {"x": "skip_connect", "y": "nor_conv_1x1", "z": "nor_conv_3x3"}
    space = SPACES["toy-chain-2"]
    edges = dict(zip("ab", (edge.name for edge in space.edges), strict=True))
    scores = by_hand().replace({"op": names, "edge": edges}).assign(space=space.name)
    found = {"nor_conv_3x3>skip_connect": benchmark_row(5.5), "nor_conv_3x3>nor_conv_3x3": benchmark_row(6.5)}
    table = picked_table(scores, found.__getitem__)
    assert table[["function", "seed", "error", "rank"]].values.tolist() == [
        ["truth", 0, 5.5, 3],
        ["f", 0, 6.5, 3],
        ["flat", 0, 6.5, 3],
    ]
    assert table["architecture"].tolist() == ["nor_conv_3x3>skip_connect", *2 * ["nor_conv_3x3>nor_conv_3x3"]]
    assert list(picked_table(scores, None)) == ["function", "seed", "architecture"]


def test_op_counts_by_hand() -> None:
    space = SPACES["toy-chain-2"]
    archs = {"two": [space.decode("skip_connect>nor_conv_1x1"), space.decode("skip_connect>skip_connect")]}
    assert op_counts(archs, space.edges[0].candidates).to_dict("records") == [
        {"architectures": "two", "skip_connect": 3, "nor_conv_1x1": 1, "nor_conv_3x3": 0, "avg_pool_3x3": 0}
    ]
