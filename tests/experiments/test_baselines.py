import pandas as pd
import pytest

from zcpt_ray.configs import SearchConfig
from zcpt_ray.errors import UserError
from zcpt_ray.experiments.baselines import SEARCHES, named_search, naswot_draws, search_label
from zcpt_ray.search.resolved import Search
from zcpt_ray.search.scoring import SCORINGS


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_by_name_resolve(name: str) -> None:
    config = named_search(name, SearchConfig())
    Search.of(config)
    assert config.training.fixed_alpha == (name == "darts-pt-fixed-alpha")
    assert search_label(name, config).startswith(name)


def test_labels_name_a_proxy_that_is_asked() -> None:
    labels = {name: search_label(name, named_search(name, SearchConfig(proxy="snip"))) for name in SEARCHES}
    asked = {name for name, label in labels.items() if label == f"{name} snip"}
    assert asked == {"zero-cost-pt", "zero-cost-disc", "naswot", "zero-cost-evo"}
    with pytest.raises(UserError, match="unknown search 'x'; choose from zero-cost-pt, "):
        named_search("x", SearchConfig())
    assert SCORINGS["tenas"].proxy == "tenas"


def test_naswot_by_hand() -> None:
    """Of 4 networks, 3 are drawn: the best scored one (error 9) is missing in a quarter of the draws, then the second
    (error 1).
    """
    scores = pd.Series({"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0})
    errors = pd.Series({"d": 50.0, "c": 50.0, "b": 1.0, "a": 9.0})
    draws = naswot_draws(scores, errors, size=3, draws=400)
    assert set(draws) == {9.0, 1.0}
    assert 0.65 < (draws == 9).mean() < 0.85
