"""How proxies rank networks beside their accuracies: statistics, resumes, aggregates, and published values."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import zcpt_ray as zc
from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.correlation import (
    correlate_proxies,
    kendall,
    pearson_of_logs,
    spearman,
    with_interval,
)
from zcpt_ray.proxies import find_proxy
from zcpt_ray.search.score_tables import spread_locally

CONFIG = SearchConfig(dataset="cifar10", batch_size=8)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A benchmark of all networks of NAS-Bench-201, with made accuracies: the more 3x3 convolutions the better."""
    space = zc.find_space("nasbench201")
    archs = [space.encode(space.arch(index)) for index in range(space.num_archs)]
    accuracy = np.array([60.0 + 5 * arch.count("nor_conv_3x3~") for arch in archs]) + np.random.default_rng(0).random(
        len(archs)
    )
    made = pd.DataFrame({"arch": archs})
    for name in ("cifar10", "cifar100", "imagenet16_120", "digits"):
        made[f"{name}_test"] = accuracy
        made[f"params_{name}"] = made[f"flops_{name}"] = 1
    (tmp_path / "data" / "tables").mkdir(parents=True)
    made.to_parquet(tmp_path / "data" / "tables" / "nasbench201.parquet")
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path / "cache"))
    return made


def test_meco_falls_where_networks_differ_in_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the number of channels its score falls: the wrong way round on NATS-Bench's sizes."""
    space = zc.find_space("nats-size")
    archs = [space.encode(space.arch(index)) for index in range(0, space.num_archs, 2999)]
    made = pd.DataFrame({"arch": archs})
    for name in ("cifar10", "cifar100", "imagenet16_120"):
        made[f"params_{name}"] = [zc.costs("nats-size", arch).params for arch in archs]
        made[f"{name}_test"] = 90 + made[f"params_{name}"] / 1e6
        made[f"flops_{name}"] = 1
    (tmp_path / "tables").mkdir()
    made.to_parquet(tmp_path / "tables" / "nats_size.parquet")
    monkeypatch.setenv("ZCPT_DATA", str(tmp_path))
    config = SearchConfig(space="nats-size", dataset="digits", batch_size=4)
    found = correlate_proxies(config, ["meco", "near", "params"], 0, tmp_path / "out", task="cifar10")
    values = found.table.set_index("proxy")["Spearman"]
    assert values["meco"] < -0.5
    assert values["near"] > 0.8
    assert values["params"] == 1


def test_statistics_are_scipys() -> None:
    random = np.random.default_rng(0)
    scores, accuracies = random.normal(0, 100, 60).round(-1), random.uniform(50, 95, 60)
    assert spearman(scores, accuracies) == pytest.approx(stats.spearmanr(scores, accuracies).statistic)
    assert kendall(scores, accuracies) == pytest.approx(stats.kendalltau(scores, accuracies).statistic)
    logs = np.sign(scores) * np.log1p(abs(scores)), -np.log(100 - accuracies)
    assert pearson_of_logs(scores, accuracies) == pytest.approx(stats.pearsonr(*logs).statistic)
    scores[3] = -np.inf
    assert np.isfinite(
        [spearman(scores, accuracies), kendall(scores, accuracies), pearson_of_logs(scores, accuracies)]
    ).all()
    assert np.isnan(spearman(np.ones(60), accuracies))
    value, low, high = with_interval(spearman, accuracies + random.normal(0, 5, 60), accuracies)
    assert low < value < high
    assert high - low < 0.4


def test_a_search_for_the_made_truth(table: pd.DataFrame, tmp_path: Path) -> None:
    config = SearchConfig(batch_size=8)
    said: list[str] = []
    names = ["params", "flops", "params+synflow", "synflow"]
    found = correlate_proxies(config, names, 40, tmp_path / "out", report=said.append)
    assert len(found.scores) == 40
    assert set(found.table["proxy"]) == set(names)
    by_name = found.table.set_index("proxy")
    assert by_name.loc["params", "Spearman"] > 0.8
    assert list(found.table["Spearman"]) == sorted(found.table["Spearman"], reverse=True)
    together = list(zip(found.scores["params"], found.scores["synflow"], strict=True))
    assert found.scores["params+synflow"].tolist() == pytest.approx(find_proxy("params+synflow").combine(together))
    for name in names:
        best = found.scores[found.scores[name] == found.scores[name].max()]["accuracy"].iloc[0]
        assert by_name.loc[name, "pick [%]"] == best
        assert by_name.loc[name, "regret [%]"] == found.scores["accuracy"].max() - best
    assert {line.split(" by ")[-1] for line in said if " by " in line} == {"params", "flops", "synflow"}


def test_what_is_scored_is_not_scored_again(table: pd.DataFrame, tmp_path: Path) -> None:
    config, out = SearchConfig(batch_size=8), tmp_path / "out"
    first = correlate_proxies(config, ["params"], 30, out)
    parts: list[object] = []

    def watched(function: object, shared: object, items: object) -> object:
        parts.extend(items := list(items))  # type: ignore[call-overload]
        return spread_locally(function, shared, items)  # type: ignore[arg-type]

    again = correlate_proxies(config, ["params", "flops"], 30, out, watched)  # type: ignore[arg-type]
    assert {name for name, _ in parts} == {"flops"}  # type: ignore[misc]
    pd.testing.assert_series_equal(again.scores["params"], first.scores["params"])
    with pytest.raises(UserError, match="another configuration \\(count 30\\)"):
        correlate_proxies(config, ["params"], 31, out)


def test_all_leaves_out_what_does_not_serve(table: pd.DataFrame, tmp_path: Path) -> None:
    found = correlate_proxies(SearchConfig(batch_size=3), ["all"], 2, tmp_path / "out")
    assert "zico" in found.skipped
    assert "needs minibatches of at least 6 images" in found.skipped["zico"]
    with pytest.raises(UserError, match="needs minibatches of at least 6 images"):
        correlate_proxies(SearchConfig(batch_size=3), ["zico"], 2, tmp_path / "other")


def test_from_python(table: pd.DataFrame, tmp_path: Path) -> None:
    table = zc.correlate("params", count=5, dataset="digits", batch_size=8, out=tmp_path / "out")
    assert list(table["proxy"]) == ["params"]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"correlation.parquet", "networks.parquet", "correlation.png", "correlation.svg"} <= files


def test_refused(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no accuracies on 'svhn'; it has cifar10, cifar100, image"):
        correlate_proxies(SearchConfig(dataset="svhn"), ["nwot"], 5, tmp_path / "out")
    with pytest.raises(UserError, match="unknown proxy 'nwott'"):
        correlate_proxies(CONFIG, ["nwott"], 5, tmp_path / "out")
    with pytest.raises(UserError, match="--count must be at least 0"):
        correlate_proxies(CONFIG, ["nwot"], -1, tmp_path / "out")
    with pytest.raises(UserError, match="give --proxies"):
        correlate_proxies(CONFIG, [], 5, tmp_path / "out")


@pytest.mark.data
@pytest.mark.published
@pytest.mark.slow
def test_correlations_are_those_that_others_have_measured(tmp_path: Path) -> None:
    """Ours and published scores of the same networks, each beside their accuracies."""
    import os

    published = pd.read_parquet(Path(os.environ["ZCPT_REFERENCE"]) / "zc_proxies_nb201.parquet").set_index("arch")
    theirs = {"nwot": "nwot", "synflow": "synflow", "jacob_cov": "jacov", "zen_score": "zen", "params": "params"}
    found = correlate_proxies(CONFIG, list(theirs), 300, tmp_path)
    common = found.scores[found.scores["arch"].isin(published.index)].set_index("arch")
    assert len(common) > 100
    for name, column in theirs.items():
        ours = spearman(common[name].to_numpy(), common["accuracy"].to_numpy())
        other = published.loc[common.index, f"cifar10_{column}"].fillna(-np.inf).to_numpy()
        assert ours == pytest.approx(spearman(other, common["accuracy"].to_numpy()), abs=0.15), name
