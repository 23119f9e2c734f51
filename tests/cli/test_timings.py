import os
import sys
from collections.abc import Sequence

import pytest
import torch

from zcpt_ray.arch import PartialArch
from zcpt_ray.cli import speed
from zcpt_ray.cli.timings import reference
from zcpt_ray.cli.timings.machine import ISA_VARIABLES, describe_cpu
from zcpt_ray.cli.timings.reference import Timing, compare, convolution_seconds, perturbed
from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.spaces.nasbench201 import NASBench201

SMOKE = Timing("digits", 4, "cpu", smoke=True)


class RestartedError(Exception):
    pass


def test_another_instruction_set_means_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same flags; what torch and its libraries may use is read when a process starts."""
    started: list[tuple[str, Sequence[str], dict[str, str]]] = []

    def start(*given: object) -> None:
        started.append(given)
        raise RestartedError

    monkeypatch.setattr(os, "execve", start)
    flags = ["--parts", "nasbench201", "--isa", "avx2", "--smoke"]
    with pytest.raises(RestartedError):
        speed.main(flags)
    ((program, argv, environment),) = started
    assert (program, argv) == (sys.executable, [sys.executable, "-m", "zcpt_ray", "benchmark", *flags])
    assert ISA_VARIABLES["avx2"].items() <= environment.items()
    for name, value in ISA_VARIABLES["avx2"].items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):  # no second start: it goes on, to a batch that is too small
        speed.main([*flags, "--batch-size", "8"])
    assert len(started) == 1


def test_the_machine_is_named() -> None:
    told = describe_cpu()
    assert torch.backends.cpu.get_cpu_capability() in told
    assert f"{torch.get_num_threads()} threads on {os.cpu_count()} cores" in told


@pytest.mark.parametrize("every", [1, 3])
def test_both_ways_are_compared(
    every: int, small_space: NASBench201, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    supernet, calls = small_space.supernet(10, 0), [perturbed(PartialArch.all_open(small_space.edges))]
    found = compare(SMOKE, supernet, calls, batch, every)
    assert found["ratio"] == pytest.approx(found["reference"] / found["ours"])
    assert 0 < found["convolutions"] <= 1
    ours = reference.ours
    monkeypatch.setattr(reference, "ours", lambda *given: [score + 1 for score in ours(*given)])
    with pytest.raises(AssertionError):
        compare(SMOKE, supernet, calls, batch, every)


def test_only_convolutions_count(batch: Batch) -> None:
    assert convolution_seconds(lambda: batch.images @ batch.images, batch) == 0
    kernel = torch.ones(4, 3, 3, 3)
    assert convolution_seconds(lambda: torch.conv2d(batch.images, kernel), batch) > 0
