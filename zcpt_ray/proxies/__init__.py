"""The zero-cost proxies, by name. A new one is a file here and a row below."""

from functools import lru_cache

from zcpt_ray.errors import UserError
from zcpt_ray.proxies.aggregate import AGGREGATIONS, aggregate
from zcpt_ray.proxies.az_nas import COMPLEXITY, EXPRESSIVITY, PROGRESSIVITY, TRAINABILITY
from zcpt_ray.proxies.base import Proxy, measure_archs, score_archs
from zcpt_ray.proxies.fisher import FISHER
from zcpt_ray.proxies.flops import FLOPS
from zcpt_ray.proxies.grad_norm import GRAD_NORM
from zcpt_ray.proxies.grasp import GRASP
from zcpt_ray.proxies.jacob_cov import JACOB_COV
from zcpt_ray.proxies.l2_norm import L2_NORM
from zcpt_ray.proxies.meco import MECO, MECO_OPT
from zcpt_ray.proxies.near import NEAR
from zcpt_ray.proxies.nwot import NWOT, NWOT_RELEASED
from zcpt_ray.proxies.params import PARAMS
from zcpt_ray.proxies.snip import SNIP
from zcpt_ray.proxies.swap import SWAP
from zcpt_ray.proxies.synflow import SYNFLOW
from zcpt_ray.proxies.tenas import TENAS, TENAS_72
from zcpt_ray.proxies.vkdnw import VKDNW
from zcpt_ray.proxies.zen_score import ZEN_SCORE
from zcpt_ray.proxies.zico import ZICO
from zcpt_ray.registry import lookup, mark_own, own_content

__all__ = ["AGGREGATIONS", "PROXIES", "Proxy", "aggregate", "find_proxy", "measure_archs", "score_archs"]

AZ_NAS = aggregate(
    (EXPRESSIVITY, PROGRESSIVITY, TRAINABILITY, COMPLEXITY), name="az-nas", reference="Lee and Ham 2024 (AZ-NAS)"
)
PROXIES: dict[str, Proxy] = {
    proxy.name: proxy
    for proxy in (
        NWOT,
        NWOT_RELEASED,
        GRAD_NORM,
        SNIP,
        GRASP,
        SYNFLOW,
        FISHER,
        ZEN_SCORE,
        TENAS,
        TENAS_72,
        JACOB_COV,
        ZICO,
        NEAR,
        MECO,
        MECO_OPT,
        EXPRESSIVITY,
        PROGRESSIVITY,
        TRAINABILITY,
        COMPLEXITY,
        AZ_NAS,
        SWAP,
        VKDNW,
        L2_NORM,
        PARAMS,
        FLOPS,
    )
}


def find_proxy(name: str, aggregation: str = "log-rank") -> Proxy:
    """The proxy of that name, or several joined by +, as in nwot+synflow, whose ranks are aggregated.

    Raises:
        UserError: an unknown proxy or aggregation, or an aggregation of one proxy.
    """
    if "+" in name and name not in PROXIES:
        members = tuple(lookup(PROXIES, part.strip(), "proxy") for part in name.split("+"))
        return _aggregated(members, aggregation)
    if aggregation != "log-rank":
        raise UserError(f"aggregation {aggregation!r} is for several proxies joined by +, got {name!r}")
    return lookup(PROXIES, name, "proxy")


@lru_cache
def _aggregated(members: tuple[Proxy, ...], aggregation: str) -> Proxy:
    found = aggregate(members, aggregation)
    return mark_own(found, "proxy") if any(map(own_content, members)) else found
