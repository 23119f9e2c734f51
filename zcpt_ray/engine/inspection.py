"""What can be seen of a network: modes, what its modules read, which of them run, and what they cost."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


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


@contextmanager
def batch_statistics(net: nn.Module) -> Iterator[None]:
    """Inside, `net` is in train mode, but its batch norms keep no statistics; afterwards all is as it was."""
    tracking = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d) and module.track_running_stats]
    with module_modes(net, training=True):
        for module in tracking:
            module.track_running_stats = False
        try:
            yield
        finally:
            for module in tracking:
                module.track_running_stats = True


@contextmanager
def running_layers(
    net: nn.Module, kinds: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.Linear)
) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """Inside, every layer of these kinds that runs is listed with its output: of a removed op, none does."""
    ran: list[tuple[nn.Module, Tensor]] = []
    layers = [module for module in net.modules() if isinstance(module, kinds)]
    with hooked(
        [layer.register_forward_hook(lambda layer, _, output: ran.append((layer, output))) for layer in layers]
    ):
        yield ran


def layers_that_run(
    net: nn.Module, images: Tensor, kinds: tuple[type[nn.Module], ...] = (nn.Conv2d, nn.Linear)
) -> list[tuple[nn.Module, Tensor]]:
    """The layers of these kinds that take part, each with its output on the first of `images`, in eval mode."""
    with eval_mode(net), torch.no_grad(), running_layers(net, kinds) as ran:
        net(images[:1])
    return ran


def weights_of(ran: Iterable[tuple[nn.Module, Tensor]]) -> list[Tensor]:
    """The weights of convolutions and linear layers that ran, each once."""
    return list({id(layer): layer.get_parameter("weight") for layer, _ in ran}.values())


def multiply_adds(layer: nn.Module, output: Tensor) -> int:
    """Multiply-adds per image of a convolution or linear layer with this output [B, ...].

    Each weight and each bias counts once per position of the output.
    """
    return sum(parameter.numel() for parameter in layer.parameters()) * output[0, 0].numel()


def module_costs(net: nn.Module, image_shape: tuple[int, ...]) -> tuple[dict[nn.Module, int], dict[nn.Module, int]]:
    """Parameters and multiply-adds of each module's own, for a network on the meta device, which has no memory.

    Both are 0 for what does not run in eval mode. `image_shape` is [C, H, W].
    """
    with torch.device("meta"), torch.no_grad(), eval_mode(net), running_layers(net, (nn.Module,)) as ran:
        net(torch.empty(1, *image_shape))
    params, flops = dict.fromkeys(net.modules(), 0), dict.fromkeys(net.modules(), 0)
    for module, output in ran:
        params[module] = sum(parameter.numel() for parameter in module.parameters(False))
        if isinstance(module, nn.Conv2d | nn.Linear):
            flops[module] = multiply_adds(module, output)
    return params, flops
