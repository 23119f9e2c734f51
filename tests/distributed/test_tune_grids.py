"""Grids on Ray Tune. Every kill here is a real SIGKILL."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from zcpt_ray.cli.grid_flags import end_with_failures
from zcpt_ray.configs import SearchConfig
from zcpt_ray.distributed.cluster import TaskResources, nodes_without, refuse_node_local
from zcpt_ray.distributed.grids import GridOptions, run_grid
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.ablation import cell_directory, grid, search_and_report, shared_runs
from zcpt_ray.experiments.grids import GridProgress, Metrics, Trial, run_grid_locally
from zcpt_ray.search.records import SearchResult
from zcpt_ray.storage.paths import any_path, require_storage

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
Emit = Callable[[Metrics], object]
TRIALS = [Trial(name, name, {"letter": name}) for name in "abc"]


def count(name: str, out: Path, emit: Emit) -> None:
    """Five steps, each kept in a file; the process of `a` dies before the third, once; `b` ends in an error of the
    user's.
    """
    place = out / name
    place.mkdir(exist_ok=True)
    for step in range(len(list(place.glob("step*"))), 5):
        if name == "a" and step == 2 and not (place / "died").exists():
            (place / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "c" and step == 1 and not (place / "frozen").exists():
            (place / "frozen").touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        if name == "b" and step == 3:
            raise UserError("training diverged: loss nan")
        (place / f"step{step}").write_text(str(os.getpid()))
        emit({"fraction": (step + 1) / 5, "step": step, "top1_error": 90 if name == "c" else 10, "epoch": step + 1})


def test_a_dead_worker_a_frozen_one_and_a_trial_that_fails_stop_no_other(
    cluster: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ZCPT_HUNG_SECONDS", "3")
    seen: list[GridProgress] = []
    outcome = run_grid(TRIALS, count, tmp_path, GridOptions(), seen.append)
    assert outcome.failures == {"b": "training diverged: loss nan"}
    assert {name: outcome.metrics[name]["step"] for name in "ac"} == {"a": 4, "c": 4}
    assert "trial c has said nothing for " in caplog.text
    writers = [(tmp_path / "a" / f"step{step}").read_text() for step in range(5)]
    assert len(set(writers)) == 2  # it went on in another process,
    assert writers[0] == writers[1]  # and did not start anew
    assert (seen[-1].done, seen[-1].failed, seen[-1].running, seen[-1].fraction) == (2, 1, 0, 1)
    assert any(progress.running for progress in seen)
    assert list((tmp_path / "tune" / "a").glob("events.out.tfevents*"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/step*")}
    again = run_grid(TRIALS, count, tmp_path, GridOptions())
    assert again.failures == {**outcome.failures, "a": "it ended without a report", "c": "it ended without a report"}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/step*")} == before


def test_what_fails_is_listed_and_the_exit_code_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    end_with_failures({}, {})
    with pytest.raises(SystemExit) as ended:
        end_with_failures({"b": "loss nan"}, {"b": "seed 1"})
    assert ended.value.code == 1
    assert capsys.readouterr().err == "failed: seed 1: loss nan\n"


def slow_count(name: str, out: Path, emit: Emit) -> None:
    for epoch in range(1, 21):
        time.sleep(0.1)
        emit({"fraction": epoch / 20, "epoch": epoch, "top1_error": ord(name), "validation_error": -ord(name)})


@pytest.mark.parametrize(("judged_by", "best"), [("top1_error", "a"), ("validation_error", "d")])
@pytest.mark.parametrize("cluster", [3], indirect=True)
def test_early_stopping_ends_what_is_worse(cluster: int, tmp_path: Path, judged_by: str, best: str) -> None:
    """The others wait for the best: of trials that come to a rung each better than those before, none is stopped."""
    ahead = tmp_path / "ahead"

    def work(name: str, out: Path, emit: Emit) -> None:
        def emit_at_last(row: Metrics) -> None:
            if row["epoch"] == 20:  # of which it may not come back
                ahead.touch()
            emit(row)

        while name != best and not ahead.exists():
            time.sleep(0.05)
        slow_count(name, out, emit_at_last)

    trials = sorted([*TRIALS, Trial("d", "d", {})], key=lambda trial: trial.name != best)
    outcome = run_grid(trials, work, tmp_path / "grid", GridOptions(early_stopping=20, judged_by=judged_by))
    assert outcome.failures == {}
    assert outcome.stopped
    assert best not in outcome.stopped
    assert all(outcome.metrics[name]["epoch"] < 20 for name in outcome.stopped)


def fail_at_once(name: str, out: Path, emit: Emit) -> None:
    raise UserError(f"{name} cannot")


def test_a_trial_that_fails_under_early_stopping_stops_no_other(cluster: int, tmp_path: Path) -> None:
    def work(name: str, out: Path, emit: Emit) -> None:
        (fail_at_once if name == "b" else slow_count)(name, out, emit)

    outcome = run_grid(TRIALS, work, tmp_path, GridOptions(early_stopping=20))
    assert outcome.failures == {"b": "b cannot"}
    assert outcome.metrics["a"]["fraction"] == 1


def test_the_local_count_of_what_is_done(tmp_path: Path) -> None:
    seen: list[GridProgress] = []

    def work(name: str, out: Path, emit: Emit) -> None:
        if name == "a":
            fail_at_once(name, out, emit)
        emit({"fraction": 1.0})

    run_grid_locally(TRIALS, work, tmp_path, seen.append)
    assert [(progress.done, progress.running, progress.failed) for progress in seen] == [
        (0, 0, 1),
        (0, 1, 1),
        (1, 0, 1),
        (1, 1, 1),
        (2, 0, 1),
    ]


def test_a_grid_of_searches_is_the_local_one(cluster: int, tmp_path: Path) -> None:
    base = SearchConfig(space="toy-chain-2", batch_size=8)
    cells = grid(
        base,
        "orders",
        {"order": ("fixed", "random"), "num_proposals": (1, 3), "num_validations": (0, 5), "seed": (0, 1)},
    )
    trials = [Trial(name, members, {"order": members[0].config.order}) for name, members in shared_runs(cells).items()]
    outcomes = [
        run_grid(trials, search_and_report, any_path(f"file://{tmp_path}/ray"), GridOptions()),
        run_grid_locally(trials, search_and_report, tmp_path / "local"),
    ]
    assert outcomes[0].failures == outcomes[1].failures == {}
    for cell in cells:
        found = [SearchResult.load(cell_directory(tmp_path / place, cell)) for place in ("ray", "local")]
        assert found[0].candidates == found[1].candidates


def test_what_cannot_work_is_refused_at_once(cluster: int, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for options, out, message in (
        (GridOptions(), tmp_path / "file" / "runs", "cannot write to .*file/runs: "),
        (GridOptions(device="cuda"), tmp_path, "'cuda' was asked for, but the Ray cluster has no GPU"),
        (GridOptions(TaskResources(cpus=64)), tmp_path, "asks for 64 CPUs"),
        (GridOptions(trackers=("nonsense",)), tmp_path, "unknown tracker 'nonsense'; choose from mlflow, wandb"),
        (
            GridOptions(trackers=("wandb",)),
            tmp_path,
            r"tracker 'wandb' is not installed: \.venv/bin/pip install -e '\.\[wandb\]'",
        ),
    ):
        if "64" in message or "GPU" not in message or not ray.cluster_resources().get("GPU"):
            with pytest.raises(UserError, match=message):
                run_grid(TRIALS, count, out, options)
    with pytest.raises(UserError, match=r"MiB free, 1099511627776 MiB are needed"):
        require_storage(tmp_path, 1 << 60)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.fixture
def two_nodes() -> Iterator[None]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()
    cluster.shutdown()


def test_every_node_must_see_the_folder(two_nodes: None, tmp_path: Path) -> None:
    refuse_node_local(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert nodes_without(tmp_path) == []
    assert len(nodes_without(tmp_path / "nowhere")) == 1  # this one is not asked
