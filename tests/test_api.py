"""The Python API: what the names do, and that the package can be used as its users use packages."""

import inspect
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import zcpt_ray as zc

SMALL = {"space": "toy-chain-2", "batch_size": 8, "num_proposals": 3, "num_validations": 2}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> zc.Result:
    return zc.search(out=tmp_path_factory.mktemp("api") / "run", ray=False, progress=False, **SMALL)


def test_a_result_has_tables(result: zc.Result) -> None:
    frame = result.to_frame()
    assert frame["arch"].iloc[0] == result.best.arch
    assert list(frame) == ["arch", "score", "times_proposed", "first_proposal", "params", "flops"]
    assert frame["score"].is_monotonic_decreasing
    scores = result.op_scores()
    assert list(scores) == ["proposal", "step", "edge", "op", "score", "kept"]
    assert len(scores) == 3 * 2 * 4
    assert scores.groupby(["proposal", "edge"])["kept"].sum().eq(1).all()
    best = scores.sort_values("score").groupby(["proposal", "edge"]).tail(1)
    assert best["kept"].all()
    assert result.benchmark is None
    assert repr(result) == f"Result({result.best.arch!r}, best of {len(frame)} candidates, {str(result.directory)!r})"


def test_a_result_has_figures_that_notebooks_show(result: zc.Result, tmp_path: Path) -> None:
    figure = result.figure()
    figure.save(tmp_path / "first")
    assert {path.name for path in tmp_path.iterdir()} == {
        f"first-{kind}.{ending}" for kind in ("drawing", "replay") for ending in ("png", "svg")
    }
    assert figure._repr_html_().count("<img ") == 2
    shown = result._repr_html_()
    assert shown.count("<img ") == 2
    assert "<table" in shown


def test_a_result_is_read_again(result: zc.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    again = zc.load_result(str(result.directory))
    assert again.record == result.record
    assert again.op_scores().equals(result.op_scores())
    monkeypatch.setattr("zcpt_ray.search.local.propose", None)  # nothing is searched twice
    same = zc.search(out=str(result.directory), ray=False, progress=False, **SMALL)
    assert same.record == result.record
    with pytest.raises(zc.UserError, match="no finished search in nowhere"):
        zc.load_result("nowhere")


def test_numbers_of_numpy_are_numbers(result: zc.Result, tmp_path: Path) -> None:
    numbers = {name: np.int64(value) if isinstance(value, int) else value for name, value in SMALL.items()}
    same = zc.search(out=tmp_path / "run", ray=False, progress=False, **{**numbers, "seed": np.int64(0)})
    assert same.candidates == result.candidates
    assert same.config == result.config
    for value in (3.0, np.float64(3), True, "3", None):
        with pytest.raises(zc.UserError, match="seed must be a whole number, got "):
            zc.SearchConfig(seed=value)
    assert zc.SearchConfig(max_params=np.float32(0.5)).max_params == 0.5
    with pytest.raises(zc.UserError, match="max_params must be a number, got '4'"):
        zc.SearchConfig(max_params="4")


def test_any_network_has_a_score() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    batch = zc.Batch(torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2]))
    assert zc.score(net, batch, "params") == 4 * 9 + 4 + 3 * 4 * 36 + 3
    assert np.isfinite(zc.score(net, batch))
    own = zc.Proxy("mean", (lambda net, batch: float(batch.labels.float().mean()),), "test")
    assert zc.score(net, batch, own) == 1
    with pytest.raises(zc.UserError, match="'tenas' only ranks networks against each other"):
        zc.score(net, batch, "tenas")
    with pytest.raises(zc.UserError, match="unknown proxy 'x'; choose from nwot, "):
        zc.score(net, batch, "x")


def test_architectures_are_ranked() -> None:
    archs = ["skip_connect>skip_connect", "nor_conv_3x3>nor_conv_3x3"]
    table = zc.rank(archs, space="toy-chain-2", batch_size=8, num_validations=2, proxies=["params", "nwot"])
    assert list(table) == ["name", "params", "nwot", "params [M]", "FLOPs [M]", "architecture"]
    assert table["architecture"].tolist() == archs[::-1]
    named = zc.rank({"small": archs[0]}, space="toy-chain-2", batch_size=8, num_validations=1)
    assert named["name"].tolist() == ["small"]
    with pytest.raises(zc.UserError, match="not a toy-chain-2 architecture: 'x'"):
        zc.rank(["x"], space="toy-chain-2")
    with pytest.raises(zc.UserError, match="rank needs at least one architecture and one proxy"):
        zc.rank([], space="toy-chain-2")
    with pytest.raises(zc.UserError, match="rank takes no scoring; it takes proxies, space, dataset, "):
        zc.rank(archs, scoring="tenas")


def test_one_is_as_good_as_a_list(result: zc.Result, tmp_path: Path) -> None:
    table = zc.rank(result.best.arch, proxies="params", space="toy-chain-2", batch_size=8, num_validations=1)
    assert table["architecture"].tolist() == [result.best.arch]
    assert zc.report(str(result.directory), tmp_path / "page.html").exists()


def test_bad_calls_are_told_in_one_line(tmp_path: Path) -> None:
    for call, message in (
        (lambda: zc.search(spce="toy-chain-2"), "search takes no spce; it takes space, dataset, "),
        (lambda: zc.train("x", epoch=1), "train takes no epoch; it takes arch, space, "),
        (lambda: zc.ablation(axes={"seed": 3}), "axes give several values for a field, got 3 for seed"),
        (lambda: zc.load_result(tmp_path), "no finished search in "),
        (lambda: zc.score("net", "batch"), r"needs a torch.nn.Module and a Batch\(images, labels\), got str and str"),
    ):
        with pytest.raises(zc.UserError, match=message):
            call()


def test_help_for_the_search_is_that_of_the_function() -> None:
    """Though `zcpt_ray.search` is a package as well."""
    assert list(inspect.signature(zc.search).parameters)[:2] == ["out", "ray"]
    assert (zc.search.__doc__ or "").startswith("Search a space for an architecture")


def test_what_was_found_is_trained_and_reported(result: zc.Result, tmp_path: Path) -> None:
    trained = zc.train(result, epochs=2, batch_size=16, max_images=64, recipe="nb201", out=tmp_path / "training")
    assert (trained.config.space, trained.config.dataset, trained.config.arch) == (
        "toy-chain-2",
        "digits",
        result.best.arch,
    )
    assert len(trained.history) == 2
    again = zc.train(result, epochs=2, batch_size=16, max_images=64, recipe="nb201", out=tmp_path / "training")
    assert again == trained
    assert trained.to_frame()["epoch"].tolist() == [0, 1]
    page = zc.report([result.directory, tmp_path / "training"], tmp_path / "report.html")
    assert result.best.arch.replace(">", "&gt;") in page.read_text()


def test_a_grid_in_this_process(tmp_path: Path) -> None:
    axes = {"order": ["random", "fixed"], "seed": [0]}
    table = zc.ablation(axes=axes, out=tmp_path, ray=False, **{**SMALL, "num_proposals": 1})
    assert table["order"].tolist() == ["fixed", "random"]
    assert pd.read_csv(tmp_path / "ablation.csv")["order"].tolist() == ["fixed", "random"]


def test_paths_may_be_texts_or_paths_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    smaller = {**SMALL, "num_proposals": 1, "num_validations": 0}
    found = zc.search(out="~/run", ray=False, progress=False, **smaller)
    assert (tmp_path / "run" / "result.json").exists()
    assert zc.load_result(Path("~/run")).record == found.record


def test_the_package_is_light_and_knows_its_names() -> None:
    heavy = {"torch", "ray", "pandas", "matplotlib"}
    code = f"import sys, zcpt_ray as zc; print(sorted({heavy} & set(sys.modules)), zc.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"[] {zc.__version__}\n"
    assert set(zc.__all__) <= set(dir(zc))
    for name in zc.__all__:
        assert getattr(zc, name) is not None
    with pytest.raises(AttributeError, match="module 'zcpt_ray' has no attribute 'nonsense'"):
        zc.nonsense  # noqa: B018


SCRIPT = """
    import asyncio
    import zcpt_ray.search.orders  # the package of that name is there, and can be called
    import zcpt_ray as zc

    async def main():
        result = zc.search(space="toy-chain-1", batch_size=8, num_proposals=1, num_validations=0, out="run", {more})
        print(result.best.arch)
        try:
            zc.search(proxy="nonsense", out="other", {more})
        except zc.UserError as error:
            print(error)

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("options", "more"),
    [
        pytest.param(["-O"], "ray=False", marks=pytest.mark.slow),
        pytest.param([], "address='local'", marks=[pytest.mark.cluster, pytest.mark.timeout(300)]),
    ],
)
def test_a_script_without_a_main_guard_in_a_running_event_loop(options: list[str], more: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT).format(more=more))
    command = [sys.executable, *options, "script.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *_, arch, error = done.stdout.splitlines()
    assert arch in ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3") or "Next" in arch
    assert error.startswith("unknown proxy 'nonsense'; choose from nwot, ")
