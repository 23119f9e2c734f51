"""A network as one plain PyTorch file: its layers by name, and what it does with them, as torch.export finds it."""

import re
import sys
import textwrap
from typing import Any

import torch
from torch import Tensor

from zcpt_ray.training.model_file import TrainedModel

TEMPLATE = '''"""{title}

    python model.py photo.jpg ...      names the likeliest class of each image

Needs torch, numpy and pillow. weights.pt must lie beside this file.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn

CLASSES = {classes}
IMAGE_SIZE = {size}
MEAN, STD = {mean}, {std}  # of each colour, on a scale of 0 to 1


class Network(nn.Module):
    """RGB images float32 [B, 3, {size}, {size}] on a scale of 0 to 1 -> logits [B, {num_classes}]."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, -1, 1, 1), persistent=False)
{layers}

    def forward(self, images):
        images = (images - self.mean) / self.std
{forward}


def load_network(weights=Path(__file__).parent / "weights.pt"):
    network = Network()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


def read_image(path):
    """An image as float32 [3, {size}, {size}] on a scale of 0 to 1."""
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image).convert("RGB")
    image = {fitted}
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def main(paths):
    network = load_network()
    for path in paths:
        with torch.no_grad():
            probabilities = network(read_image(path)[None]).softmax(1)[0]
        best = int(probabilities.argmax())
        print(f"{{path}}: {{CLASSES[best]}} ({{100 * float(probabilities[best]):.1f}} %)")


if __name__ == "__main__":
    main(sys.argv[1:])
'''
ANY_NUMBER = {"images": {0: torch.export.Dim("batch", min=1)}}
"""Of images, for torch's exporters."""
FITTED = {
    "center": "ImageOps.fit(image, (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR, {bleed})",
    "squash": "image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)",
    "border": "ImageOps.pad(image, (IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR, {background!r})",
}


PLAIN = {
    "aten.relu": "torch.relu({0})",
    "aten.add.Tensor": "{0} + {1}",
    "aten.sub.Tensor": "{0} - {1}",
    "aten.mul.Tensor": "{0} * {1}",
    "aten.div.Tensor": "{0} / {1}",
    "aten.cat": "torch.cat({all})",
    "aten.flatten.using_ints": "torch.flatten({all})",
    "aten.mean.dim": "torch.mean({all})",
    "aten.sigmoid": "torch.sigmoid({0})",
    "aten.silu": "nn.functional.silu({0})",
    "aten.hardtanh": "nn.functional.hardtanh({all})",
    "aten.pad": "nn.functional.pad({all})",
    "aten.avg_pool2d": "nn.functional.avg_pool2d({all})",
    "aten.max_pool2d": "nn.functional.max_pool2d({all})",
    "aten.adaptive_avg_pool2d": "nn.functional.adaptive_avg_pool2d({all})",
    "aten.view": "{0}.reshape({1})",
    "aten.reshape": "{0}.reshape({1})",
    "aten.new_zeros": "{0}.new_zeros({1})",
    "aten.zeros_like": "torch.zeros_like({0})",
    "aten.sym_size.int": "{0}.shape[{1}]",
    "_operator.getitem": "{0}[{1}]",
}
"""How ops are written; others as `torch.ops`, which does what it says too."""
NOTHING = (
    *("aten.contiguous", "aten.clone", "aten.dropout", "aten.feature_dropout", "aten.alias", "aten.detach"),
    "aten.lift_fresh_copy",
)
"""Ops that leave values as they are, in a network that is not trained."""


def plain_file(model: TrainedModel) -> tuple[str, dict[str, Tensor]]:
    """The text of the file, and its weights by the names that they have there.

    Raises:
        Exception: torch.export cannot trace the network.
    """
    info = model.info
    images = torch.zeros(2, len(info.mean), info.image_size, info.image_size)
    program = torch.export.export(model.to_module(), (images,), dynamic_shapes=ANY_NUMBER)
    writer = _Writer(program)
    forward = writer.forward()
    text = TEMPLATE.format(
        title=textwrap.fill(
            f"A network of {info.config.space} for {info.config.dataset.rsplit('/', 1)[-1]}, test error"
            f" {info.metrics['top1_error']:.2f} %: {info.config.arch}",
            118,
            break_long_words=False,
        ),
        classes=repr(list(info.classes)),
        size=info.image_size,
        mean=info.mean,
        std=info.std,
        num_classes=len(info.classes),
        layers="\n".join(f"        {line}" for line in writer.layers.values()),
        forward="\n".join(f"        {line}" for line in forward),
        fitted=FITTED[info.config.images.crop].format(
            bleed=(1 - info.kept) / 2, background=info.config.images.background
        ),
    )
    return text, writer.weights


class _Writer:
    """Lines of Python for the nodes of an exported program: a layer where there are weights, else a call."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        signature = program.graph_signature
        self.nodes = list(program.graph.nodes)
        self.sources: dict[str, str] = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self.values: dict[str, Tensor] = {**program.state_dict, **program.constants}
        self.names: dict[str, str] = {}
        """What a node is called in the file."""
        self.layers: dict[str, str] = {}
        self.weights: dict[str, Tensor] = {}

    def forward(self) -> list[str]:
        """The body of `forward`."""
        lines = []
        for node in self.nodes:
            if node.op == "placeholder":
                if node.name not in self.sources:
                    self.names[node.name] = "images"
            elif node.op == "output":
                lines.append(f"return {self._text(node.args[0][0])}")
            elif node.users:
                expression = self._call(node)
                if expression.isidentifier():  # nothing was done
                    self.names[node.name] = expression
                else:
                    self.names[node.name] = node.name
                    lines.append(f"{node.name} = {expression}")
        return lines

    def _call(self, node: Any) -> str:
        target = str(node.target) if not callable(node.target) or hasattr(node.target, "_schema") else ""
        target = target or f"{node.target.__module__}.{node.target.__name__}"
        base = target.removesuffix(".default")
        base = base[:-1] if base.endswith("_") else base.replace("_.", ".")
        if base == "aten.conv2d":
            return self._conv(*node.args)
        if base == "aten.batch_norm":
            return self._batch_norm(*node.args)
        if base == "aten.linear":
            return self._linear(*node.args)
        given = [self._text(argument) for argument in node.args]
        named = [f"{name}={self._text(value)}" for name, value in node.kwargs.items() if value is not None]
        if base in NOTHING or (base == "aten.mul.Tensor" and node.args[1] == 1):
            return given[0]
        if base == "aten.slice.Tensor":
            return self._slice(*node.args)
        if base in PLAIN:
            return PLAIN[base].format(*given, all=", ".join(given))
        return f"torch.ops.{target}({', '.join([*given, *named])})"

    def _conv(
        self,
        x: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = (1, 1),
        padding: Any = (0, 0),
        dilation: Any = (1, 1),
        groups: int = 1,
    ) -> str:
        values = self._value(weight)
        sizes = f"{values.shape[1] * groups}, {values.shape[0]}, {_pair(values.shape[2:])}"
        options = {"stride": (_pair(stride), 1), "padding": (_pair(padding), 0), "dilation": (_pair(dilation), 1)}
        told = [f"{name}={value}" for name, (value, usual) in options.items() if value != usual]
        told += [f"groups={groups}"] * (groups > 1) + ["bias=False"] * (bias is None)
        return self._layer(f"nn.Conv2d({', '.join([sizes, *told])})", x, weight=weight, bias=bias)

    def _batch_norm(
        self, x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float, *_: Any
    ) -> str:
        told = [str(len(self._value(mean))), *([f"eps={eps}"] * (eps != 1e-5)), *(["affine=False"] * (weight is None))]
        written = f"nn.BatchNorm2d({', '.join(told)})"
        return self._layer(written, x, weight=weight, bias=bias, running_mean=mean, running_var=var)

    def _linear(self, x: Any, weight: Any, bias: Any = None) -> str:
        outputs, inputs = self._value(weight).shape
        return self._layer(
            f"nn.Linear({inputs}, {outputs}{', bias=False' * (bias is None)})", x, weight=weight, bias=bias
        )

    def _slice(self, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> str:
        first = "" if start in (None, 0) else self._text(start)
        last = "" if end is None or end == sys.maxsize else self._text(end)
        if (first, last, step) == ("", "", 1):
            return self._text(x)
        return f"{self._text(x)}[{':, ' * dim}{first}:{last}{f':{step}' * (step != 1)}]"

    def _layer(self, written: str, x: Any, **tensors: Any) -> str:
        """A call of the layer that holds these tensors; it is named as the module was that held the first of them."""
        given = {name: value for name, value in tensors.items() if value is not None}
        source = self.sources[next(iter(given.values())).name]
        name = _plain(source.rpartition(".")[0])
        while self.layers.setdefault(name, f"self.{name} = {written}") != f"self.{name} = {written}":
            name += "_"
        self.weights |= {f"{name}.{key}": self._value(value) for key, value in given.items()}
        if "running_mean" in given:
            self.weights[f"{name}.num_batches_tracked"] = torch.tensor(0)
        return f"self.{name}({self._text(x)})"

    def _value(self, node: Any) -> Tensor:
        return self.values[self.sources[node.name]].detach()

    def _text(self, argument: Any) -> str:
        if isinstance(argument, torch.fx.Node):
            if argument.name in self.names:
                return self.names[argument.name]
            name = _plain(self.sources[argument.name])  # a tensor that no layer holds
            self.weights[name] = self._value(argument)
            shape = tuple(self.weights[name].shape)
            self.layers[name] = f'self.register_buffer("{name}", torch.zeros({shape}))'
            return f"self.{name}"
        if isinstance(argument, list | tuple):
            return f"[{', '.join(map(self._text, argument))}]"
        return f"torch.{argument!r}" if isinstance(argument, torch.device) else repr(argument)


def _plain(source: str) -> str:
    name = re.sub(r"\W", "_", source.removeprefix("network."))
    return f"layer_{name}" if not name[:1].isalpha() else name


def _pair(values: Any) -> Any:
    """One number where all are equal."""
    values = tuple(map(int, values)) if not isinstance(values, str) else values
    return values[0] if len(set(values)) == 1 else values
