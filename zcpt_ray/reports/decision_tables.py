"""How a proposal was decided, as tables."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from zcpt_ray.search.records import Proposal

BELOW_ZERO = "A margin below 0: the op that scored best there would have broken the budget."


def replay_table(proposal: Proposal, titles: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One row per decision, in order: the kept ops and their lowest score, and the best other op and its score.

    `margin` is the difference of the two scores; `relative margin` divides it by the spread of the edge's scores, NaN
    where that is 0 or infinite. A budget may have kept a worse op: then they are negative. No rows where a proposal was
    not decided edge by edge. `titles` are what to call edges, if not by their names.
    """
    rows = []
    for decision in proposal.decisions:
        if not decision.kept:
            continue
        others = {op: score for op, score in decision.scores.items() if op not in decision.kept}
        score, runner_up = min(decision.scores[op] for op in decision.kept), max(others, key=others.__getitem__)
        margin, spread = score - others[runner_up], _spread(decision.scores)
        rows.append(
            {
                "step": decision.step,
                "edge": (titles or {}).get(decision.edge, decision.edge),
                "kept": ", ".join(decision.kept),
                "score": score,
                "runner-up": runner_up,
                "its score": others[runner_up],
                "margin": margin,
                "relative margin": margin / spread if spread else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def score_places(proposal: Proposal) -> pd.DataFrame:
    """A row per decision, a column per op: where its score lies between the worst (0) and the best (1) of the edge.

    NaN where the edge has no such op, or its scores no finite spread.
    """
    rows = []
    for decision in proposal.decisions:
        least, spread = min(decision.scores.values()), _spread(decision.scores)
        rows.append({op: (score - least) / spread if spread else float("nan") for op, score in decision.scores.items()})
    return pd.DataFrame(rows, dtype=float)


def _spread(scores: Mapping[str, float]) -> float:
    """Best less worst; 0 where that is not finite."""
    spread = max(scores.values()) - min(scores.values())
    return spread if np.isfinite(spread) else 0.0
