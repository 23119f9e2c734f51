from pathlib import Path

import pytest
from image_files import write_image

from zcpt_ray.datasets.minibatches import ImageSet


@pytest.fixture
def animals(tmp_path: Path, images: ImageSet) -> Path:
    """20 cats and 20 dogs of 32x32 pixels, among other things."""
    folder = tmp_path / "animals"
    for index, image in enumerate(images.images):
        write_image(folder / ("cat" if index < 20 else "dog") / f"{index:02d}.png", image)
    (folder / "cat" / "notes.txt").write_text("a cat")
    (folder / ".cache").mkdir()
    (folder / "LICENSE").write_text("free")
    return folder
