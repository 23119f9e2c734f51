"""What users bring of their own, on workers that cannot import it."""

import dataclasses
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import ray
from own_parts import tables_as_they_were, write_plugin

import zcpt_ray as zc
from zcpt_ray.cli import main as zcpt
from zcpt_ray.distributed.own_code import send_by_value
from zcpt_ray.search.records import SearchResult

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
OWN = zc.SearchConfig(
    space="toy-chain-2",
    proxy="own-proxy",
    order="own-order",
    dataset="own-data",
    batch_size=8,
    num_proposals=2,
    num_validations=2,
)


@pytest.fixture(autouse=True)
def tables() -> Iterator[None]:
    with tables_as_they_were():
        yield


@pytest.fixture(scope="module")
def workers() -> Iterator[None]:
    ray.init(address="local", num_cpus=2, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    yield
    ray.shutdown()


@ray.remote
def can_import(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def without_times(result: SearchResult) -> SearchResult:
    return dataclasses.replace(result, seconds={}, resources={})


def test_parts_registered_in_python(workers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search and a grid on Ray find what they find here, though no worker can import the module or its neighbour."""
    write_plugin(tmp_path / "here", "parts_of_python", "helper_of_python")
    monkeypatch.syspath_prepend(tmp_path / "here")
    importlib.import_module("parts_of_python")
    monkeypatch.undo()
    assert not any(ray.get([can_import.remote(name) for name in ("parts_of_python", "helper_of_python")]))
    there = zc.search(out=tmp_path / "there", progress=False, **vars(OWN))
    here = zc.search(out=tmp_path / "local", ray=False, progress=False, **vars(OWN))
    assert without_times(there.record) == without_times(here.record)
    assert there.proposals[0].decisions == here.proposals[0].decisions
    assert [d.edge for d in there.proposals[0].decisions] == ["layer1", "layer0"]  # own-order goes backwards
    changes = {"space": "toy-chain-2", "batch_size": 8, "num_validations": 1}
    axes = {"dataset": ["own-data"], "proxy": ["own-proxy", "nwot"], "order": ["own-order"], "num_proposals": [1, 2]}
    table = zc.ablation(axes={**axes, "seed": [0]}, out=tmp_path / "grid", **changes)
    assert table[["proxy", "N"]].to_numpy().tolist() == [
        ["nwot", 1],
        ["nwot", 2],
        ["own-proxy", 1],
        ["own-proxy", 2],
    ]


def test_a_plug_in_file_with_a_neighbour(workers: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = write_plugin(tmp_path / "there", "parts_of_a_file", "helper_of_a_file")
    flags = ["--plugin", str(plugin), "--dataset", "own-data", "--space", "toy-chain-2", "--batch-size", "8"]
    numbers = ["--num-proposals", "2", "--num-validations", "2"]
    own = ["--proxy", "own-proxy", "--order", "own-order"]
    assert not ray.get(can_import.remote("helper_of_a_file"))
    zcpt(["search", *flags, *numbers, *own, "--out", str(tmp_path / "run")])
    here = zc.search(out=tmp_path / "local", ray=False, progress=False, **vars(OWN))
    assert without_times(SearchResult.load(tmp_path / "run")) == without_times(here.record)
    axes = ["--orders", "own-order", "fixed", "--proxies", "own-proxy", "--proposals", "1", "--validations", "1"]
    zcpt(["ablation", *flags, *axes, "--seeds", "0", "--out", str(tmp_path / "grid")])
    assert pd.read_csv(tmp_path / "grid" / "ablation.csv")["order"].tolist() == ["fixed", "own-order"]
    assert "2 cells of 2 searches" in capsys.readouterr().out


def test_what_cannot_be_sent_is_said(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        zc.register_proxy("holds-a-file")(lambda net, batch: file.write("x"))
        with pytest.raises(
            zc.UserError, match=r"proxy 'holds-a-file' cannot be sent to Ray's workers: Cannot pickle files "
        ):
            send_by_value(zc.Search.of(zc.SearchConfig(proxy="holds-a-file")))
        send_by_value(zc.Search.of(zc.SearchConfig()))  # one that has no use for it


ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
