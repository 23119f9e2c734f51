"""Small image files and shards for the tests."""

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.io import savemat

from zcpt_ray.datasets.minibatches import ImageSet


def encoded(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path: Path, images: list[bytes], labels: list[int], label: str = "label") -> Path:
    struct = [{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(images)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"img": struct, label: labels}), path)
    return path


def name_classes(path: Path, names: list[str]) -> None:
    """Add to a shard what the Hugging Face hub notes of its classes."""
    note = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    pq.write_table(pq.read_table(path).replace_schema_metadata({"huggingface": json.dumps(note)}), path)


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.transpose(1, 2, 0)).save(path)


def smooth(index: int, width: int = 60, height: int = 50) -> np.ndarray:
    """An image of its own, uint8 [3, H, W], that JPEG keeps well.

    Red grows to the right, green downwards, blue tells it apart.
    """
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([red, green, np.full_like(red, 10 * index)]).astype(np.uint8)


def archive(path: Path, members: dict[str, object]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            data = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def write_mat(path: Path, images: ImageSet, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"X": images.images.transpose(2, 3, 1, 0), "y": labels[:, None].astype(np.uint8)})


def write_imagenet16(
    folder: Path, protocol: int = 2, labels: list[int] | None = None, dtype: type = np.uint8
) -> np.ndarray:
    """Batches of 3 images each, labelled 1, 120 and 121 if not told otherwise; all training images."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (11, 3, 3 * 16 * 16)).astype(dtype)
    for data, name in zip(
        pixels, [*(f"train_data_batch_{number}" for number in range(1, 11)), "val_data"], strict=True
    ):
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": labels or [1, 120, 121]}, protocol))
    return pixels[:10].reshape(30, 3, 16, 16)
