"""How much memory the activations of a network take, seen without memory: on the meta device."""

import weakref
from collections.abc import Collection
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from zcpt_ray.engine.inspection import device_of, eval_mode


def activation_bytes(
    net: nn.Module, image_shape: tuple[int, ...], watched: Collection[nn.Module] = ()
) -> tuple[int, dict[nn.Module, int]]:
    """What a pass of one image [C, H, W] through a network, best on the meta device, takes, in eval mode.

    The most bytes of activations that are alive at a time, the image included, as the network is written: nothing is
    fused, and no convolution has a workspace. And what each of the `watched` modules allocates.
    """
    seen, allocated = _Allocations(), dict.fromkeys(watched, 0)
    starts: dict[nn.Module, int] = {}

    def begin(module: nn.Module, _: Any) -> None:
        starts[module] = seen.allocated

    def end(module: nn.Module, _: Any, __: Any) -> None:
        allocated[module] += seen.allocated - starts[module]

    hooks = [hook for m in watched for hook in (m.register_forward_pre_hook(begin), m.register_forward_hook(end))]
    try:
        with device_of(net), torch.no_grad(), eval_mode(net), seen:
            net(torch.zeros(1, *image_shape))
    finally:
        for hook in hooks:
            hook.remove()
    return seen.most, allocated


class _Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts bytes of the tensors that are made inside, and forgets those that are gone."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive = self.most = self.allocated = 0
        self.known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {tensor.untyped_storage()._cdata for tensor in args if isinstance(tensor, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in before and storage._cdata not in self.known:  # neither a view nor in place
                    self._add(storage)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self.known[key] = size
        self.alive += size
        self.allocated += size
        self.most = max(self.most, self.alive)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.alive -= self.known.pop(key)
