import numpy as np
import torch

from zcpt_ray.datasets import minibatches
from zcpt_ray.datasets.augmentation import crop_and_flip, cut_out, draw_epoch, jitter_colours, normalize
from zcpt_ray.datasets.minibatches import ImageSet


def test_a_crop_is_a_part_of_the_padded_image() -> None:
    image = torch.arange(16).reshape(1, 1, 4, 4).to(torch.uint8)
    corner = crop_and_flip(image, torch.tensor([[0, 3]]), torch.tensor([False]), padding=2)
    assert corner[0, 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 2, 3, 0], [5, 6, 7, 0]]
    mirrored = crop_and_flip(image, torch.tensor([[2, 2]]), torch.tensor([True]), padding=2)
    assert torch.equal(mirrored, image.flip(3))


def test_search_and_training_crop_alike() -> None:
    """What a search's minibatches are, on which its results depend, written another way."""
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 10)).astype(np.uint8)
    cropped = minibatches.crop_and_flip_at_random(torch.from_numpy(images), np.random.default_rng(1), flip=True, pad=2)
    random = np.random.default_rng(1)
    rows, columns, mirrored = random.integers(0, 5, 6), random.integers(0, 5, 6), random.random(6) < 0.5
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    for image, row, column, mirror, found in zip(padded, rows, columns, mirrored, cropped, strict=True):
        expected = image[:, row : row + 8, column : column + 10]
        assert np.array_equal(found, expected[:, :, ::-1] if mirror else expected)


def test_an_epoch_is_drawn_once_for_all() -> None:
    one, same, other = (draw_epoch(100, padding=4, flip=True, seed=seed) for seed in (1, 1, 2))
    assert sorted(one.order.tolist()) == list(range(100))
    assert all(torch.equal(a, b) for a, b in zip(vars(one).values(), vars(same).values(), strict=True))
    assert not torch.equal(one.order, other.order)
    assert set(one.shift.flatten().tolist()) == set(range(9))
    assert 30 < int(one.mirror.sum()) < 70
    assert not draw_epoch(100, padding=4, flip=False, seed=1).mirror.any()
    assert torch.equal(one[10:20].shift, one.shift[10:20])


def test_normalized_images_are_those_of_a_search(images: ImageSet) -> None:
    expected = next(minibatches.epoch_of_minibatches(images, 8)).images
    found = normalize(torch.from_numpy(images.take(slice(8))), images.mean, images.std)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_cutout_blanks_a_square() -> None:
    centres = torch.tensor([[0.5, 0.5], [0.0, 0.0], [0.999, 0.5]])
    blanked = cut_out(torch.ones(3, 2, 32, 32), centres, 16) == 0
    assert blanked.sum((1, 2, 3)).tolist() == [2 * 16 * 16, 2 * 8 * 8, 2 * 9 * 16]
    assert blanked[0, :, 8:24, 8:24].all()
    assert blanked[1, :, :8, :8].all()
    assert blanked[2, :, 23:, 8:24].all()


def test_jitter_by_hand() -> None:
    image = torch.tensor([[100, 20], [50, 20], [0, 20]], dtype=torch.uint8).reshape(1, 3, 1, 2)
    brighter = jitter_colours(image, torch.tensor([[1.0, 0, 0]]), 0.4)
    torch.testing.assert_close(brighter, image * 1.4)
    grey = 0.299 * 100 + 0.587 * 50
    without_colour = jitter_colours(image, torch.tensor([[0, 0, -1.0]]), 1.0)
    torch.testing.assert_close(without_colour.flatten(), torch.tensor([grey, 20.0] * 3))
    flat = jitter_colours(image, torch.tensor([[0, -1.0, 0]]), 1.0)
    torch.testing.assert_close(flat, torch.full_like(flat, (grey + 20) / 2))
    assert torch.equal(jitter_colours(image, torch.zeros(1, 3), 0.4), image.float())
