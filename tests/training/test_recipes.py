import math

import pytest

from zcpt_ray.training.recipes import RECIPES, Recipe


def rates(recipe: Recipe, *epochs: float) -> list[float]:
    return [recipe.learning_rate * recipe.schedule(epoch, recipe.epochs) for epoch in epochs]


def test_learning_rates_by_hand() -> None:
    assert rates(RECIPES["cifar"], 0, 300, 400, 600) == pytest.approx([0.025, 0.0125, 0.00625, 0])
    assert rates(RECIPES["nb201"], 0, 50, 100) == pytest.approx([0.1, 0.1 * (1 + math.sqrt(0.5)) / 2, 0.05])
    # Five epochs of warm-up, then down to the last but five, then slowly to the end.
    warm = [0.5 * 245 / 245 / 5, 0.5 * 241 / 245]
    late = [0.5 * 1 / 245, 0.5 * 5 / (245 * 5), 0.5 * 1 / (245 * 5)]
    assert rates(RECIPES["imagenet-darts"], 0, 4, 244, 245, 249) == pytest.approx([*warm, *late])
    assert rates(RECIPES["imagenet-darts-original"], 0, 1, 249) == pytest.approx([0.1, 0.097, 0.1 * 0.97**249])
    assert rates(RECIPES["imagenet-mobilenet"], 0, 149.5, 150) == pytest.approx(
        [0.5, 0.25 * (1 + math.sin(math.pi / 600)), 0.25]
    )


@pytest.mark.parametrize("epochs", [1, 2, 3, 9, 10, 11])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_short_trainings_have_a_rate(recipe: Recipe, epochs: int) -> None:
    assert all(0 < recipe.schedule(epoch, epochs) <= 1 for epoch in range(epochs))
