"""The search on Ray gives the local loop's result, whoever is killed meanwhile. Every kill here is a real SIGKILL."""

import asyncio
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import psutil
import pytest
import ray
from processes import kill_when, stored

from zcpt_ray.configs import SearchConfig
from zcpt_ray.distributed.cluster import TaskResources, connect, plain_errors, task_options
from zcpt_ray.distributed.pool import CandidatePool
from zcpt_ray.distributed.search import run_search
from zcpt_ray.distributed.spread import spread_over
from zcpt_ray.errors import UserError
from zcpt_ray.search import score_tables
from zcpt_ray.search.budgets import UNLIMITED
from zcpt_ray.search.local import run_search_locally
from zcpt_ray.search.records import Proposal, SearchResult
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.run_files import read_proposals
from zcpt_ray.search.run_store import RunStore
from zcpt_ray.search.validation import Slice
from zcpt_ray.spaces import find_space

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning"),
]
JOB = Path(__file__).parents[2] / "jobs" / "nb201_search.py"
SMALL = SearchConfig(space="toy-chain-2", num_proposals=4, num_validations=25, batch_size=8)
SLOW = SearchConfig(num_proposals=3, num_validations=20, batch_size=8)


def without_times(result: SearchResult) -> SearchResult:
    return dataclasses.replace(result, seconds={}, resources={})


@cache
def locally(config: SearchConfig) -> SearchResult:
    return without_times(run_search_locally(Search.of(config)))


@pytest.mark.parametrize("cluster", [pytest.param(1, marks=pytest.mark.slow), 2], indirect=True)
def test_any_number_of_workers_gives_the_local_result(cluster: int, tmp_path: Path) -> None:
    seen = []
    result = run_search(Search.of(SMALL), tmp_path, report=seen.append)
    assert without_times(result) == locally(SMALL)
    race = dataclasses.replace(SMALL, validation="race", neighbours=2, validation_proxy="nwot+params")
    assert without_times(run_search(Search.of(race), tmp_path / "race")) == locally(race)
    assert seen[-1].proposals_done == 4
    assert seen[-1].validations_done == seen[-1].validations_total


def test_scores_of_a_proposal_under_way_are_reported(cluster: int, tmp_path: Path) -> None:
    seen = []
    config = dataclasses.replace(
        SMALL, proxy="snip", method="evolution", evaluations=600, num_proposals=1, num_validations=1
    )
    run_search(Search.of(config), tmp_path, report=seen.append)
    assert any(0 < progress.scores < 600 and not progress.proposals_done for progress in seen)
    assert seen[-1].scores == 600


SLOWER = [pytest.param(name, marks=pytest.mark.slow) for name in ("ray::_propose", "ray::_validate")]


@pytest.mark.parametrize("victim", ["ray::CandidatePool", *SLOWER])
def test_a_killed_process_costs_time_only(victim: str, cluster: int, tmp_path: Path) -> None:
    killed: list[dict[str, int]] = []
    # The pool dies when it knows something, so that there is something to lose.
    thread = kill_when(
        victim, lambda: "Pool" not in victim or any((tmp_path / "validations").glob("*.jsonl")), killed, tmp_path
    )
    result = run_search(Search.of(SLOW), tmp_path)
    thread.join(timeout=1)
    assert len(killed) == 1
    assert without_times(result) == locally(SLOW)
    after = stored(tmp_path)
    assert {path: after[path] for path in killed[0]} == killed[0]  # nothing of it was done again
    assert "Pool" not in victim or killed[0]


@pytest.mark.parametrize(
    ("victim", "known", "what"),
    [
        ("ray::_propose", "steps", "proposal"),
        pytest.param("ray::CandidatePool", "proposals", "the pool of candidates", marks=pytest.mark.slow),
        pytest.param("ray::_validate", "validations", "validation", marks=pytest.mark.slow),
    ],
)
def test_a_frozen_process_costs_time_only(
    victim: str,
    known: str,
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SIGSTOP, which no process notices: it is missed, that is said, it is killed, and its work is done again."""
    monkeypatch.setenv("ZCPT_HUNG_SECONDS", "5")
    frozen: list[dict[str, int]] = []
    ray.init("local", num_cpus=2, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    try:
        ready = lambda: any((tmp_path / known).glob("*.jsonl"))  # noqa: E731
        kill_when(victim, ready, frozen, tmp_path, by=signal.SIGSTOP)
        result = run_search(Search.of(SLOW), tmp_path)
    finally:
        ray.shutdown()
    assert len(frozen) == 1
    assert without_times(result) == locally(SLOW)
    assert re.search(rf"{what}.* has said nothing for \d+ s \(process \d+ on node \w+\): killed, it", caplog.text)


def test_a_start_that_takes_too_long_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a busy machine: Ray raises a plain Exception after 30 s."""
    starts: list[str | None] = []

    def start(address: str | None, **options: object) -> None:
        starts.append(address)
        if len(starts) < 3 or address == "local":
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", start)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # as it is when this ends
    connect("auto")
    assert starts == ["auto"] * 3
    with pytest.raises(UserError, match=r"Ray does not start on this machine, tried 3 times: .* during startup\."):
        connect("local")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "nobody answers there"),
        ("ray://127.0.0.1:1", "nobody answers there"),
        ("127.0.0.1:99999", "nobody answers there"),
        ("nonsense", "no such form"),
        ("nonsense:port", "no such form"),
        (":6379", "no such form"),
        ("http://127.0.0.1:8265", "that is the address of a dashboard, which takes jobs"),
        ("tcp://127.0.0.1:1", "no such form"),
    ],
)
def test_an_address_without_a_cluster(address: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever names it: one line, at once, with the form that is expected."""
    line = f"cannot join the Ray cluster at {re.escape(address)}{{}}: {why}.*; expected HOST:PORT, such as .* or local"
    with pytest.raises(UserError, match=line.format("") + "$"):
        connect(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=line.format(" that RAY_ADDRESS names")):
        connect()


STRANGER = """
import ray
try:
    ray.init(address="{address}", log_to_driver=False, logging_level="CRITICAL")
except (ConnectionError, RuntimeError) as error:
    print("refused:", error)
"""


@pytest.mark.slow
def test_a_stranger_does_not_get_into_a_local_run() -> None:
    """Ray that a run has started asks for a token, which another user has not; a stale address is passed over."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: sockets lie in it
    (folder / "ray").mkdir()
    (folder / "ray/ray_current_cluster").write_text("127.0.0.1:1")  # of a cluster that is gone
    start = (
        "import ray, sys; from zcpt_ray.distributed.cluster import connect; connect()\n"
        "print(ray.get_runtime_context().gcs_address, flush=True); sys.stdin.read()"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["RAY_TMPDIR"] = str(folder)
    run = subprocess.Popen(
        [sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert run.stdin
    assert run.stdout
    try:
        address = run.stdout.readline().strip()
        assert re.fullmatch(r"[\d.]+:\d+", address)
        told = subprocess.run(
            [sys.executable, "-c", STRANGER.format(address=address)],
            capture_output=True,
            text=True,
            env=environment | {"HOME": str(folder / "elsewhere")},
            timeout=200,
        )
        assert told.stdout.startswith("refused: "), told
    finally:
        run.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def processes_of(folder: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or ())]


def test_sigterm_as_ray_starts() -> None:
    """It ends as at any other time, and nothing is left running."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # short: sockets lie in it
    environment = os.environ | {"RAY_TMPDIR": str(folder)}
    command = [sys.executable, str(JOB), "--smoke", "--out", str(folder / "run")]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    while len(processes_of(folder)) < 2 and run.poll() is None:  # one of Ray's is there
        time.sleep(0.01)
    run.terminate()
    _, said = run.communicate(timeout=200)
    assert (said.splitlines()[-1], run.returncode) == ("stopped by SIGTERM", 143)
    until = time.monotonic() + 100
    while processes_of(folder) and time.monotonic() < until:
        time.sleep(0.1)
    assert processes_of(folder) == []
    shutil.rmtree(folder)


GREEDY = """
import time, torch
import zcpt_ray as zc

KEPT = []

@zc.register_proxy("greedy", batch_norm="none")
def greedy(net, batch):
    KEPT.append(torch.ones(3 << 28))
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_task_that_fills_the_memory_is_not_repeated_for_ever() -> None:
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    (folder / "greedy.py").write_text(GREEDY)
    memory = psutil.virtual_memory()
    limits = {
        "RAY_memory_usage_threshold": f"{(memory.total - memory.available + (5 << 29)) / memory.total:.4f}",
        "RAY_memory_monitor_refresh_ms": "100",
        "RAY_task_oom_retries": "1",
    }
    flags = ["--plugin", str(folder / "greedy.py"), "--proxy", "greedy", "--space", "toy-chain-1"]
    flags += ["--num-proposals", "1", "--num-validations", "1", "--batch-size", "8", "--out", str(folder / "run")]
    ended = subprocess.run(
        [sys.executable, "-m", "zcpt_ray", "search", *flags],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"RAY_TMPDIR": str(folder)} | limits,
    )
    assert ended.returncode == 2
    assert "lower --batch-size, or raise --cpus-per-task" in ended.stderr
    shutil.rmtree(folder, ignore_errors=True)


def test_what_died_is_said_in_one_line() -> None:
    """Whoever was to use what it would have given."""
    for error, said in (
        (ray.exceptions.OutOfMemoryError("too\nmuch"), "lower --batch-size, or raise --cpus-per-task"),
        (ray.exceptions.WorkerCrashedError(), "a Ray process died too often: The worker died unexpectedly"),
        (UserError("a NaN"), "^a NaN$"),
    ):
        with pytest.raises(UserError, match=said), plain_errors():
            raise ray.exceptions.RayTaskError("add", "a traceback", error)
    with pytest.raises(ray.exceptions.RayTaskError), plain_errors():
        raise ray.exceptions.RayTaskError("add", "a traceback", ValueError())


def job(out: Path) -> list[str]:
    flags = {
        "--batch-size": SLOW.batch_size,
        "--num-proposals": SLOW.num_proposals,
        "--num-validations": SLOW.num_validations,
    }
    return [sys.executable, str(JOB), "--out", str(out), *(str(part) for pair in flags.items() for part in pair)]


def test_a_killed_driver_goes_on_with_the_same_command(tmp_path: Path) -> None:
    out = tmp_path / "run"
    driver = subprocess.Popen(job(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any("validations" in path for path in stored(out)) and driver.poll() is None:
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    time.sleep(5)  # what the driver had started ends with it
    kept = stored(out)
    assert kept
    assert not (out / "result.json").exists()
    again = subprocess.run(job(out), capture_output=True, text=True)
    assert "Best: " in again.stdout, again.stderr
    after = stored(out)
    assert {path: after[path] for path in kept} == kept  # nothing of it was done again
    assert len(after) > len(kept)
    found = without_times(SearchResult.load(out))
    config = SearchConfig.from_dict(json.loads((out / "config.json").read_text()))
    assert dataclasses.replace(found, benchmark=None, num_known=None) == locally(config)


def test_a_search_that_is_there_is_not_done_again(cluster: int, tmp_path: Path) -> None:
    first = run_search(Search.of(SMALL), tmp_path)
    before = stored(tmp_path)
    assert without_times(run_search(Search.of(SMALL), tmp_path)) == without_times(first)
    assert stored(tmp_path) == before


def test_what_the_cluster_cannot_give_is_refused_at_once(cluster: int, tmp_path: Path) -> None:
    if ray.cluster_resources().get("GPU"):
        pytest.skip("this machine has a GPU")
    assert task_options(SMALL.device, TaskResources()) == {"num_cpus": 1, "num_gpus": 0}
    with pytest.raises(UserError, match="'cuda' was asked for, but the Ray cluster has no GPU"):
        run_search(Search.of(dataclasses.replace(SMALL, device="cuda")), tmp_path / "a")
    with pytest.raises(UserError, match="asks for 64 CPUs and 0 GPUs; the nodes of the cluster have 2 and 0"):
        run_search(Search.of(SMALL), tmp_path / "b", TaskResources(cpus=64))
    for wrong in ({"cpus": 0}, {"gpus": 0}, {"gpus": 1.5}):
        with pytest.raises(UserError, match="a fraction of a GPU or whole GPUs"):
            TaskResources(**wrong)


def test_a_task_that_fails_is_one_clear_error(cluster: int, tmp_path: Path) -> None:
    """A proposal on disk that names no architecture: validating it fails on a worker, and the driver says why."""
    config = dataclasses.replace(SMALL, num_proposals=1)
    (proposal,) = read_proposals(searched(config, tmp_path / "good"))
    RunStore(Search.of(config), tmp_path / "bad").add([dataclasses.replace(proposal, arch="nonsense")])
    with pytest.raises(UserError, match="not a toy-chain-2 architecture: 'nonsense'"):
        run_search(Search.of(config), tmp_path / "bad")


def searched(config: SearchConfig, directory: Path) -> Path:
    run_search_locally(Search.of(config), directory)
    return directory


@pytest.mark.gpu
def test_a_gpu_search_is_the_local_one(cluster: int, tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, device="cuda")
    assert without_times(run_search(Search.of(config), tmp_path, TaskResources(gpus=0.5))) == locally(config)


def test_calls_are_spread_and_their_errors_are_plain(cluster: int) -> None:
    def divided(dividend: float, divisor: int) -> float:
        if divisor == 0:
            raise UserError("nothing divides by 0")
        return dividend / divisor

    spread = spread_over(task_options(SMALL.device, TaskResources()))
    assert sorted(spread(divided, 12.0, [1, 2, 3])) == [(1, 12.0), (2, 6.0), (3, 4.0)]
    with pytest.raises(UserError, match="nothing divides by 0"):
        list(spread(divided, 12.0, [1, 0]))


def test_a_score_table_is_the_local_one(cluster: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """best-zc through Ray: the table is spread over the workers, proposals read it, and a worker's death costs a slice
    at most.
    """
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(score_tables, "TABLE_SLICE", 64)
    config = dataclasses.replace(
        SMALL, space="toy-chain-4", scoring="best-zc", proxy="nwot", num_validations=1, batch_size=64
    )
    killed: list[dict[str, int]] = []
    thread = kill_when("ray::_call", lambda: True, killed, tmp_path)
    result = run_search(Search.of(config), tmp_path / "run")
    thread.join()
    assert killed
    monkeypatch.setenv("ZCPT_CACHE", str(tmp_path / "other"))
    assert without_times(result) == locally(config)


def test_validation_takes_what_proposals_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four places: with as many proposals missing nothing is validated, with fewer as much as fits, at last
    everything that is left together.
    """
    config, space = dataclasses.replace(SMALL, num_proposals=6, num_validations=1), find_space(SMALL.space)
    archs = [space.encode(space.arch(index)) for index in range(6)]
    pool = CandidatePool.__ray_actor_class__(Search.of(config), str(tmp_path / "run"), {"num_cpus": 1})

    async def never(part: Slice) -> None:
        await asyncio.sleep(3600)

    async def running() -> list[int]:
        counts = []
        await pool.advance((object(), None, UNLIMITED), 4)
        for index, arch in enumerate(archs):
            await pool.add(Proposal(index, arch, (), 1, 1.0))
            counts.append(len(pool.running))
        return counts

    monkeypatch.setattr(pool, "collect", never)
    assert asyncio.run(running()) == [0, 0, 1, 2, 3, 4]
    assert sorted(arch for together, _ in pool.running for arch in together) == sorted(archs)


def test_proposals_without_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random ones take none, and a validation of no minibatch neither."""
    config, space = dataclasses.replace(SMALL, method="random", num_proposals=1), find_space(SMALL.space)
    pool = CandidatePool.__ray_actor_class__(Search.of(config), str(tmp_path / "run"), {"num_cpus": 1})
    asyncio.run(pool.add(Proposal(0, space.encode(space.arch(3)), (), 0, 1.0)))
    assert list(pool.store.proposals) == [0]
