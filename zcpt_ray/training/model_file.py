"""A trained network in one file, `model.pt`: its weights, and all that is needed to use them.

The file holds tensors and texts only, so that reading it runs no code.
"""

import copy
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from zcpt_ray.datasets.decoding import Decoder, EncodedImage, png_of
from zcpt_ray.datasets.minibatches import ImageSet
from zcpt_ray.engine.memory import saved
from zcpt_ray.engine.timing import Latency, Pass, cpu_threads, time_in_turn
from zcpt_ray.errors import UserError
from zcpt_ray.registry import own_content
from zcpt_ray.spaces import find_space
from zcpt_ray.storage.paths import AnyPath, any_path, write_whole
from zcpt_ray.train_config import TrainConfig
from zcpt_ray.training.plan import TrainPlan, trained_network
from zcpt_ray.versions import versions

MODEL_FILE = "model.pt"
FORMAT = 1
PREDICTED_TOGETHER = 64
Picture = str | Path | Image.Image | np.ndarray
"""A file, an image of PIL, or pixels uint8 [H, W, 3], [3, H, W] or [H, W]."""


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says beside the weights.

    - `classes`: names, in the order of the logits.
    - `image_size`: pixels a side of the RGB images that the network takes; `mean` and `std` of each colour, on a scale
      of 0 to 1, by which they are normalised.
    - `kept` is the share of a side that a crop for tests keeps; how images are cropped is in `config.images`.
    - `metrics`: those of the last epoch, as `EpochMetrics`; `params` and `flops` (multiply-adds on one image).
    """

    config: TrainConfig
    classes: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    kept: float
    metrics: dict[str, Any]
    params: int
    flops: int
    versions: dict[str, str]
    own: dict[str, str]

    @property
    def decoder(self) -> Decoder:
        """How an image of any size becomes what the network was tested on."""
        return Decoder.of(self.config.images, self.image_size)


@dataclass(frozen=True)
class TrainedModel:
    """A trained network and what is needed to use it; `load_model` reads one."""

    info: ModelInfo
    network: nn.Module

    def to_module(self) -> nn.Module:
        """The network alone, in eval mode on the CPU: normalised images float32 [B, 3, S, S] -> logits [B, classes]."""
        return Logits(copy.deepcopy(self.network))

    def with_preprocessing(self) -> nn.Module:
        """The network for RGB images float32 [B, 3, S, S] on a scale of 0 to 1, which it normalises."""
        return Normalized(self.to_module(), self.info.mean, self.info.std).eval()

    def pixels(self, picture: Picture) -> np.ndarray:
        """An image as the network takes it, uint8 [3, S, S]: cropped and scaled as in its tests.

        Raises:
            UserError: it is no image, or an array of another kind.
        """
        place, content = ("the image", png_of(picture)) if not isinstance(picture, str | Path) else _read(picture)
        decoder = self.info.decoder
        if self.info.kept < 1:
            return decoder.test_square(EncodedImage(place, content))
        return decoder.square(place, content)

    def predict(self, pictures: Picture | Iterable[Picture], batch_size: int = PREDICTED_TOGETHER) -> pd.DataFrame:
        """A row for each image: `image`, the likeliest `class`, its `probability`, and `p(NAME)` of each class.

        Raises:
            UserError: one is no image.
        """
        given = [pictures] if isinstance(pictures, str | Path | Image.Image | np.ndarray) else list(pictures)
        if not given:
            raise UserError("nothing to predict: give at least one image")
        found = np.concatenate([self.probabilities(some) for some in _slices(given, batch_size)])
        table = pd.DataFrame(found, columns=[f"p({name})" for name in self.info.classes])
        names = [str(place) if isinstance(place, str | Path) else str(number) for number, place in enumerate(given)]
        table.insert(0, "image", names)
        table.insert(1, "class", [self.info.classes[index] for index in found.argmax(1)])
        table.insert(2, "probability", found.max(1))
        return table

    @torch.no_grad()
    def probabilities(self, pictures: Iterable[Picture]) -> np.ndarray:
        """float32 [n, classes]."""
        images = torch.from_numpy(np.stack([self.pixels(picture) for picture in pictures]))
        network = Normalized(Logits(self.network), self.info.mean, self.info.std).eval()  # no copy for each minibatch
        logits = network(images.float() / 255)
        return torch.softmax(logits, 1).numpy()

    @torch.no_grad()
    def latency(self, batch_size: int = 1, threads: int = 0, repeats: int = 50) -> Latency:
        """How long the network takes on this machine's CPU, for so many images at once.

        `threads` of torch's, 0 as many as it has now; a few passes before warm up and are not counted.
        """
        with cpu_threads(threads):
            return Latency.of(time_in_turn([self.one_pass(batch_size)], max(2, repeats))[:, 0].tolist())

    def one_pass(self, batch_size: int = 1) -> Pass:
        """A pass of so many images, to be timed."""
        images = torch.zeros(batch_size, len(self.info.mean), self.info.image_size, self.info.image_size)
        return lambda: self.network(images)

    def save(self, path: AnyPath) -> None:
        """Write a file that is there whole or not at all."""
        about = json.dumps(dataclasses.asdict(self.info))
        write_whole(path, saved({"zcpt_ray model": FORMAT, "about": about, "weights": self.network.state_dict()}))


class Logits(nn.Module):
    """A network that gives its logits alone, where it gives those of an auxiliary head too."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.network(images)
        logits: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
        return logits


class Normalized(nn.Module):
    """A network, and before it the normalisation of images on a scale of 0 to 1."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def trained_model(
    plan: TrainPlan, images: ImageSet, weights: dict[str, Tensor], metrics: dict[str, Any], costs: tuple[int, int]
) -> TrainedModel:
    """What a training of `plan` on `images` has given."""
    network = trained_network(plan.config, images.num_classes)
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    lazy = not isinstance(images.images, np.ndarray)
    info = ModelInfo(
        plan.config,
        images.classes or tuple(map(str, range(images.num_classes))),
        images.image_shape[-1],
        tuple(map(float, images.mean)),
        tuple(map(float, images.std)),
        0.875 if lazy else 1.0,
        metrics,
        *costs,
        versions(),
        dict(plan.own),
    )
    return TrainedModel(info, network.eval())


def load_model(path: str | AnyPath) -> TrainedModel:
    """Read the model of a training: `model.pt`, or the folder that has it.

    Raises:
        UserError: there is none, it is damaged, or its space is not known or has changed.
    """
    place = find_model(path)
    try:
        content = place.read_bytes()
    except OSError as error:
        raise UserError(f"no model at {place}: {error}") from error
    try:
        raw = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if raw["zcpt_ray model"] != FORMAT:
            raise UserError(f"{place} is of format {raw['zcpt_ray model']}, this version reads {FORMAT}")
        about, weights = json.loads(raw["about"]), raw["weights"]
        about["config"] = TrainConfig.from_dict(about["config"])
        for name in ("classes", "mean", "std"):
            about[name] = tuple(about[name])
        info = ModelInfo(**about)
    except UserError:
        raise
    except Exception as error:  # a damaged archive can fail in any way
        why = (str(error) or repr(error)).splitlines()[0]
        raise UserError(f"{place} is no model file, or a damaged one: {why}") from error
    space = find_space(info.config.space)
    if own_content(space) != info.own.get(f"space {space.name}", own_content(space)):
        raise UserError(f"the space {info.config.space} has changed since {place} was made")
    network = trained_network(info.config, len(info.classes))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{place} is damaged: {str(error).splitlines()[0]}") from error
    return TrainedModel(info, network.eval())


def find_model(path: str | AnyPath) -> AnyPath:
    """The model file that a path means: itself, that of a training's folder, or the only one of several trainings.

    Raises:
        UserError: there are several.
    """
    place = any_path(path)
    if not place.is_dir():
        return place
    if (place / MODEL_FILE).exists():
        return place / MODEL_FILE
    trials = place / "trials"
    folders: list[AnyPath] = sorted(trials.iterdir(), key=str) if trials.is_dir() else []
    found = [folder / MODEL_FILE for folder in folders if (folder / MODEL_FILE).exists()]
    if len(found) > 1:
        raise UserError(f"{place} has {len(found)} models; give one of {', '.join(map(str, found))}")
    return found[0] if found else place / MODEL_FILE


def _read(place: str | Path) -> tuple[str, bytes]:
    path = any_path(place)
    try:
        return str(path), path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _slices(items: list[Picture], size: int) -> Iterator[list[Picture]]:
    return (items[start : start + size] for start in range(0, len(items), size))
