"""Calls of any function as Ray tasks."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray

from zcpt_ray.distributed.autoscaling import nodes_to_come
from zcpt_ray.distributed.cluster import IN_FLIGHT, as_task, calls_of_a_worker, places, plain_errors, set_up_worker
from zcpt_ray.distributed.own_code import send_by_value
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

    def spread(function: Callable[[Any, Any], Any], shared: Any, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        send_by_value()
        reference, left = ray.put(shared), enumerate(items)
        looks = Looks()
        task = as_task(_call, calls_of_a_worker(options)).options(**options)
        running: dict[Any, Any] = {}
        # No more than keep all workers busy: items are asked for when they are needed. A cluster that can grow does so
        # for tasks that wait.
        most = IN_FLIGHT if nodes_to_come() else min(IN_FLIGHT, 2 * places(options))
        with plain_errors():
            while True:
                for number, item in itertools.islice(left, most - len(running)):
                    running[task.remote(function, reference, item, number, looks.watchdog)] = item
                if not running:
                    return
                done, _ = ray.wait(list(running), timeout=LOOK_SECONDS)
                for each in done:
                    yield running.pop(each), ray.get(each)
                looks.look()

    return spread


def spread_later(find_options: Callable[[], dict[str, float]]) -> Spread:
    """As `spread_over`, with options that are asked for once it is used: this process may join a cluster for them."""
    return lambda function, shared, items: spread_over(find_options())(function, shared, items)
