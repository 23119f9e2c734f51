"""What a run is: frozen, checked configurations, and the presets."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from zcpt_ray.errors import UserError

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class SearchConfig:
    """One Zero-Cost-PT search (algorithm 1 of the paper).

    Raises:
        UserError: a number is out of range. Names are looked up by `search.resolve`.
    """

    space: str = "nasbench201"
    """Search space."""
    dataset: str = "digits"
    """Data set; its images give the minibatches."""
    proxy: str = "nwot-released"
    """Zero-cost proxy S that scores supernets and networks."""
    scoring: str = "zc-pt"
    """Operation scoring function: what is asked of the proxy to rate an op."""
    order: str = "random"
    """In which order edges are discretized."""
    num_proposals: int = 10
    """N: how often the whole supernet is discretized."""
    num_validations: int = 100
    """V: on how many minibatches each candidate is scored end to end; with 0 the most often proposed candidate wins."""
    batch_size: int = 256
    """Images per minibatch."""
    seed: int = 0
    """Search seed."""
    device: str = "auto"
    """cpu, cuda, or auto: a GPU if there is one."""

    def __post_init__(self) -> None:
        for name, least in (("num_proposals", 1), ("num_validations", 0), ("batch_size", 2), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise UserError(f"{name} must be at least {least}, got {value}")
        if self.device not in DEVICES:
            raise UserError(f"unknown device {self.device!r}; choose from {', '.join(DEVICES)}")


def run_id(config: SearchConfig) -> str:
    """A short digest of the configuration: the name of its run."""
    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def smoke(config: SearchConfig) -> SearchConfig:
    """The same search, shrunk to seconds on a CPU: it shows that everything runs, not what the method finds."""
    return dataclasses.replace(config, num_proposals=2, num_validations=3, batch_size=16)
