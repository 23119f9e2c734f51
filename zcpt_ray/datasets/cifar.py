"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009)."""

import tarfile
from functools import partial
from pathlib import Path

import numpy as np

from zcpt_ray.datasets.base import Dataset, RawImages
from zcpt_ray.datasets.pickles import read_batch
from zcpt_ray.datasets.shards import read_same_size
from zcpt_ray.errors import UserError

CIFAR10_BATCHES = 5
"""Files with training images in its archive."""
LARGEST_BATCH = 512 << 20
"""Bytes of such a file, at most: CIFAR-100's has 148 MiB, and a small archive can hold any number of zeros."""


def _read(name: str, archive: str, labels: str, folder: Path, split: str) -> RawImages:
    """Read parquet shards below `name/`, or the original archive beside or in that folder."""
    shards = sorted((folder / name).rglob(f"{split}*.parquet"))
    if shards:
        return read_same_size(shards, f"the files {split}*.parquet")
    for path in (folder / name / archive, folder / archive):
        if path.exists():
            return _read_archive(path, split, labels)
    raise UserError(
        f"no {name} data: expected {name}/{split}*.parquet or {archive} under {folder}; set ZCPT_DATA to the folder"
        " that has it (the archive comes from https://www.cs.toronto.edu/~kriz/cifar.html), or use --dataset digits"
    )


def _read_archive(path: Path, split: str, labels: str) -> RawImages:
    wanted = ("test_batch", "test") if split == "test" else ("data_batch_", "train")
    images, targets = [], []
    try:
        with tarfile.open(path) as archive:
            members = [m for m in archive.getmembers() if m.isfile() and Path(m.name).name.startswith(wanted)]
            for member in sorted(members, key=lambda m: m.name):
                if member.size > LARGEST_BATCH:
                    raise ValueError(f"{member.name} has {member.size >> 20} MiB, {LARGEST_BATCH >> 20} are possible")
                content = archive.extractfile(member)
                assert content is not None
                batch = read_batch(content)
                images.append(batch["data"].reshape(-1, 3, 32, 32))
                targets.append(np.asarray(batch[labels], np.int64))
    except Exception as error:  # a damaged pickle can fail in any way
        raise UserError(f"cannot read {path}: {error!r}") from error
    if not images:
        raise UserError(f"cannot read {path}: no file called {' or '.join(wanted)} in it")
    origin = f"the {'test' if split == 'test' else 'training'} batches of {path.name}"
    notes: tuple[str, ...] = ()
    if "data_batch_" in wanted and labels == "labels" and len(images) != CIFAR10_BATCHES:
        notes = (f"{path.name} holds {len(images)} of {CIFAR10_BATCHES} training batches",)
    return RawImages(np.concatenate(images), np.concatenate(targets), origin=origin, notes=notes)


CIFAR10 = Dataset(
    "cifar10",
    10,
    (0.49139968, 0.48215827, 0.44653124),
    (0.24703233, 0.24348505, 0.26158768),
    flip=True,
    read=partial(_read, "cifar10", "cifar-10-python.tar.gz", "labels"),
)
CIFAR100 = Dataset(
    "cifar100",
    100,
    (0.5071, 0.4865, 0.4409),
    (0.2673, 0.2564, 0.2762),
    flip=True,
    read=partial(_read, "cifar100", "cifar-100-python.tar.gz", "fine_labels"),
)
