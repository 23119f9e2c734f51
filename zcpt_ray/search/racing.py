"""Which candidates can still win: paired comparisons on the same minibatches, looked at again and again.

As in races for model selection (Maron and Moore 1994), with Student's paired t-test, which needs few minibatches as
the scores of candidates rise and fall together. Every look at every pair has its share of the error (Bonferroni), so
that looking repeatedly does not add up: the best candidate, by its mean over all minibatches that there could be, is
dropped with at most that probability, if differences are normal.
"""

import numpy as np
from scipy.stats import t as student

LOOKS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
"""Minibatches after which candidates are dropped; beyond, each half as much again."""


def looks_until(total: int) -> list[int]:
    """The minibatches after which a race of `total` looks, the last included."""
    looks = list(LOOKS)
    while looks[-1] < total:
        looks.append(looks[-1] * 3 // 2)
    return [*(look for look in looks if look < total), total]


def can_win(scores: np.ndarray, error: float, num_candidates: int, num_looks: int) -> np.ndarray:
    """Which of the candidates in `scores` [minibatches, candidates] may still be the best, bool [candidates].

    `error` is for the whole race, which began with `num_candidates` and looks `num_looks` times. Scores of -inf lose
    to finite ones.
    """
    finite = np.isfinite(scores).all(0)
    if not finite.any():
        return np.ones(scores.shape[1], bool)
    leader = int(np.argmax(np.where(finite, np.where(np.isfinite(scores), scores, 0).mean(0), -np.inf)))
    behind = scores[:, [leader]] - scores[:, finite]
    share = error / (max(1, num_candidates - 1) * num_looks)
    stays: np.ndarray = finite.copy()
    stays[finite] = error_of_lead(behind) >= share
    return stays


def error_of_lead(margins: np.ndarray) -> np.ndarray:
    """Per column of [minibatches, pairs], how likely such a lead would be if there was none: a paired t-test."""
    count, mean = len(margins), margins.mean(0)
    deviation = margins.std(0, ddof=1) if count > 1 else np.full(mean.shape, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(mean > 0, mean / (deviation / np.sqrt(count)), 0.0)
    errors: np.ndarray = student.sf(statistic, max(1, count - 1))
    return errors
