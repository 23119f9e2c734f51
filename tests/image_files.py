"""Small image files and shards for the tests."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def encoded(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path: Path, images: list[bytes], labels: list[int], label: str = "label") -> Path:
    struct = [{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(images)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"img": struct, label: labels}), path)
    return path
