"""When a task counts as hung. What is done then is tested where tasks freeze."""

import pytest

from zcpt_ray.distributed import watchdog
from zcpt_ray.distributed.watchdog import Process, Watchdog, patience
from zcpt_ray.errors import UserError

ONE, OTHER = Process("a" * 40, 1), Process("b" * 40, 2)


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watchdog, "time", clock)
    return clock


def hung(dog: Watchdog) -> list[tuple[str, Process]]:
    return [(found.what, found.process) for found in dog.hung()]


def test_a_task_is_measured_by_its_peers(clock: Clock) -> None:
    dog = Watchdog(300)
    dog.heard("proposal", 0, ONE)
    dog.heard("proposal", 1, OTHER)
    dog.heard("validation", 0, ONE)
    clock.now = 10_000
    assert hung(dog) == []  # nobody knows what is long
    dog.heard("proposal", 0, ONE)
    clock.now += 99_000  # ten times 10,000 s are allowed
    assert hung(dog) == [("proposal 1", OTHER)]  # since 109,000 s
    clock.now += 2_000
    assert hung(dog) == [("proposal 0", ONE)]
    dog.ended("proposal", 0)
    clock.now += 10**6
    assert hung(dog) == [("proposal 1", OTHER)]  # twice as long the second time; a validation has no peers yet


def test_short_tasks_have_the_least_that_is_allowed(clock: Clock) -> None:
    dog = Watchdog(300)
    dog.heard("part", 0, ONE)
    clock.now = 1
    dog.ended("part", 0)
    dog.heard("part", 1, ONE)
    clock.now = 300
    assert hung(dog) == []
    clock.now = 302
    assert hung(dog) == [("part 1", ONE)]
    dog.heard("part", 1, OTHER)  # done again, after a time that says nothing of its peers
    clock.now += 599
    assert hung(dog) == []
    clock.now += 2
    assert hung(dog) == [("part 1", OTHER)]


def test_the_least_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert patience() == 300
    monkeypatch.setenv("ZCPT_HUNG_SECONDS", "1e3")
    assert patience() == 1000
    for text in ("five", "0", "-1", "nan"):
        monkeypatch.setenv("ZCPT_HUNG_SECONDS", text)
        with pytest.raises(UserError, match=f"ZCPT_HUNG_SECONDS is '{text}', but should be seconds above 0"):
            patience()
