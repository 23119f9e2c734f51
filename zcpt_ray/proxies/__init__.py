"""The zero-cost proxies, by name. A new one is a file here and a row below."""

from zcpt_ray.proxies.base import Proxy, measure_archs, score_archs
from zcpt_ray.proxies.fisher import FISHER
from zcpt_ray.proxies.flops import FLOPS
from zcpt_ray.proxies.grad_norm import GRAD_NORM
from zcpt_ray.proxies.grasp import GRASP
from zcpt_ray.proxies.jacob_cov import JACOB_COV
from zcpt_ray.proxies.l2_norm import L2_NORM
from zcpt_ray.proxies.nwot import NWOT, NWOT_RELEASED
from zcpt_ray.proxies.params import PARAMS
from zcpt_ray.proxies.snip import SNIP
from zcpt_ray.proxies.synflow import SYNFLOW
from zcpt_ray.proxies.tenas import TENAS, TENAS_72
from zcpt_ray.proxies.zen_score import ZEN_SCORE
from zcpt_ray.proxies.zico import ZICO

__all__ = ["PROXIES", "Proxy", "measure_archs", "score_archs"]

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
        L2_NORM,
        PARAMS,
        FLOPS,
    )
}
