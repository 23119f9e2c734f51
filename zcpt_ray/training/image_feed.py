"""The minibatches of a training: images that lie on the device, or that other processes decode meanwhile."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zcpt_ray.datasets.augmentation import (
    Draws,
    crop_and_flip,
    cut_out,
    draw_epoch,
    jitter_colours,
    normalize,
    transform,
)
from zcpt_ray.datasets.minibatches import Batch, ImageSet
from zcpt_ray.devices import DEVICES
from zcpt_ray.errors import UserError
from zcpt_ray.training.recipes import Recipe


@dataclass(frozen=True)
class WorkerPart:
    """Which of several workers that train one network together this is: each takes its part of every minibatch."""

    rank: int = 0
    world_size: int = 1

    def training_parts(self, count: int, batch_size: int) -> list[slice]:
        """This worker's part of each minibatch of an epoch over `count` images; every worker's is equally large.
        The last minibatch may be smaller. Of it, what cannot be shared out is left out, and all if that gives a worker
        one image, which batch norms do not take.
        """
        starts = range(0, count, batch_size)
        sizes = [min(batch_size, count - start) // self.world_size for start in starts]
        places = [start + self.rank * size for start, size in zip(starts, sizes, strict=True)]
        return [slice(place, place + size) for place, size in zip(places, sizes, strict=True) if size > 1]

    def test_parts(self, count: int, batch_size: int) -> list[slice]:
        """The minibatches, in order, that this worker judges."""
        return [slice(i, i + batch_size) for i in range(self.rank * batch_size, count, self.world_size * batch_size)]


class Feed:
    """Minibatches of a data set on a device, for training by a recipe or for tests.

    Images in memory are copied to the device once, as uint8. Lazy ones are decoded by `loader_workers` processes.
    """

    def __init__(self, images: ImageSet, recipe: Recipe, device: str, worker: WorkerPart, loader_workers: int) -> None:
        self.images = images
        self.recipe = recipe
        self.device = device
        self.worker = worker
        self.loader_workers = min(loader_workers, len(os.sched_getaffinity(0)))
        self.pixels = torch.tensor(images.images).to(device) if isinstance(images.images, np.ndarray) else None
        self.labels = torch.tensor(images.labels).to(device)

    def training_epoch(self, seed: int) -> Iterator[Batch]:
        """Every image once, augmented and in an order drawn from `seed`."""
        draws = draw_epoch(len(self.images), self.images.padding, self.images.flip, seed)
        parts = self.worker.training_parts(len(self.images), self.recipe.batch_size)
        on_device = draws.to(self.device)
        for part, pixels in zip(parts, self._take(draws.order, parts, draws.decoding), strict=True):
            drawn = on_device[part]
            yield Batch(self._augmented(pixels, drawn), self.labels[drawn.order])

    def test_epoch(self) -> Iterator[Batch]:
        """Every image once, in order and as it is."""
        parts = self.worker.test_parts(len(self.images), self.recipe.batch_size)
        for part, pixels in zip(parts, self._take(torch.arange(len(self.images)), parts), strict=True):
            yield Batch(normalize(pixels, self.images.mean, self.images.std), self.labels[part])

    def _take(self, order: Tensor, parts: Sequence[slice], seeds: Tensor | None = None) -> Iterator[Tensor]:
        """Images uint8 [B, C, H, W] on the device, for each part of `order`.

        Lazy ones are augmented where there are `seeds`.
        """
        if self.pixels is not None:
            order = order.to(self.device)
            yield from (self.pixels[order[part]] for part in parts)
            return
        decoding = _Decoding(
            self.images,
            [order[part].numpy() for part in parts],
            None if seeds is None else [seeds[part].tolist() for part in parts],
        )
        # With a generator of its own: otherwise a loader takes a number from torch's global random state.
        random, pin = torch.Generator().manual_seed(0), DEVICES[self.device].pins_memory
        for decoded in DataLoader(decoding, None, num_workers=self.loader_workers, pin_memory=pin, generator=random):
            if isinstance(decoded, str):
                raise UserError(decoded)
            yield decoded.to(self.device, non_blocking=True)

    def _augmented(self, pixels: Tensor, drawn: Draws) -> Tensor:
        recipe = self.recipe
        if self.pixels is not None:  # lazy images were cropped and mirrored when they were decoded
            pixels = crop_and_flip(pixels, drawn.shift, drawn.mirror, self.images.padding)
        if recipe.affine:
            pixels = transform(pixels, drawn.affine, recipe.affine)
        if recipe.jitter:
            pixels = jitter_colours(pixels, drawn.jitter, recipe.jitter)
        images = normalize(pixels, self.images.mean, self.images.std)
        return cut_out(images, drawn.cutout, recipe.cutout) if recipe.cutout else images


class _Decoding(Dataset[Tensor | str]):
    """Decodes the images of a minibatch.

    What is wrong with one comes back as text: an exception would come with a traceback.
    """

    def __init__(self, images: ImageSet, parts: list[np.ndarray], seeds: list[list[int]] | None) -> None:
        self.images = images
        self.parts = parts
        self.seeds = seeds

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Tensor | str:
        chosen = self.parts[index]
        try:
            if self.seeds is None:
                return torch.from_numpy(self.images.take(chosen))
            drawn = zip(chosen[:, None], self.seeds[index], strict=True)
            return torch.from_numpy(
                np.concatenate([self.images.take(image, np.random.default_rng(seed)) for image, seed in drawn])
            )
        except UserError as error:
            return str(error)
