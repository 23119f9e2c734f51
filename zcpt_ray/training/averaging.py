"""An exponential moving average of a network's weights: it is smoother than where the last steps have led."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class AveragedWeights:
    """The average of what a network's parameters and statistics were after each step, with a `decay` per step.

    At the start it forgets faster: step t has a decay of (1 + t) / (10 + t) at most (as in TensorFlow's).
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.values = {name: value.detach().clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Take in the network as it is now."""
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        floats = [(self.values[name], now) for name, now in net.state_dict().items() if now.is_floating_point()]
        torch._foreach_lerp_([old for old, _ in floats], [now for _, now in floats], share)
        for name, now in net.state_dict().items():
            if not now.is_floating_point():
                self.values[name].copy_(now)

    @contextmanager
    def applied(self, net: nn.Module) -> Iterator[None]:
        """Inside, the network has the average; afterwards its own weights again."""
        own = {name: value.detach().clone() for name, value in net.state_dict().items()}
        net.load_state_dict(self.values)
        try:
            yield
        finally:
            net.load_state_dict(own)

    def state(self) -> dict[str, Tensor | int]:
        """What `load` takes up."""
        return {"steps": self.steps, **{f"value {name}": value for name, value in self.values.items()}}

    def load(self, state: dict[str, Tensor | int]) -> None:
        """The inverse of `state`."""
        self.steps = int(state["steps"])
        for name, value in self.values.items():
            value.copy_(torch.as_tensor(state[f"value {name}"]))
