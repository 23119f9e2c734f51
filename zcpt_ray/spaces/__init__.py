"""The search spaces, by name. A new one is a file here and a row below, or a file of a user's own."""

from zcpt_ray.errors import UserError
from zcpt_ray.spaces.accel_mbconv import AccelMBConv
from zcpt_ray.spaces.autoformer import AutoFormerTiny
from zcpt_ray.spaces.base import Space
from zcpt_ray.spaces.darts.space import DARTS_SPACES, SMALL_DARTS_SPACES
from zcpt_ray.spaces.known_networks import KNOWN_NETWORKS
from zcpt_ray.spaces.mobilenet import MobileNet, Photos, SmallPhotos
from zcpt_ray.spaces.nasbench1shot1.space import NASBench1Shot1
from zcpt_ray.spaces.nasbench101 import NASBench101
from zcpt_ray.spaces.nasbench201 import NASBench201
from zcpt_ray.spaces.nasbench_macro import NASBenchMacro
from zcpt_ray.spaces.nats_size import NATSSize
from zcpt_ray.spaces.own import load_space
from zcpt_ray.spaces.pit import Pit
from zcpt_ray.spaces.toy_chain import ToyChain
from zcpt_ray.spaces.transnas101 import TransNas101Macro, TransNas101Micro

__all__ = ["SPACES", "Space", "find_space"]

SPACES: dict[str, Space] = {
    space.name: space
    for space in (
        NASBench201(),
        NASBenchMacro(),
        MobileNet(),
        Photos(),
        SmallPhotos(),
        *DARTS_SPACES,
        *SMALL_DARTS_SPACES,
        *(NASBench1Shot1(number) for number in (1, 2, 3)),
        TransNas101Micro(),
        TransNas101Macro(),
        NASBench101(),
        NATSSize(),
        AccelMBConv(),
        AutoFormerTiny(),
        Pit(),
        *(ToyChain(length) for length in range(1, 9)),
    )
}


def find_space(name: str) -> Space:
    """The space called `name`, or the one in a Python file of that name; a known network is a space of one.

    Raises:
        UserError: no such space, or a file that does not hold one that keeps the contract.
    """
    if name not in SPACES and name.endswith(".py"):
        return load_space(name)
    if name in KNOWN_NETWORKS:
        return KNOWN_NETWORKS[name]
    if name not in SPACES:
        raise UserError(
            f"unknown space {name!r}; choose from {', '.join(SPACES)}, or give a Python file that holds one"
        )
    return SPACES[name]
