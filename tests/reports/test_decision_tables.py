"""How a proposal was decided, by hand."""

import math

from zcpt_ray.reports.decision_tables import replay_table, score_places
from zcpt_ray.search.records import Decision, Proposal
from zcpt_ray.spaces import SPACES


def test_the_replay_of_a_proposal() -> None:
    """By hand: `a` wins by 1 of a spread of 4; of two kept inputs the worse one wins by 2 of 8.

    Then a tie, and an infinite score.
    """
    decisions = (
        Decision(0, "e0", ("a",), {"a": 5.0, "b": 4.0, "c": 1.0}),
        Decision(1, "node", ("0", "2"), {"0": 9.0, "1": 1.0, "2": 5.0, "3": 3.0}),
        Decision(2, "tie", ("b",), {"a": 2.0, "b": 2.0}),
        Decision(3, "inf", ("b",), {"a": -math.inf, "b": 2.0}),
    )
    proposal = Proposal(0, "x", decisions, 11, 1.0)
    table = replay_table(proposal)
    assert table[["step", "edge", "kept", "runner-up"]].values.tolist() == [
        [0, "e0", "a", "b"],
        [1, "node", "0, 2", "3"],
        [2, "tie", "b", "a"],
        [3, "inf", "b", "a"],
    ]
    assert table["score"].tolist() == [5, 5, 2, 2]
    assert table["margin"].tolist() == [1, 2, 0, math.inf]
    assert table["relative margin"].tolist()[:2] == [0.25, 0.25]
    assert table["relative margin"].isna().tolist() == [False, False, True, True]
    places = score_places(proposal)
    assert places.loc[0, ["a", "b", "c"]].tolist() == [1, 0.75, 0]
    assert places.loc[1, ["0", "1", "2", "3"]].tolist() == [1, 0, 0.5, 0.25]
    assert math.isnan(places.loc[0, "3"])


def test_edges_go_by_their_titles() -> None:
    proposal = Proposal(0, "x", (Decision(0, "normal/2", ("a",), {"a": 5.0, "b": 4.0}),), 2, 1.0)
    titles = SPACES["darts"].edge_titles
    assert replay_table(proposal, titles)["edge"].tolist() == ["normal 3<-c(k-2)"]
    assert (titles["reduce/13"], titles["normal/node5"]) == ("reduce 5<-4", "normal inputs of 5")
    assert set(titles) == {edge.name for edge in SPACES["darts"].edges}


def test_a_baseline_has_no_replay() -> None:
    assert replay_table(Proposal(0, "x", (), 1, 1.0)).empty


def test_what_was_pruned_has_no_replay() -> None:
    """TE-NAS takes ops away: its decisions keep nothing."""
    pruned = Proposal(0, "a", (Decision(0, "edge", (), {"x": 1.0, "y": 2.0}),), 2, 0.1)
    assert replay_table(pruned).empty
