"""What training does to images, on tensors: the same on every device, for a whole minibatch at once.

Every random number of an epoch is drawn first (`draw_epoch`). So what an image becomes depends on its place in the
epoch, not on how the epoch is cut into minibatches and these are divided among workers.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a pixel."""


@dataclass(frozen=True)
class Draws:
    """Random numbers for n images, in the order in which an epoch visits them.

    - `order`, int64 [n]: the images.
    - `shift`, int64 [n, 2]: row and column at which crops start in the padded image.
    - `mirror`, bool [n]: which images are mirrored.
    - `cutout`, float [n, 2]: centre of the blanked square, in [0, 1).
    - `jitter`, float [n, 3]: how brightness, contrast and saturation change, in [-1, 1).
    - `decoding`, int64 [n]: seeds for images that are decoded when wanted.
    - `affine`, float [n, 5]: how images are turned, scaled, moved (rows, columns) and sheared, in [-1, 1).
    """

    order: Tensor
    shift: Tensor
    mirror: Tensor
    cutout: Tensor
    jitter: Tensor
    decoding: Tensor
    affine: Tensor

    def __getitem__(self, part: slice) -> "Draws":
        return Draws(*(tensor[part] for tensor in vars(self).values()))

    def to(self, device: str) -> "Draws":
        """The same on a device."""
        return Draws(*(tensor.to(device, non_blocking=True) for tensor in vars(self).values()))


def draw_epoch(count: int, padding: int, flip: bool, seed: int) -> Draws:
    """The random numbers of an epoch over `count` images; equal seeds give equal ones, whatever the device."""
    random = torch.Generator().manual_seed(seed)
    mirror = torch.rand(count, generator=random) < 0.5
    return Draws(
        order=torch.randperm(count, generator=random),
        shift=torch.randint(2 * padding + 1, (count, 2), generator=random),
        mirror=mirror & flip,
        cutout=torch.rand(count, 2, generator=random),
        jitter=2 * torch.rand(count, 3, generator=random) - 1,
        decoding=torch.randint(2**63 - 1, (count,), generator=random),
        affine=2 * torch.rand(count, 5, generator=random) - 1,
    )


def crop_and_flip(images: Tensor, shift: Tensor, mirror: Tensor, padding: int) -> Tensor:
    """Crop images [B, C, H, W] that are padded by `padding` zeros, and mirror some.

    A crop starts at `shift` [B, 2], counted in the padded image. It is mirrored where `mirror` [B] says so.
    """
    height, width = images.shape[2:]
    windows = F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)  # [B, C, rows, columns, H, W]
    images = windows[torch.arange(len(images), device=images.device), :, shift[:, 0], shift[:, 1]]
    return torch.where(mirror[:, None, None, None], images.flip(3), images)


def normalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turn levels of 0 to 255, [B, C, H, W], into float32 with mean 0 and deviation 1, in channels_last order.

    `mean` and `std` are those of the data set, on a scale of 0 to 1.
    """
    shift, scale = (torch.tensor(values, device=images.device)[:, None, None] for values in (mean, std))
    return (images.contiguous(memory_format=torch.channels_last) * (1 / (255 * scale))).sub_(shift / scale)


def transform(images: Tensor, change: Tensor, strength: float) -> Tensor:
    """Turn, scale, move and shear uint8 [B, C, H, W], each by `strength` * `change` [B, 5] as `Draws.affine` says.

    The strength is the share of 45 degrees, of the size and of the side. What comes from outside is the nearest pixel.
    """
    turn, scale, down, right, shear = (strength * change).unbind(1)
    angle, size = turn * math.pi / 4, 1 + scale
    cos, sin = angle.cos() * size, angle.sin() * size
    theta = torch.stack([cos, -sin + shear, 2 * right, sin, cos, 2 * down], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def cut_out(images: Tensor, centre: Tensor, size: int) -> Tensor:
    """Set a square of `size` pixels around `centre` [B, 2] to 0, in place; it may reach beyond the image."""
    inside = []
    for dim in (0, 1):
        length = images.shape[2 + dim]
        start = (centre[:, dim] * length).long() - size // 2  # [B]
        places = torch.arange(length, device=images.device) - start[:, None]  # [B, length]
        inside.append((places >= 0) & (places < size))
    return images.masked_fill_((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0)


def jitter_colours(images: Tensor, change: Tensor, strength: float) -> Tensor:
    """Change brightness, contrast and saturation of uint8 [B, 3, H, W], one after another.

    Each is scaled by 1 + strength * `change`, where `change` is [B, 3] and has a column for each of the three.
    Contrast is the distance to the image's mean brightness, saturation that to each pixel's.
    """
    factors = (1 + strength * change)[:, :, None, None, None]  # [B, 3, 1, 1, 1]
    luma = change.new_tensor(LUMA)[:, None, None]
    pixels = (images * factors[:, 0]).clamp_(0, 255)
    grey = (pixels * luma).sum((1, 2, 3), keepdim=True) / pixels[0, 0].numel()
    pixels = torch.lerp(grey.expand_as(pixels), pixels, factors[:, 1]).clamp_(0, 255)
    grey = (pixels * luma).sum(1, keepdim=True)
    return torch.lerp(grey.expand_as(pixels), pixels, factors[:, 2]).clamp_(0, 255)
