"""How fast a network trains here, found out in a few steps."""

import time

import torch

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.precision import fast_convolutions
from zcpt_ray.training.objective import Objective
from zcpt_ray.training.optimizer import optimizer
from zcpt_ray.training.plan import TrainPlan, ready_to_train, training_device

WARM_UPS, STEPS = 2, 4


def images_per_second(plan: TrainPlan, num_classes: int, image_shape: tuple[int, ...]) -> float:
    """How many images a training of `plan` takes in a second, without what reading and testing them takes."""
    device, precision = training_device(plan.config)
    net = ready_to_train(plan.untrained(num_classes, seed=0), device, precision)
    steps, objective = optimizer(net, plan.recipe), Objective(plan.recipe)
    size = plan.recipe.batch_size
    with torch.random.fork_rng([]):
        images = torch.randn(size, *image_shape, device=device).contiguous(memory_format=torch.channels_last)
    batch = Batch(images, torch.arange(size, device=device) % num_classes)
    taken = []
    with fast_convolutions(), torch.autocast(device, torch.bfloat16, enabled=precision == torch.bfloat16):
        for _ in range(WARM_UPS + STEPS):
            started = time.perf_counter()
            objective(net, batch)[0].backward()  # type: ignore[no-untyped-call]
            steps.step()
            steps.zero_grad()
            if device != "cpu":
                torch.get_device_module(device).synchronize()
            taken.append(time.perf_counter() - started)
    return size * STEPS / sum(taken[WARM_UPS:])
