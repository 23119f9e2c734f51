"""Street view house numbers, cropped digits (Netzer et al. 2011)."""

from pathlib import Path

import numpy as np

from zcpt_ray.datasets.base import Dataset, RawImages
from zcpt_ray.datasets.shards import read_same_size
from zcpt_ray.errors import UserError


def _read(folder: Path, split: str) -> RawImages:
    """Parquet shards below svhn/, or the original .mat file in or beside that folder."""
    name = f"{split}_32x32.mat"
    shards = sorted((folder / "svhn").rglob(f"{split}*.parquet"))
    if shards:
        return read_same_size(shards, f"the files {split}*.parquet")
    for path in (folder / "svhn" / name, folder / name):
        if path.exists():
            return _read_mat(path)
    raise UserError(
        f"no svhn data: expected svhn/{split}*.parquet or {name} under {folder}; set ZCPT_DATA to the folder that has"
        " it (the file comes from http://ufldl.stanford.edu/housenumbers), or use --dataset digits"
    )


def _read_mat(path: Path) -> RawImages:
    """X is uint8 [32, 32, 3, n], y is 1..10 [n, 1], where 10 is the digit 0."""
    from scipy.io import loadmat  # its import takes half a second, and only this data set needs it

    try:
        content = loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # a damaged file can fail in any way
        raise UserError(f"cannot read {path}: {error!r}") from error
    images, labels = (np.asarray(content.get(name)) for name in ("X", "y"))
    if (
        images.dtype != np.uint8
        or images.shape[:3] != (32, 32, 3)
        or images.ndim != 4
        or labels.dtype.kind not in "uif"
    ):
        raise UserError(
            f"{path} must hold X, uint8 [32, 32, 3, n], and y, numbers; X is {images.dtype} {list(images.shape)}, y"
            f" {labels.dtype}"
        )
    if not np.isin(labels, np.arange(1, 11)).all():
        raise UserError(f"{path}: labels {labels.min():g}..{labels.max():g}; they must be whole and lie in 1..10")
    pixels, digits = np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels.ravel().astype(np.int64) % 10
    return RawImages(pixels, digits, origin=f"the file {path.name}")


SVHN = Dataset("svhn", 10, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970), flip=False, read=_read)
