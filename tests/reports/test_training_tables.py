"""Results of trainings: hand-computed cases, and the paper's own numbers."""

import dataclasses
import math

import numpy as np
from report_runs import benchmark_row

from zcpt_ray.configs import SearchConfig
from zcpt_ray.reports.published_trainings import (
    DARTS_ERRORS,
    MAX_PARAM,
    TABLE_3,
    TABLE_4,
    TABLE_A3,
    TABLE_A5,
    TABLE_A6,
    ProposalsValidations,
    PublishedTraining,
    published_training,
)
from zcpt_ray.reports.tables import mean_and_deviation, search_cost
from zcpt_ray.reports.training_tables import (
    Trained,
    by_method,
    learning_curves,
    training_pairs,
    training_table,
    with_distinct_names,
)
from zcpt_ray.search.records import ScoredCandidate, SearchResult
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.records import EpochMetrics, TrainResult


def training(
    arch: str, seed: int, error: float, space: str = "darts", device: str = "cpu", search: SearchResult | None = None
) -> Trained:
    """Two epochs of half an hour each."""
    epochs = tuple(EpochMetrics(epoch, 0.1, 1.0, 50.0, 1.0, error + 1 - epoch, 1.0, 100.0, 1800.0) for epoch in (0, 1))
    return Trained(
        arch, TrainResult(TrainConfig(arch, space=space, seed=seed), epochs, 3_300_000, 500_000_000, device, {}), search
    )


def search(arch: str, seed: int, **fields: object) -> SearchResult:
    """0.018 days on a GPU."""
    resources = {"CPU": 1.0, "GPU": 1.0}
    best = ScoredCandidate(arch, 1.0, 1, 0, 3_300_000, 500_000_000)
    config = dataclasses.replace(SearchConfig(space="darts", dataset="cifar10", seed=seed, device="cuda"), **fields)
    return SearchResult(
        config, best, (best,), 10, {"propose": 86400 * 0.015, "validate": 86400 * 0.003}, None, {}, resources=resources
    )


def on_dataset(trained: Trained, dataset: str) -> Trained:
    config = dataclasses.replace(trained.result.config, dataset=dataset)
    return dataclasses.replace(trained, result=dataclasses.replace(trained.result, config=config))


def grid(errors: tuple[tuple[float, ...], ...]) -> list[Trained]:
    return [training(f"arch {row}", seed, error) for row, line in enumerate(errors) for seed, error in enumerate(line)]


def test_the_released_numbers_give_table_3() -> None:
    """Means and best values to the last digit, which the paper cuts off.

    Deviations to 0.01, and only those of a sample.
    """
    single = {ProposalsValidations(1, 0): TABLE_A5}
    single |= {ProposalsValidations(10, validations): errors for validations, errors in TABLE_A6.items()}
    table = training_table({str(cell): grid(errors) for cell, errors in single.items()}).set_index("trained")
    assert table["trainings"].tolist() == 4 * [16]
    for cell, row in TABLE_3.items():
        ours, spread = map(float, table.loc[str(cell), "test error [%]"].split("±"))
        assert abs(spread - row.deviation) < 0.011
        assert ours in (row.mean, round(row.mean + 0.01, 2))
        assert math.floor(100 * np.mean(single[cell])) == round(100 * row.mean)
        assert abs(np.std(single[cell], ddof=1) - row.deviation) < 0.007
        assert float(table.loc[str(cell), "best [%]"]) == row.best
    assert abs(np.std(TABLE_A5) - TABLE_3[ProposalsValidations(1, 0)].deviation) > 0.015


def test_the_cost_of_a_training_is_that_of_all_its_devices() -> None:
    costs = {
        device: training_table({"x": [training("x", 0, 3.0, device=device)]}).iloc[0]
        for device in ("H100", "8 x H100", "2 x cpu")
    }
    assert {name: row.get("training [GPU-days]", row.get("training [h]")) for name, row in costs.items()} == {
        "H100": "0.0417",
        "8 x H100": "0.333",
        "2 x cpu": "1",
    }


def test_the_cost_of_a_search_counts_what_its_tasks_had() -> None:
    """0.018 days: on half a GPU half as much, on two CPUs 0.864 hours.

    Records that do not say, or differ, have no cost.
    """
    found = search("a", 0)
    half, two, unknown = (
        dataclasses.replace(found, resources=r) for r in ({"CPU": 1, "GPU": 0.5}, {"CPU": 2, "GPU": 0}, {})
    )
    assert search_cost([found, half]) == {"search [GPU-days]": "0.0135"}
    assert search_cost([two]) == {"search [CPU-hours]": "0.864"}
    assert search_cost([found, two]) == search_cost([half, unknown]) == search_cost([unknown]) == {}


def test_published_errors_stand_beside_their_own_data_set_only() -> None:
    mine = [training("x", 0, 3.0)]
    cifar10, cifar100 = ([on_dataset(t, dataset) for t in mine] for dataset in ("cifar10", "cifar100"))
    name = next(iter(DARTS_ERRORS))
    assert training_table({name: cifar10})["paper [%]"].tolist() == [f"{DARTS_ERRORS[name]:.2f}"]
    assert "paper [%]" not in training_table({name: cifar100})


def test_the_paper_gives_the_deviation_of_a_sample() -> None:
    row = TABLE_A3.row
    assert mean_and_deviation(TABLE_A3.errors) == f"{row.mean}±{row.deviation}" == "70.07±39.87"
    largest = TABLE_4["max-param-random"]
    assert mean_and_deviation(np.ravel(MAX_PARAM)) == "2.94±0.10"
    assert math.floor(1000 * np.std(MAX_PARAM, ddof=1)) / 1000 == largest.deviation


def test_a_training_table_by_hand() -> None:
    """Errors 2, 3, 4: mean 3, deviation 1, best 2. An hour each; 0.018 GPU-days for each of two searches."""
    a, b = search("a", 0), search("b", 1)
    trainings = [training("a", 0, 2.0, search=a), training("a", 1, 3.0, search=a), training("b", 0, 4.0, search=b)]
    (row,) = training_table({"found": trainings}).to_dict("records")
    assert (row["architectures"], row["trainings"], row["epochs"]) == (2, 3, "2")
    assert (row["test error [%]"], row["best [%]"], row["params [M]"]) == ("3.00±1.00", "2.00", "3.30")
    assert (row["training [h]"], row["search [GPU-days]"]) == ("1", "0.018")
    assert (row["paper [%]"], row["paper, best [%]"]) == ("2.64±0.16", "2.43")
    (row,) = training_table({"one": [training("a", 0, 2.0, device="NVIDIA H100")]}).to_dict("records")
    assert (row["test error [%]"], row["training [GPU-days]"]) == ("2.00", "0.0417")
    assert "paper [%]" not in row


def test_what_stands_beside() -> None:
    """A genotype of the authors has their error; what several methods found has none.

    The benchmark's error is there where it is known.
    """
    (row,) = training_table({"random_max_1": [training("a", 0, 3.0)]}).to_dict("records")
    assert row["paper [%]"] == "3.02"
    mixed = [training("a", 0, 3.0, search=search("a", 0)), training("a", 0, 3.0, search=search("a", 0, order="fixed"))]
    assert "paper [%]" not in training_table({"x": mixed})
    found, on_cpu = search("a", 0, space="nasbench201"), {"CPU": 1.0, "GPU": 0.0}
    known = dataclasses.replace(found, benchmark=benchmark_row(5.5), resources=on_cpu)
    (row,) = training_table({"x": [training("a", 0, 6.0, "nasbench201", search=known)]}).to_dict("records")
    assert (row["benchmark [%]"], row["search [CPU-hours]"]) == ("5.50", "0.432")
    assert published_training("darts", "cifar10", "synflow", "random") == PublishedTraining(3.88, 0.56, 3.38, 5.1)
    assert published_training("darts", "cifar10", "synflow", "global-op-iter") is None
    assert published_training("darts-s4", "svhn", "nwot-released", "random") == PublishedTraining(2.83, 0.06, 2.79)
    assert published_training("darts", "svhn", "nwot", "random") is None


def test_methods_are_rows_over_their_searches() -> None:
    """Two orders with two searches each, which in one order agree: three networks, of two seeds each."""
    errors = {("random", 0): 3.0, ("random", 1): 5.0, ("fixed", 0): 4.0, ("fixed", 1): 4.0}
    trained = []
    for (order, search_seed), error in errors.items():
        arch = f"{order} {search_seed if order == 'random' else 0}"
        found = search(arch, search_seed, order=order)
        for seed in (0, 1):
            trained.append(
                dataclasses.replace(training(arch, seed, error + seed, search=found), name=f"{order}, {search_seed}")
            )
    methods = by_method(trained)
    table = training_table(methods).set_index("trained")
    assert table["trainings"].to_dict() == {"order random": 4, "order fixed": 2}
    assert table["test error [%]"].to_dict() == {"order random": "4.50±1.29", "order fixed": "4.50±0.71"}
    assert table["paper [%]"].to_dict() == {"order random": "2.64±0.16", "order fixed": "-"}
    (pair,) = training_pairs(trained).to_dict("records")
    assert (pair["first"], pair["second"], pair["pairs"], pair["differ"]) == ("order random", "order fixed", 4, "-")
    assert pair["first - second"].startswith("+0.00 [")
    assert list(by_method(trained[:4])) == ["all"]
    assert by_method(trained[:2]) == {}
    given = [training("x", 0, 1.0), training("y", 0, 9.0)]
    assert list(by_method([*trained[:4], given[0]])) == ["found"]
    assert training_pairs([*trained[:4], *given]).empty  # no seeds of a search stand against those of what none found
    assert training_pairs(trained[:4])["pairs"].tolist() == [2]


def test_one_name_of_two_networks_is_told_apart() -> None:
    one, other = training("x", 0, 1.0), training("y", 0, 2.0)
    same = [dataclasses.replace(trained, name="given") for trained in (one, other, one)]
    assert [trained.name for trained in with_distinct_names(same)] == ["given", "given'", "given"]


def test_learning_curves_are_all_epochs() -> None:
    table = learning_curves([training("a", 0, 2.0), training("a", 1, 3.0)])
    assert table[["trained", "seed", "epoch", "top1_error"]].values.tolist() == [
        ["a", 0, 0, 3.0],
        ["a", 0, 1, 2.0],
        ["a", 1, 0, 4.0],
        ["a", 1, 1, 3.0],
    ]
