"""Figures of trainings and of figure 4: what they show is what the tables say, whatever the tables hold."""

import warnings

import pandas as pd
import pytest
from matplotlib.figure import Figure

from zcpt_ray.reports.figures import (
    drawn,
    error_and_latency,
    error_and_params,
    learning_curves,
    paper_and_ours,
    progressive_scoring,
    proposals_validations,
)
from zcpt_ray.reports.published import PublishedError
from zcpt_ray.reports.published_trainings import PublishedTraining
from zcpt_ray.reports.reproduction import Compared, comparison_table
from zcpt_ray.reports.search_figures import candidates, replay

CURVES = pd.DataFrame(
    [
        {"trained": name, "seed": seed, "epoch": epoch, "top1_error": 9.0 - epoch, "train_error": 8.0 - epoch}
        for name in ("$a_b$", "_hidden")
        for seed in (0, 1)
        for epoch in range(3)
    ]
)
CELLS = pd.DataFrame(
    [
        {"N": proposals, "V": validations, "seeds": 4, "error": 6.0, "deviation": 0.5, "distinct": 3.0 * proposals**0.5}
        for proposals in (1, 10, 100)
        for validations in (0, 10)
    ]
)


def write(figure: Figure) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return drawn(figure, "svg").decode()


def test_figure_4_has_a_line_for_each_number_of_validations() -> None:
    figure = proposals_validations(CELLS, {100: 27.8})
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["V = 0", "V = 10"]
    assert list(right.lines[0].get_ydata()) == pytest.approx([3, 3 * 10**0.5, 30])
    assert (left.get_xscale(), right.get_yscale()) == ("log", "log")
    assert ">paper<" in write(figure)
    without = proposals_validations(CELLS.assign(error=float("nan"), deviation=float("nan")))
    assert ">paper<" not in write(without)
    assert len(without.axes) == 1


def test_the_papers_numbers_stand_beside_ours() -> None:
    rows = [
        Compared("fixed", "cifar10", PublishedError(5.98, 0.5), (6.0, 6.2)),
        Compared("fixed", "cifar100", PublishedError(27.6, 1.6), (27.0,)),
        Compared("random", "cifar10", PublishedError(5.97, 0.17), ()),
    ]
    figure = paper_and_ours(comparison_table(rows))
    first, second = figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["fixed", "random"]
    assert next(list(line.get_xdata()) for line in second.lines if len(line.get_xdata()) == 1) == [27.6]
    text = write(figure)
    assert ">paper<" in text
    assert ">ours<" in text


def test_every_training_has_its_curves() -> None:
    figure = learning_curves(CURVES)
    assert [len(axes.lines) for axes in figure.axes] == [4, 4]
    colours = [line.get_color() for line in figure.axes[0].lines]
    assert colours[0] == colours[1] != colours[2]
    assert list(figure.axes[0].lines[0].get_xdata()) == [1, 2, 3]
    text = write(figure)
    assert ">$a_b$<" in text.replace("\\", "")
    assert "_hidden<" in text


def test_error_and_params_stand_beside_the_paper() -> None:
    ours = pd.DataFrame(
        [
            {"trained": "a", "params [M]": 3.0, "error": 3.0, "deviation": 0.1},
            {"trained": "b <&>", "params [M]": 4.0, "error": 2.9, "deviation": float("nan")},
        ]
    )
    paper = {"DARTS": PublishedTraining(3.0, 0.14, params_m=3.3), "of no known size": PublishedTraining(3.0, 0.1)}
    text = write(error_and_params(ours, paper))
    assert "ours: b &lt;&amp;&gt;" in text
    assert "DARTS" in text
    assert "of no known size" not in text


def test_the_band_is_the_deviation_of_a_sample() -> None:
    """Of 0 and 1 that is 0.707; one seed has no band."""
    rows = [("f", 0, seed, float(seed)) for seed in (0, 1)] + [("f", 1, 0, 0.5)]
    table = pd.DataFrame(rows, columns=["function", "iteration", "seed", "spearman"])
    (band,) = progressive_scoring(table, "truth").axes[0].collections
    low, high = band.get_datalim(band.axes.transData).intervaly
    assert (low, high) == pytest.approx((0.5 - 0.5**0.5, 0.5 + 0.5**0.5))


def test_a_figure_is_the_same_bytes_each_time() -> None:
    assert drawn(learning_curves(CURVES), "svg") == drawn(learning_curves(CURVES), "svg")


def test_networks_stand_at_their_latency() -> None:
    """The second keeps no limit, so that it is hollow."""
    names, keeps = ["found", "resnet18-quarter"], ["yes", "no"]
    table = pd.DataFrame({"network": names, "test error [%]": [30.0, 25.0], "standard error": [1.0, 1.0]})
    table = table.assign(**{"latency [ms]": [2.0, 5.0], "keeps the limits": keeps})
    figure = error_and_latency(table)
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [dot.get_xydata().tolist() for dot in dots] == [[[2.0, 30.0]], [[5.0, 25.0]]]
    assert [dot.get_markerfacecolor() for dot in dots] == ["C0", "none"]
    assert all(name in write(figure) for name in names)


def test_candidates_have_the_best_so_far_and_a_front() -> None:
    """Scores 3, 1, 2 of proposals 1, 0, 1, the last a neighbour, and one that nothing can be said of."""
    table = pd.DataFrame({"score": [3.0, 1.0, 2.0, float("-inf")], "first_proposal": [1, 0, 1, 2]})
    table = table.assign(times_proposed=[2, 1, 0, 1], **{"params [M]": [2.0, 3.0, 1.0, 0.5]})
    figure = candidates(table, ["params [M]"])
    so_far, front = (axes.lines[0].get_xydata().tolist() for axes in figure.axes)
    assert so_far == [[1, 1], [2, 2], [2, 3]]
    assert front == [[1, 2], [2, 3], [3, 3]]
    drawn_figure = write(figure)
    for words in ("proposals made", "params [M]", "neighbour", "chosen"):
        assert words in drawn_figure


def test_margins_below_zero_are_explained() -> None:
    places = pd.DataFrame({"a": [1.0, 0.0], "b": [0.0, 1.0]})
    decisions = pd.DataFrame({"step": [0, 1], "edge": ["e", "f"], "kept": ["a", "a"], "relative margin": [1.0, -1.0]})
    assert "kept for the budget" in write(replay(decisions, places))
    assert "budget" not in write(replay(decisions[:1], places[:1]))
