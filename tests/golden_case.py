"""Golden files: what authors' released code gave on weights and images that a rule makes."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from zcpt_ray.datasets.minibatches import Batch
from zcpt_ray.engine.supernet import Supernet

FOLDER = Path(os.environ.get("ZCPT_GOLDEN") or Path(__file__).parent / "golden")


class Case:
    """One golden file with the rule that its weights and images follow, on a device."""

    def __init__(self, path: Path, device: str) -> None:
        self.values, self.device = json.loads(path.read_text()), device
        count = self.values["batch_size"]
        images = self.normal("images", (count, 3, 32, 32))
        labels = torch.from_numpy(self.random("labels").randint(0, 10, count))
        self.batch = Batch(images.to(device), labels.to(device))

    def random(self, name: str) -> np.random.RandomState:
        return np.random.RandomState(zlib.crc32((self.values["salt"] + name).encode()))

    def normal(self, name: str, shape: tuple[int, ...], scale: float = 1.0) -> torch.Tensor:
        return torch.from_numpy((self.random(name).standard_normal(shape) * scale).astype(np.float32))

    def fill(self, net: Supernet) -> Supernet:
        for name, module in net.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                shape = tuple(module.weight.shape)
                module.weight.data = self.normal(name, shape, np.sqrt(2 / np.prod(shape[1:])))
                if module.bias is not None:
                    module.bias.data.zero_()
        return net.to(self.device)
