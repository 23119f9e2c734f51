"""What can be seen of a network: modes, what its modules read, which of them run, and what they cost."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

from zcpt_ray.engine.module_kinds import BATCH_NORMS, WEIGHTED

Network = TypeVar("Network", bound=nn.Module)


@contextmanager
def hooked(hooks: Iterable[RemovableHandle]) -> Iterator[None]:
    """Inside, hooks of modules are there, which are registered by now; afterwards they are removed."""
    hooks = list(hooks)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def watched_inputs(modules: Iterable[nn.Module], see: Callable[[Tensor], None]) -> AbstractContextManager[None]:
    """Inside, `see` is given what each of `modules` is called with."""
    return hooked([module.register_forward_pre_hook(lambda _, inputs: see(inputs[0])) for module in modules])


def watched_outputs(modules: Iterable[nn.Module], see: Callable[[Tensor], None]) -> AbstractContextManager[None]:
    """Inside, `see` is given each tensor that one of `modules` gives."""

    def hook(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor):
            see(output)

    return hooked([module.register_forward_hook(hook) for module in modules])


def leaves_of(net: nn.Module) -> list[nn.Module]:
    """The modules that have no children."""
    return [module for module in net.modules() if not any(True for _ in module.children())]


@contextmanager
def module_modes(net: nn.Module, training: bool) -> Iterator[None]:
    """Inside, every module of `net` is in train or in eval mode; afterwards each is as it was."""
    modes = {module: module.training for module in net.modules()}
    net.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def eval_mode(net: nn.Module) -> AbstractContextManager[None]:
    """Inside, every module of `net` is in eval mode; afterwards each is as it was."""
    return module_modes(net, training=False)


def out_of_place(net: Network) -> Network:
    """The network with no activation changing what it reads, which others may read too."""
    for module in _in_place(net):
        module.__dict__["inplace"] = False
    return net


@contextmanager
def nothing_in_place(net: nn.Module) -> Iterator[None]:
    """Inside, `out_of_place`; afterwards all is as it was."""
    changed = _in_place(net)
    out_of_place(net)
    try:
        yield
    finally:
        for module in changed:
            module.__dict__["inplace"] = True


def _in_place(net: nn.Module) -> list[nn.Module]:
    return [module for module in net.modules() if module.__dict__.get("inplace") is True]


@contextmanager
def batch_statistics(net: nn.Module) -> Iterator[None]:
    """Inside, `net` is in train mode, but its batch norms keep no statistics; afterwards all is as it was."""
    tracking = [module for module in net.modules() if isinstance(module, BATCH_NORMS) and module.track_running_stats]
    with module_modes(net, training=True):
        for module in tracking:
            module.track_running_stats = False
        try:
            yield
        finally:
            for module in tracking:
                module.track_running_stats = True


class Ran(NamedTuple):
    """A layer that ran, what it gave, and its own parameters as they were then: slices, in a narrower width."""

    layer: nn.Module
    output: Any
    parameters: tuple[Tensor, ...]

    @property
    def weight(self) -> Tensor:
        """The first of them, of a layer that is `WEIGHTED`."""
        return self.parameters[0]

    def multiply_adds(self, with_biases: bool = True) -> int:
        """Per image, of a layer that is `WEIGHTED`: each weight and each bias, once per position of the output."""
        counted = self.parameters if with_biases else self.parameters[:1]
        return positions(self) * sum(parameter.numel() for parameter in counted)


def positions(ran: Ran) -> int:
    """How often a layer's weights are used for an image: for each pixel, or each token."""
    if isinstance(ran.layer, nn.MultiheadAttention) and not ran.layer.batch_first:
        return len(ran.output)  # [T, B, C]
    convolves = isinstance(ran.layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    return math.prod(ran.output.shape[2:] if convolves else ran.output.shape[1:-1])


@contextmanager
def running_layers(net: nn.Module, kinds: tuple[type[nn.Module], ...] = WEIGHTED) -> Iterator[list[Ran]]:
    """Inside, every layer of these kinds that runs is listed: of a removed op, none does.

    Of attention there are two entries: queries, keys and values, and the projection of what comes out.
    """
    ran: list[Ran] = []

    def see(layer: nn.Module, _: object, output: Any) -> None:
        if isinstance(layer, nn.MultiheadAttention):
            ran.append(Ran(layer, output[0], own_parameters(layer)))
            ran.append(Ran(layer.out_proj, output[0], own_parameters(layer.out_proj)))
        else:
            ran.append(Ran(layer, output, own_parameters(layer)))

    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(value=False)  # it calls no hooks
    try:
        with hooked([module.register_forward_hook(see) for module in net.modules() if isinstance(module, kinds)]):
            yield ran
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def own_parameters(module: nn.Module) -> tuple[Tensor, ...]:
    """Without those of modules inside."""
    return tuple(module.parameters(recurse=False))


def layers_that_run(net: nn.Module, images: Tensor, kinds: tuple[type[nn.Module], ...] = WEIGHTED) -> list[Ran]:
    """The layers of these kinds that take part, each with its output on the first of `images`, in eval mode."""
    with eval_mode(net), torch.no_grad(), running_layers(net, kinds) as ran:
        net(images[:1])
    return ran


def weights_of(ran: Iterable[Ran]) -> list[Tensor]:
    """The weights of layers that ran, each once."""
    return list({id(each.weight): each.weight for each in ran}.values())


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts multiply-adds of products of activations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if "bmm" in name:  # [N, T, K] times [N, K, P]
            first, second = args[-2:]
            self.total += first.numel() * second.shape[-1]
        elif "scaled_dot_product" in name:  # [B, heads, T, K], [B, heads, S, K], [B, heads, S, P]
            queries, keys, values = args[:3]
            self.total += queries.shape[:-1].numel() * keys.shape[-2] * (queries.shape[-1] + values.shape[-1])
        return func(*args, **(kwargs or {}))


@contextmanager
def counted_products(net: nn.Module) -> Iterator[dict[nn.Module, int]]:
    """Inside, multiply-adds of products of activations, as in attention, by the module that takes them itself."""
    counter = _Products()
    counts, started, inner = dict.fromkeys(net.modules(), 0), dict[nn.Module, int](), [0]

    def begin(module: nn.Module, _: object) -> None:
        started[module] = counter.total
        inner.append(0)

    def end(module: nn.Module, _: object, __: object) -> None:
        whole = counter.total - started[module]
        counts[module] += whole - inner.pop()
        inner[-1] += whole

    hooks = [
        hook
        for module in net.modules()
        for hook in (module.register_forward_pre_hook(begin), module.register_forward_hook(end))
    ]
    with hooked(hooks), counter:
        yield counts


def device_of(net: nn.Module) -> torch.device:
    """Where a network's weights are; without any, the meta device."""
    return next((parameter.device for parameter in net.parameters()), torch.device("meta"))


def module_costs(
    net: nn.Module, image_shape: tuple[int, ...], with_biases: bool = True
) -> tuple[dict[nn.Module, int], dict[nn.Module, int]]:
    """Parameters and multiply-adds of each module's own, for a network best on the meta device, which has no memory.

    Both are 0 for what does not run in eval mode. `image_shape` is [C, H, W].
    """
    with (
        device_of(net),
        torch.no_grad(),
        eval_mode(net),
        counted_products(net) as products,
        running_layers(net, (nn.Module,)) as ran,
    ):
        net(torch.zeros(1, *image_shape))
    params = dict.fromkeys(net.modules(), 0)
    flops = dict(products)
    for each in ran:
        params[each.layer] = sum(parameter.numel() for parameter in each.parameters)
        if isinstance(each.layer, WEIGHTED):
            flops[each.layer] += each.multiply_adds(with_biases)
    return params, flops
