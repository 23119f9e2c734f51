"""When a task counts as hung. What is done then is tested where tasks freeze."""

import logging
from types import SimpleNamespace

import pytest

from zcpt_ray.distributed import watchdog
from zcpt_ray.distributed.watchdog import Process, Watchdog, patience, watched
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


def test_starts_ends_and_log_lines_are_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "this", lambda: ONE)
    monkeypatch.setattr(logging.getLogger("zcpt_ray"), "level", logging.INFO)
    said: list[tuple[object, ...]] = []
    dog = SimpleNamespace(
        heard=SimpleNamespace(remote=lambda *sign: said.append(sign)),
        ended=SimpleNamespace(remote=lambda *sign: said.append(("ended", *sign))),
    )
    line = logging.getLogger("zcpt_ray.search.supernet_trainer").info
    with watched(dog, "proposal", 3) as alive:
        assert said == [("proposal", 3, ONE)]
        line("epoch 1 of 2")
        alive()
        assert said == [("proposal", 3, ONE)] * 3
    assert said[3:] == [("ended", "proposal", 3)]
    line("of nobody")
    assert len(said) == 4


def test_the_least_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert patience() == 300
    monkeypatch.setenv("ZCPT_HUNG_SECONDS", "1e3")
    assert patience() == 1000
    for text in ("five", "0", "-1", "nan"):
        monkeypatch.setenv("ZCPT_HUNG_SECONDS", text)
        with pytest.raises(UserError, match=f"ZCPT_HUNG_SECONDS is '{text}', but should be seconds above 0"):
            patience()
