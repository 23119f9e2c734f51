"""Machines that come when they are needed: which one Ray's autoscaler starts, and what a job may count on before it is
there.
"""

import os
from typing import Any

from zcpt_ray.errors import UserError


def score(
    node_resources: dict[str, Any], resources: list[dict[str, Any]], node_type: str, *, node_availability_summary: Any
) -> tuple[Any, ...] | None:
    """How well a type of node serves the demands; greater is better.

    Whether its last start went well comes first, then Ray's own score.
    By itself Ray asks for the same type again and again. It remembers a failed start for half an hour; of equal scores
    it takes the name that comes last. None: of no use. cluster.yaml names this function in
    RAY_AUTOSCALER_UTILIZATION_SCORER.
    """
    from ray.autoscaler._private.resource_demand_scheduler import (
        _default_utilization_scorer,  # private, and for the head only
    )

    known = node_availability_summary.node_availabilities.get(node_type)
    found = _default_utilization_scorer(
        node_resources, resources, node_type, node_availability_summary=node_availability_summary
    )
    return None if found is None else (known is None or known.is_available, *found)


def nodes_to_come() -> list[dict[str, float]]:
    """Resources of a node that the autoscaler can add, from `$ZCPT_GROWS_BY`, such as "CPU=4,GPU=1"; empty where that
    is not set.

    Ray itself tells a job about nodes only that are there.

    Raises:
        UserError: the variable says something else.
    """
    said = os.environ.get("ZCPT_GROWS_BY", "")
    try:
        return [{name: float(amount) for name, amount in (part.split("=") for part in said.split(","))}] if said else []
    except ValueError:
        raise UserError(f"ZCPT_GROWS_BY is {said!r}, but should be like CPU=4,GPU=1") from None
