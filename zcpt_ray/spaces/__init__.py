"""The search spaces, by name. A new one is a file here and a row below."""

from zcpt_ray.spaces.base import Space
from zcpt_ray.spaces.darts import DARTS_SPACES
from zcpt_ray.spaces.nasbench1shot1 import NASBench1Shot1
from zcpt_ray.spaces.nasbench201 import NASBench201
from zcpt_ray.spaces.toy_chain import ToyChain

__all__ = ["SPACES", "Space"]

SPACES: dict[str, Space] = {
    space.name: space
    for space in (
        NASBench201(),
        *DARTS_SPACES,
        *(NASBench1Shot1(number) for number in (1, 2, 3)),
        *(ToyChain(length) for length in range(1, 9)),
    )
}
