"""Well-known networks have the parameters that the literature gives them."""

import pytest
import torch

from zcpt_ray.errors import UserError
from zcpt_ray.spaces import find_space
from zcpt_ray.spaces.costs import Costs
from zcpt_ray.spaces.known_networks import KNOWN_NETWORKS, WHOLE, ThinResNet18

MILLION_AND = {"mobilenetv2-half": 1_968_680}
"""With 1000 classes, as torchvision counts MobileNetV2 with a width of 0.5."""


class ResNet18(ThinResNet18):
    widths = (64, 128, 256, 512)


def test_parameters_on_imagenet() -> None:
    resnet = ResNet18("resnet18", small_images=False)
    costs = Costs(resnet, 1000, (3, 224, 224)).of(resnet.decode(WHOLE))
    assert costs.params == 11_689_512  # torchvision's
    assert costs.flops == pytest.approx(1.81e9, rel=0.01)
    half = find_space("mobilenetv2-half")
    found = Costs(half, 1000, (3, 224, 224)).of(half.decode(WHOLE))
    assert found.params == MILLION_AND["mobilenetv2-half"]
    assert found.flops == pytest.approx(97e6, rel=0.03)  # Sandler et al. 2018, table of the released models


@pytest.mark.parametrize("name", KNOWN_NETWORKS)
def test_they_run_on_what_they_are_for(name: str) -> None:
    space = find_space(name)
    network = space.network(space.decode(WHOLE), 7, seed=0).eval()
    assert network(torch.zeros(2, 3, space.made_for, space.made_for)).shape == (2, 7)
    assert space.encode(space.decode(WHOLE)) == WHOLE
    with pytest.raises(UserError, match=f"{name} has one architecture, 'whole', not 'half'"):
        space.decode("half")
