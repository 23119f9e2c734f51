import numpy as np
import torch

from zcpt_ray.datasets.minibatches import ImageSet, crop_and_flip_at_random, draw_minibatch


def test_minibatches_depend_on_their_seed_only(images: ImageSet) -> None:
    one, same, other = (draw_minibatch(images, 16, seed) for seed in (5, 5, 6))
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.labels, same.labels)
    assert not torch.equal(one.images, other.images)
    assert one.images.shape == (16, 3, 32, 32)
    assert one.images.dtype == torch.float32
    assert one.labels.dtype == torch.int64


def test_a_minibatch_is_augmented_where_it_is_wanted(images: ImageSet) -> None:
    """The meta device refuses what is computed with a tensor of the CPU."""
    batch = draw_minibatch(images, 16, seed=5, device="meta")
    assert (batch.images.device.type, batch.labels.device.type) == ("meta", "meta")
    assert batch.images.shape == (16, 3, 32, 32)


def test_a_minibatch_repeats_no_image_and_is_normalised(images: ImageSet) -> None:
    flat = ImageSet(
        np.arange(40, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 3, 32, 32), np.uint8), *_rest(images)
    )
    batch = draw_minibatch(flat, 40, seed=0)
    centre = batch.images[:, :, 16, 16] * torch.tensor(images.std) + torch.tensor(images.mean)
    assert sorted((centre[:, 0] * 255).round().int().tolist()) == list(range(40))


def _rest(images: ImageSet) -> tuple[object, ...]:
    return images.labels, images.num_classes, images.mean, images.std, images.flip


def test_crop_and_flip_against_a_loop(images: ImageSet) -> None:
    """Every output is some crop of the padded image, as it is or mirrored, and all kinds occur."""
    out = crop_and_flip_at_random(torch.from_numpy(images.images), np.random.default_rng(0), flip=True)
    seen = set()
    for raw, got in zip(images.images, out, strict=True):
        padded = np.pad(raw, ((0, 0), (4, 4), (4, 4)))
        crops = {(y, x): padded[:, y : y + 32, x : x + 32] for y in range(9) for x in range(9)}
        matches = [
            (*at, f)
            for at, crop in crops.items()
            for f in (False, True)
            if np.array_equal(crop[..., ::-1] if f else crop, got)
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert {flipped for _, _, flipped in seen} == {False, True}
    assert len({y for y, _, _ in seen}) > 5
    assert len({x for _, x, _ in seen}) > 5
    unflipped = crop_and_flip_at_random(torch.from_numpy(images.images), np.random.default_rng(0), False, pad=0)
    assert np.array_equal(unflipped, images.images)


def test_part_of_a_sorted_data_set_has_all_classes(images: ImageSet) -> None:
    labels = np.repeat(np.arange(4), 10)
    ordered = ImageSet(
        np.arange(40, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 3, 8, 8), np.uint8),
        labels,
        *_rest(images)[1:],
    )
    part = ordered.thinned(8)
    assert part.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert part.images[:, 0, 0, 0].tolist() == list(range(0, 40, 5))
    assert ordered.thinned(40) is ordered
