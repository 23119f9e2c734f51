"""Calls of any function as Ray tasks."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray

from zcpt_ray.distributed.cluster import as_task, calls_of_a_worker, plain_errors, set_up_worker
from zcpt_ray.distributed.own_code import send_by_value
from zcpt_ray.distributed.pool import IN_FLIGHT
from zcpt_ray.distributed.watchdog import LOOK_SECONDS, Looks, watched
from zcpt_ray.search.score_tables import Spread


def _call(function: Callable[[Any, Any], Any], shared: Any, item: Any, number: int, watchdog: Any) -> Any:
    set_up_worker()
    with watched(watchdog, "part", number):
        return function(shared, item)


def spread_over(options: dict[str, float]) -> Spread:
    """Calls of any function as tasks, each with the given Ray options; results come in the order they finish.

    Raises:
        UserError: what a call raised, or a worker that died too often.
    """

    def spread(function: Callable[[Any, Any], Any], shared: Any, items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        send_by_value()
        reference, left = ray.put(shared), list(reversed(list(enumerate(items))))
        looks = Looks()
        task = as_task(_call, calls_of_a_worker(options)).options(**options)
        running: dict[Any, Any] = {}
        with plain_errors():
            while left or running:
                while left and len(running) < IN_FLIGHT:
                    number, item = left.pop()
                    running[task.remote(function, reference, item, number, looks.watchdog)] = item
                done, _ = ray.wait(list(running), timeout=LOOK_SECONDS)
                for each in done:
                    yield running.pop(each), ray.get(each)
                looks.look()

    return spread
