import subprocess
import sys

from zcpt_ray.seeding import derive_seed, generator


def test_seeds_are_the_same_in_another_process() -> None:
    code = "from zcpt_ray.seeding import derive_seed; print(derive_seed(0, 'proposal', 3))"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONHASHSEED": "7"}
    ).stdout
    assert int(printed) == derive_seed(0, "proposal", 3)


def test_every_part_counts() -> None:
    seeds = {derive_seed(*parts) for parts in ((0,), (1,), (0, "a"), (0, "a", 1), ("0", "a"), (0, "a1"), ("0a", 1))}
    assert len(seeds) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_repeat() -> None:
    assert generator("x", 1).random() == generator("x", 1).random() != generator("x", 2).random()
