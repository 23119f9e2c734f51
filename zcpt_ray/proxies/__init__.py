"""The zero-cost proxies, by name. A new one is a file here and a row below."""

from zcpt_ray.proxies.base import Proxy, score_archs
from zcpt_ray.proxies.nwot import NWOT, NWOT_RELEASED

__all__ = ["PROXIES", "Proxy", "score_archs"]

PROXIES: dict[str, Proxy] = {proxy.name: proxy for proxy in (NWOT, NWOT_RELEASED)}
