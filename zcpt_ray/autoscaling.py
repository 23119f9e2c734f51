"""Which machine Ray's autoscaler starts: one that is to be had, where it would by itself ask for the same again and again.

cluster.yaml names `score` in the environment variable that Ray reads for this, RAY_AUTOSCALER_UTILIZATION_SCORER.
"""

from typing import Any

from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer


def score(
    node_resources: dict[str, Any], resources: list[dict[str, Any]], node_type: str, *, node_availability_summary: Any
) -> tuple[Any, ...] | None:
    """How well a type of node serves the demands, greater is better: Ray's own score, after whether its last start went well.

    Ray remembers a failed start for half an hour. None: of no use. Of equal scores Ray takes the name that comes last.
    """
    known = node_availability_summary.node_availabilities.get(node_type)
    found = _default_utilization_scorer(node_resources, resources, node_type, node_availability_summary=node_availability_summary)
    return None if found is None else (known is None or known.is_available, *found)
