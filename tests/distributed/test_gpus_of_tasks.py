"""Which GPU a task's process sees. Ray is told of GPUs that are not there: it hands out numbers all the same."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import ray

from zcpt_ray.distributed.cluster import TaskResources, task_options
from zcpt_ray.distributed.spread import spread_over

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning"),
]


@contextmanager
def node(gpus: int) -> Iterator[None]:
    """Ray on this machine with two CPUs and so many GPUs."""
    ray.init("local", num_cpus=2, num_gpus=gpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def run_tasks(device: str) -> list[tuple[int, str]]:
    """Of four tasks, the process that ran it and the GPU it saw."""

    def seen(shared: None, item: int) -> tuple[int, str]:  # defined here, so that Ray sends it as it is
        return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES", "unset")

    options = task_options(device, TaskResources())
    return [found for _, found in spread_over(options)(seen, None, range(4))]


def test_no_process_serves_two_gpus() -> None:
    """CUDA reads which one it has at its start only."""
    with node(gpus=2):
        found = run_tasks("auto")
    assert {gpu for _, gpu in found} == {"0", "1"}
    assert len({process for process, _ in found}) == len(set(found)) == 4


def test_where_there_is_one_gpu_processes_are_kept() -> None:
    """N proposals do not pay for N starts of CUDA. A task for the CPU sees no GPU."""
    with node(gpus=1):
        on_gpu, on_cpu = run_tasks("auto"), run_tasks("cpu")
    assert {gpu for _, gpu in on_gpu} == {"0"}
    assert len({process for process, _ in on_gpu}) <= 2
    assert {gpu for _, gpu in on_cpu} == {""}


def test_a_gpu_that_ray_does_not_know_of_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with node(gpus=0):
        assert {gpu for _, gpu in run_tasks("auto")} == {""}
