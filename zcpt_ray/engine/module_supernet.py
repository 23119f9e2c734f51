"""Any network with choices inside (`engine.decisions`) as a supernet: it runs as it is written.

For ReLU codes it is cut before each choice, where `torch.fx` can trace it. What comes before the first choice then runs
once for all architectures, what comes before the second once for those that are alike in the first, and so on.
"""

import inspect
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from torch import Tensor, fx, nn

from zcpt_ray.arch import Edge
from zcpt_ray.engine.choices import Choice
from zcpt_ray.engine.decisions import DecisionModule, decided
from zcpt_ray.engine.folding import EdgeWeights, Folding, WatchedFolding
from zcpt_ray.engine.inspection import eval_mode
from zcpt_ray.engine.layers import Layer
from zcpt_ray.engine.ops import Zero
from zcpt_ray.engine.supernet import Foldings, Supernet


class ModuleSupernet(Supernet):
    """`net` maps images [B, C, H, W] to logits [B, num_classes]; its decisions, if any, are called as the edges are."""

    def __init__(
        self, edges: tuple[Edge, ...], net: nn.Module, decisions: Mapping[str, Sequence[DecisionModule]]
    ) -> None:
        nn.Module.__init__(self)  # a chain of layers with a classifier is what this is not
        self.edges = edges
        self.net = net
        self.decisions = dict(decisions)
        self.layers = _parts(self)
        self._foldings = Foldings()

    def forward(self, images: Tensor, weights: EdgeWeights | None = None) -> Tensor:
        """[B, C, H, W] -> logits [B, num_classes]."""
        with nullcontext() if weights is None else decided(self.decisions, self.by_name(weights)):
            logits: Tensor = self.net(images)
        return logits

    def by_name(self, weights: EdgeWeights) -> dict[str, Sequence[float]]:
        """The weights of each decision."""
        return {edge.name: weights[index] for index, edge in enumerate(self.edges)}

    def op_params(self) -> list[list[int]]:
        found = []
        for edge in self.edges:
            counts = [each.option_params() for each in self.decisions[edge.name]]
            found.append([sum(column) for column in zip(*counts, strict=True)])
        return found


class TracedPart(Layer):
    """Some nodes of the graph of a network; it hands on whatever later ones read, in a tuple."""

    images_apart = False  # the network may do anything with its batch

    def __init__(
        self,
        supernet: ModuleSupernet,
        nodes: Sequence[fx.Node],
        read: Sequence[str],
        given: Sequence[str],
        here: set[int],
    ) -> None:
        super().__init__()
        self.__dict__["supernet"] = supernet  # no child: its modules have one name each
        self.nodes, self.read, self.given = list(nodes), list(read), list(given)
        self.here = here

    def folding(self) -> Folding:
        return WatchedFolding(self, self.__dict__["supernet"].net)

    def forward(self, x: Any, weights: EdgeWeights) -> tuple[Any, ...]:
        values = x if isinstance(x, tuple) and len(self.read) > 1 else (x,)
        known = dict(zip(self.read, map(_own, values), strict=True))
        supernet: ModuleSupernet = self.__dict__["supernet"]
        with decided(supernet.decisions, supernet.by_name(weights)):
            for node in self.nodes:
                known[node.name] = _run(node, known, supernet.net)
        return tuple(known[name] for name in self.given)

    def key(self, weights: EdgeWeights) -> Hashable:
        return tuple(weights[index] for index in sorted(self.here))

    def candidate_ops(self) -> dict[int, list[Any]]:
        """Those of its choices among modules."""
        supernet: ModuleSupernet = self.__dict__["supernet"]
        found: dict[int, list[Any]] = {}
        for index in self.here:
            for each in supernet.decisions[supernet.edges[index].name]:
                if isinstance(each, Choice):
                    ops = [each.ops.get(option) for option in each.options]
                    found[index] = [Zero() if op is None else op for op in ops]  # an empty Sequential is false
        return found


class UntracedNet(TracedPart):
    """A whole network that `torch.fx` cannot trace."""

    def __init__(self, supernet: ModuleSupernet) -> None:
        super().__init__(supernet, (), ["images"], ["logits"], set(range(len(supernet.edges))))

    def forward(self, x: Any, weights: EdgeWeights) -> tuple[Any, ...]:
        return (self.__dict__["supernet"](_own(x), weights),)


def _parts(supernet: ModuleSupernet) -> list[Layer]:
    """The network cut before each of its decisions, or as a whole."""
    graph = _traced(supernet.net)
    if graph is None:
        return [UntracedNet(supernet)]
    nodes = [node for node in graph.nodes if node.op not in ("get_attr", "placeholder", "output")]
    starts, met = [0], set[int]()
    edges = [_decided_in(node, supernet) for node in nodes]
    for index, here in enumerate(edges):
        new = here - met  # another choice that is tied to an earlier one tells nothing apart
        if new and index:
            starts.append(index)
        met |= new
    (images,) = [node for node in graph.nodes if node.op == "placeholder"][:1]
    output = next(node for node in graph.nodes if node.op == "output")
    parts: list[Layer] = []
    read = [images.name]
    for start, end in zip(starts, [*starts[1:], len(nodes)], strict=True):
        later = {node.name for reader in (*nodes[end:], output) for node in reader.all_input_nodes}
        known = [*read, *(node.name for node in nodes[start:end])]
        given = [name for name in known if name in later]
        parts.append(TracedPart(supernet, nodes[start:end], read, given, set[int]().union(*edges[start:end])))
        read = given
    return parts


class _Tracer(fx.Tracer):
    """Goes into modules that hold decisions, and into nothing else."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, DecisionModule) or not any(isinstance(part, DecisionModule) for part in m.modules())


def _traced(net: nn.Module) -> fx.Graph | None:
    """The graph of a network's pass in eval mode; None where it depends on what it computes."""
    try:
        with eval_mode(net):
            graph = _Tracer().trace(net, _defaults(net))
    except Exception:  # what a forward does with a proxy can fail in any way
        return None
    odd = [node for node in graph.nodes if node.op == "placeholder"][1:]
    return None if odd or not any(node.op == "call_module" for node in graph.nodes) else graph


def _defaults(net: nn.Module) -> dict[str, Any]:
    _, *others = inspect.signature(net.forward).parameters.values()
    return {each.name: each.default for each in others if each.default is not inspect.Parameter.empty}


def _decided_in(node: fx.Node, supernet: ModuleSupernet) -> set[int]:
    """The edges that are decided in a node."""
    if node.op != "call_module":
        return set()
    inside = {id(part) for part in supernet.net.get_submodule(str(node.target)).modules()}
    return {
        index
        for index, edge in enumerate(supernet.edges)
        if any(id(each) in inside for each in supernet.decisions[edge.name])
    }


def _own(value: Any) -> Any:
    """A copy that may be changed in place: other architectures read the value too."""
    return value.clone() if isinstance(value, Tensor) else value


def _run(node: fx.Node, known: Mapping[str, Any], net: nn.Module) -> Any:
    def value(given: fx.Node) -> Any:
        return _attribute(net, str(given.target)) if given.op == "get_attr" else known[given.name]

    args, kwargs = fx.node.map_arg((node.args, node.kwargs), value)
    if node.op == "call_module":
        return net.get_submodule(str(node.target))(*args, **kwargs)
    if node.op == "call_method":
        this, *others = args
        return getattr(this, str(node.target))(*others, **kwargs)
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _attribute(net: nn.Module, path: str) -> Any:
    found: Any = net
    for name in path.split("."):
        found = getattr(found, name)
    return found
