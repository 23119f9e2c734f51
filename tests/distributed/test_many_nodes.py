"""A search on several nodes (raylets of one machine) gives the local result, whichever of them die or come. Real
SIGKILLs.
"""

import dataclasses
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import psutil
import pytest
import ray
from processes import stored
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zcpt_ray.configs import SearchConfig
from zcpt_ray.datasets import DATASETS, Dataset, RawImages
from zcpt_ray.distributed import search as distributed
from zcpt_ray.distributed.cluster import TaskResources, describe, task_options
from zcpt_ray.distributed.grids import GridOptions, run_grid
from zcpt_ray.distributed.search import run_search
from zcpt_ray.experiments.grids import Metrics, Trial
from zcpt_ray.identity import run_name
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.records import Progress, SearchResult
from zcpt_ray.search.resolved import Search

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
SEARCH = Path(__file__).parents[2] / "jobs" / "search.py"
CONFIG = SearchConfig(space="toy-chain-3", num_proposals=6, num_validations=40, batch_size=64)
LONGER = dataclasses.replace(CONFIG, num_proposals=30, num_validations=100)
"""Long enough for something to happen meanwhile, on a fast machine too."""
TOLD_SOON = {"metrics_report_interval_ms": 500}


@ray.remote(num_cpus=0)
def here() -> str:
    return ray.get_runtime_context().get_node_id()


def wait_until_seen(node: Any) -> None:
    """The head's scheduler hears of a new node a moment after the cluster does, and until then puts its tasks
    elsewhere.
    """
    there, until = NodeAffinitySchedulingStrategy(node.node_id, soft=True), time.monotonic() + 60
    while ray.get(here.options(scheduling_strategy=there).remote()) != node.node_id:
        assert time.monotonic() < until
        time.sleep(0.1)


class Nodes:
    """A cluster of nodes with one CPU each, the first of which is the head."""

    def __init__(self, count: int) -> None:
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": TOLD_SOON})
        self.added: list[Any] = [self.cluster.add_node(num_cpus=1) for _ in range(count - 1)]
        ray.init(address=self.cluster.address, log_to_driver=False, logging_level="ERROR")
        for node in (self.cluster.head_node, *self.added):
            wait_until_seen(node)

    def add(self) -> Any:
        self.added.append(self.cluster.add_node(num_cpus=1))
        return self.added[-1]

    def kill(self, node: Any) -> None:
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def nodes(request: pytest.FixtureRequest) -> Iterator[Nodes]:
    nodes = Nodes(request.param)
    yield nodes
    ray.shutdown()
    nodes.cluster.shutdown()


def titles(node: Any) -> dict[int, str]:
    """What the node's processes call themselves: a worker names its task."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return {child.pid: title_of(child) for child in raylet.children(recursive=True)}


def runs_on(node: Any, title: str) -> bool:
    """Whether a worker of the node runs such a task."""
    return any(title in called for called in titles(node).values())


def title_of(process: psutil.Process) -> str:
    """What the process calls itself; nothing if it has ended, be it that it still waits to be taken notice of."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def when(ready: Callable[[], bool], act: Callable[[], object], done: list[str]) -> threading.Thread:
    """Do something as soon as it is time; `done` tells that it was."""

    def watch() -> None:
        until = time.monotonic() + 300
        while time.monotonic() < until:
            try:
                if ready():
                    act()
                    done.append("done")
                    return
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@cache
def locally(config: SearchConfig) -> SearchResult:
    return run_search_locally(Search.of(config))


def assert_local(result: SearchResult, tmp_path: Path) -> None:
    """What is written is what the local loop writes, byte for byte but for the times."""
    written = []
    for name, found in (("there", result), ("here", locally(result.config))):
        (tmp_path / name).mkdir()
        dataclasses.replace(found, seconds={}, resources={}).save(tmp_path / name)
        written.append((tmp_path / name / "result.json").read_bytes())
    assert written[0] == written[1]


def test_tasks_share_a_gpu(tmp_path: Path) -> None:
    """Ray is told of a GPU; torch finds none and computes on the CPU. Places, shares and what is noted are as they
    would be.
    """
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 1})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        assert "2 tasks at a time, 1 CPU and 0.5 GPU each" in describe(task_options("auto", TaskResources(gpus=0.5)))
        free: list[float] = []
        workers: set[int] = set()

        def watch(_: Progress) -> None:
            free.append(ray.available_resources().get("GPU", 0.0))
            workers.update(pid for pid, title in titles(cluster.head_node).items() if "ray::_" in title)

        result = run_search(
            Search.of(dataclasses.replace(LONGER, num_validations=20)),
            tmp_path / "run",
            TaskResources(gpus=0.25),
            watch,
        )
        assert min(free) == 0
        assert 4 <= len(workers) < 10  # for 30 proposals and more validations: a process does many
        assert result.resources == {"CPU": 1.0, "GPU": 0.25}
        assert_local(result, tmp_path)
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.parametrize("nodes", [2, pytest.param(4, marks=pytest.mark.slow)], indirect=True)
def test_several_nodes_give_the_result_of_one(nodes: Nodes, tmp_path: Path) -> None:
    told = describe(task_options("auto", TaskResources()))
    count = len(nodes.added) + 1
    what = f"{count} nodes with {count} CPUs and 0 GPUs; {count} tasks at a time, 1 CPU each"
    assert re.fullmatch(rf"Ray at [\d.]+:\d+: {what}", told)
    assert_local(run_search(Search.of(CONFIG), tmp_path / "run"), tmp_path)


@pytest.mark.parametrize("nodes", [2], indirect=True)
@pytest.mark.slow
@pytest.mark.parametrize("task", ["ray::_propose", "ray::_validate"])
def test_a_node_that_dies_costs_time_only(task: str, nodes: Nodes, tmp_path: Path) -> None:
    (victim,) = nodes.added
    done: list[str] = []
    thread = when(lambda: runs_on(victim, task), lambda: nodes.kill(victim), done)
    result = run_search(Search.of(LONGER), tmp_path / "run")
    thread.join(timeout=1)
    assert done
    assert_local(result, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [2], indirect=True)
def test_the_pool_moves_if_its_node_dies(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its run directory is seen from every node here; what it had stored it does not ask for again."""
    (victim,) = nodes.added
    monkeypatch.setattr(distributed, "this_node", lambda: victim.node_id)
    done: list[str] = []
    kept: dict[str, int] = {}

    def kill() -> None:
        nodes.kill(victim)
        kept.update(stored(tmp_path / "run"))

    ready = lambda: runs_on(victim, "ray::CandidatePool") and any((tmp_path / "run" / "proposals").glob("*.jsonl"))  # noqa: E731
    thread = when(ready, kill, done)
    result = run_search(Search.of(LONGER), tmp_path / "run")
    thread.join(timeout=1)
    assert done
    assert kept
    assert kept.items() <= stored(tmp_path / "run").items()
    assert_local(result, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1], indirect=True)
def test_a_node_that_comes_is_used(nodes: Nodes, tmp_path: Path) -> None:
    begun: list[str] = []
    used: list[str] = []
    waiting = when(lambda: any((tmp_path / "run" / "proposals").glob("*.jsonl")), lambda: None, begun)
    with ThreadPoolExecutor(1) as pool:
        searching = pool.submit(run_search, Search.of(LONGER), tmp_path / "run")
        waiting.join()
        node = nodes.add()  # in this thread, as it takes care of signals
        watching = when(lambda: runs_on(node, "ray::_"), lambda: None, used)
        result = searching.result()
    watching.join(timeout=1)
    assert used
    assert_local(result, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1], indirect=True)
def test_the_dashboard_is_told_of_proposals_and_scores(nodes: Nodes, tmp_path: Path) -> None:
    run_search(Search.of(CONFIG), tmp_path / "run")
    (node,) = ray.nodes()
    url, expected = (
        f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics",
        "ray_zcpt_proposals_done{",
    )
    until, told = time.monotonic() + 60, ""
    while expected not in told and time.monotonic() < until:
        time.sleep(0.5)
        with urlopen(url) as answer:
            told = answer.read().decode()
    lines = [line for line in told.splitlines() if line.startswith("ray_zcpt_")]
    assert lines
    assert all(f'run="{run_name(CONFIG)}",space="toy-chain-3"' in line for line in lines)
    values = {line.split("{")[0]: float(line.split()[-1]) for line in lines}
    assert 0 < values["ray_zcpt_proposals_done"] <= CONFIG.num_proposals
    assert values["ray_zcpt_scores_total"] > 0


def steps(name: str, out: Path, emit: Callable[[Metrics], object]) -> None:
    """Thirty steps of a second, each kept in a file with where it was done."""
    place = out / name
    place.mkdir(exist_ok=True)
    for step in range(len(list(place.glob("step*"))), 30):
        time.sleep(1)
        (place / f"step{step:02d}").write_text(ray.get_runtime_context().get_node_id())
        emit({"fraction": (step + 1) / 30})


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [2], indirect=True)
def test_a_trial_goes_on_elsewhere(nodes: Nodes, tmp_path: Path) -> None:
    (victim,) = nodes.added
    done: list[str] = []

    def begun() -> bool:
        return any(path.read_text() == victim.node_id for path in tmp_path.glob("*/step02"))

    when(begun, lambda: nodes.kill(victim), done)
    outcome = run_grid([Trial(name, name, {}) for name in "ab"], steps, tmp_path, GridOptions())
    assert done
    assert outcome.failures == {}
    places = {name: [(tmp_path / name / f"step{step:02d}").read_text() for step in range(30)] for name in "ab"}
    moved = [where for where in places.values() if victim.node_id in where]
    assert [where.count(victim.node_id) >= 3 for where in moved] == [True]
    assert moved[0][-1] != victim.node_id


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [2], indirect=True)
def test_the_same_job_twice_at_once(nodes: Nodes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable,
        str(SEARCH),
        "--address",
        nodes.cluster.address,
        "--out",
        str(out),
        "--space",
        CONFIG.space,
    ]
    command += ["--num-proposals", "6", "--num-validations", "40", "--batch-size", "64"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    result = SearchResult.load(out)
    assert json.loads((out / "config.json").read_text())["space"] == CONFIG.space
    assert run_name(result.config) == run_name(CONFIG)
    assert result.candidates == locally(CONFIG).candidates
    assert not list(out.glob("**/*.tmp"))


@pytest.mark.slow
def test_images_that_the_object_store_cannot_hold_are_spilled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = (
        np.random.default_rng(0).integers(0, 256, (30_000, 3, 64, 64)).astype(np.uint8)
    )  # 369 MB, the half of which is searched
    read = lambda folder, split: RawImages(raw, np.arange(len(raw)) % 10)  # noqa: E731
    monkeypatch.setitem(DATASETS, "large", Dataset("large", 10, (0.5,) * 3, (0.25,) * 3, flip=False, read=read))
    ray.init(address="local", num_cpus=2, object_store_memory=100 << 20, log_to_driver=False, include_dashboard=False)
    try:
        config = dataclasses.replace(CONFIG, dataset="large", batch_size=4, num_proposals=2, num_validations=3)
        assert_local(run_search(Search.of(config), tmp_path / "run"), tmp_path)
    finally:
        ray.shutdown()
