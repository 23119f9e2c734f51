"""Image data sets: where they lie, how they are read, and the minibatches drawn from them."""

import io
import itertools
import os
import pickle
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from zcpt_ray.errors import UserError
from zcpt_ray.seeding import generator


@dataclass(frozen=True)
class Batch:
    """One minibatch: normalised `images` float32 [B, C, H, W] and `labels` int64 [B], on one device.

    A proxy that needs random numbers draws them from `seed`.
    """

    images: Tensor
    labels: Tensor
    seed: int = 0


@dataclass(frozen=True)
class ImageSet:
    """Raw images, uint8 [n, C, H, W], with labels int64 [n], and how to turn them into a `Batch`.

    `mean` and `std` are per channel, on a scale of 0 to 1. `flip`: mirroring keeps the label.
    """

    images: np.ndarray
    labels: np.ndarray
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """A named data set. `read(folder, split)` gives raw images and labels; folder is None where the images come with a package."""

    name: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool
    read: Callable[[Path, str], tuple[np.ndarray, np.ndarray]]

    def load(self, split: str) -> ImageSet:
        """The "train" or "test" images.

        Raises:
            UserError: the data is missing, unreadable, or has labels outside the data set's classes.
        """
        images, labels = self.read(data_directory(), split)
        if not len(images) == len(labels) > 0:
            raise UserError(f"{self.name} {split}: {len(images)} images and {len(labels)} labels; expected as many, and some")
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise UserError(
                f"{self.name} {split}: labels {labels.min()}..{labels.max()}; they must lie in 0..{self.num_classes - 1}"
            )
        return ImageSet(images, labels, self.num_classes, self.mean, self.std, self.flip)


def data_directory() -> Path:
    """`$ZCPT_DATA`, or the user's cache directory where that is unset or empty."""
    return Path(os.environ.get("ZCPT_DATA") or platformdirs.user_cache_dir("zcpt_ray"))


def cache_directory() -> Path:
    """`$ZCPT_CACHE`, or the user's cache directory: for what takes long to compute and several runs use."""
    return Path(os.environ.get("ZCPT_CACHE") or platformdirs.user_cache_dir("zcpt_ray"))


def local_device(name: str) -> str:
    """The torch device that "auto", "cpu" or "cuda" means in this process.

    Raises:
        UserError: a GPU was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device 'cuda' was asked for, but torch sees no GPU here; use --device cpu or auto")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def halves(dataset: Dataset) -> tuple[ImageSet, ImageSet]:
    """The half of the training set that a search may see, and the held-out half, for validation accuracy."""
    full = dataset.load("train")
    order = generator(dataset.name, "search half").permutation(len(full))
    parts = (np.sort(part) for part in (order[: len(full) // 2], order[len(full) // 2 :]))
    first, second = (replace(full, images=full.images[part], labels=full.labels[part]) for part in parts)
    return first, second


def draw_minibatch(data: ImageSet, batch_size: int, seed: int, device: str = "cpu") -> Batch:
    """`batch_size` different images, each padded by 4, cropped at random to its size and, where it keeps the label, flipped.

    Depends on `data`, `batch_size` and `seed` only.
    """
    random = np.random.default_rng(seed)
    chosen = random.choice(len(data), batch_size, replace=False)
    return _normalized(data, crop_and_flip(data.images[chosen], random, data.flip), data.labels[chosen], seed, device)


def epoch_of_minibatches(data: ImageSet, batch_size: int, device: str = "cpu", seed: int | None = None) -> Iterator[Batch]:
    """Every image once, augmented and in an order drawn from `seed`; without one, in order and as they are.

    With a seed the last, incomplete minibatch is left out, so that all weigh the same.
    """
    if seed is None:
        for start in range(0, len(data), batch_size):
            part = slice(start, start + batch_size)
            yield _normalized(data, data.images[part], data.labels[part], 0, device)
        return
    random = np.random.default_rng(seed)
    order = random.permutation(len(data))
    for start in range(0, len(data) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size]
        yield _normalized(data, crop_and_flip(data.images[chosen], random, data.flip), data.labels[chosen], seed, device)


def _normalized(data: ImageSet, images: np.ndarray, labels: np.ndarray, seed: int, device: str) -> Batch:
    scaled = torch.from_numpy(images).to(device).float() / 255
    mean, std = (scaled.new_tensor(values)[:, None, None] for values in (data.mean, data.std))
    return Batch((scaled - mean) / std, torch.from_numpy(labels).to(device), seed)


def crop_and_flip(images: np.ndarray, random: np.random.Generator, flip: bool, pad: int = 4) -> np.ndarray:
    """Random crops of uint8 [B, C, H, W] padded by `pad` black pixels, each image mirrored with probability 1/2 if `flip`."""
    count, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows = random.integers(0, 2 * pad + 1, (count, 1)) + np.arange(height)  # [B, H]
    columns = random.integers(0, 2 * pad + 1, (count, 1)) + np.arange(width)  # [B, W]
    if flip:
        mirrored = random.random(count) < 0.5
        columns[mirrored] = columns[mirrored, ::-1]
    cropped = padded[np.arange(count)[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # [B, H, W, C]
    return np.ascontiguousarray(cropped.transpose(0, 3, 1, 2))


def _read_digits(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels, resized to 3x32x32; every fifth one is a test image."""
    from sklearn.datasets import load_digits  # its import takes a second, and only this data set needs it

    digits = load_digits()
    test = np.arange(len(digits.target)) % 5 == 4
    chosen = test if split == "test" else ~test
    small = [Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)) for image in digits.images[chosen]]
    gray = np.stack([np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)) for image in small])
    return np.repeat(gray[:, None], 3, axis=1), digits.target[chosen].astype(np.int64)


def _cifar(name: str, archive: str, labels: str) -> Callable[[Path, str], tuple[np.ndarray, np.ndarray]]:
    """Reads parquet shards below `name/`, or the original archive beside or in that folder."""

    def read(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
        shards = sorted((folder / name).rglob(f"{split}*.parquet"))
        if shards:
            parts = [read_image_parquet(shard) for shard in shards]
            if len({images.shape[1:] for images, _ in parts}) > 1:
                raise UserError(f"the {split} shards of {name} under {folder} hold images of different sizes")
            return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])
        for path in (folder / name / archive, folder / archive):
            if path.exists():
                return _read_cifar_archive(path, split, labels)
        raise UserError(
            f"no {name} data: expected {name}/{split}*.parquet or {archive} under {folder}; set ZCPT_DATA to the folder that has "
            f"it (the archive comes from https://www.cs.toronto.edu/~kriz/cifar.html), or use --dataset digits"
        )

    return read


def read_image_parquet(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, 3, H, W] and labels int64 [n] of a parquet file with one image column and one label column.

    The image column holds encoded files, as binary or as a struct with a field `bytes`; the label column is called `label` or
    `fine_label`. Images must share one size.

    Raises:
        UserError: the file is truncated or has no such columns, an image is corrupt or of another size.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    columns = {field.name: _encoded_images(table[field.name], field.type) for field in table.schema}
    images = next((encoded for encoded in columns.values() if encoded is not None), None)
    label = next((name for name in ("label", "fine_label") if name in columns), None)
    if images is None or label is None:
        raise UserError(f"{path} needs an image column and a column label or fine_label, has {', '.join(columns)}")
    if not len(table):
        raise UserError(f"{path} has no rows")
    if not pa.types.is_integer(table[label].type) or table[label].null_count:
        raise UserError(f"{path}: column {label} must hold an integer in every row, has {table[label].type}")
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(partial(_decode, path), itertools.count(), images.to_pylist()))
    for row, image in enumerate(decoded):
        if image.shape != decoded[0].shape:
            raise UserError(f"{path}, row {row}: image of {image.shape[1:]} pixels, the first one has {decoded[0].shape[1:]}")
    return np.stack(decoded), table[label].to_numpy().astype(np.int64)


def _encoded_images(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return pa.chunked_array([chunk.field("bytes") for chunk in column.chunks], pa.binary())
    return column if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else None


def _decode(path: Path, row: int, encoded: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (OSError, TypeError, SyntaxError) as error:
        raise UserError(f"{path}, row {row}: not an image: {error}") from error


class _ArraysOnly(pickle.Unpickler):
    """Unpickles plain containers and numpy arrays, and refuses whatever else a file asks for: nothing in it is executed."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a data file")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _read_cifar_archive(path: Path, split: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    wanted = ("test_batch", "test") if split == "test" else ("data_batch_", "train")
    images, targets = [], []
    try:
        with tarfile.open(path) as archive:
            members = [m for m in archive.getmembers() if m.isfile() and Path(m.name).name.startswith(wanted)]
            for member in sorted(members, key=lambda m: m.name):
                content = archive.extractfile(member)
                assert content is not None
                batch = _ArraysOnly(content, encoding="bytes").load()
                images.append(batch[b"data"].reshape(-1, 3, 32, 32))
                targets.append(np.asarray(batch[labels.encode()], np.int64))
    except Exception as error:  # a damaged pickle can fail in any way
        raise UserError(f"cannot read {path}: {error!r}") from error
    if not images:
        raise UserError(f"cannot read {path}: no file called {' or '.join(wanted)} in it")
    return np.concatenate(images), np.concatenate(targets)


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset("digits", 10, 3 * (0.305,), 3 * (0.324,), flip=False, read=_read_digits),
        Dataset(
            "cifar10",
            10,
            (0.49139968, 0.48215827, 0.44653124),
            (0.24703233, 0.24348505, 0.26158768),
            flip=True,
            read=_cifar("cifar10", "cifar-10-python.tar.gz", "labels"),
        ),
        Dataset(
            "cifar100",
            100,
            (0.5071, 0.4865, 0.4409),
            (0.2673, 0.2564, 0.2762),
            flip=True,
            read=_cifar("cifar100", "cifar-100-python.tar.gz", "fine_labels"),
        ),
    )
}
