from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from zcpt_ray.devices import DEVICES
from zcpt_ray.engine.convolutions import RELU, RELU6, add_convolution, convolve


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # with oneDNN and without
@pytest.mark.parametrize("in_channels_last", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_they_are_torchs(
    dtype: torch.dtype, in_channels_last: bool, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEVICES, "cpu", replace(DEVICES["cpu"], depthwise_in_channels_last=in_channels_last))
    x = torch.randn(2, 4, 6, 5, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernel, bias = torch.randn(8, 4 // groups, 3, 3, dtype=dtype), torch.randn(8, dtype=dtype)
    expected = F.conv2d(x, kernel, bias, stride=2, padding=1, groups=groups)
    out = convolve(x, kernel, bias, stride=2, padding=1, groups=groups)
    torch.testing.assert_close(out, expected)
    assert out.is_contiguous(memory_format=torch.channels_last)
    for clamp, most in ((RELU, None), (RELU6, 6)):
        out = convolve(x, 9 * kernel, bias, stride=2, padding=1, groups=groups, clamp=clamp)
        torch.testing.assert_close(out, F.conv2d(x, 9 * kernel, bias, 2, 1, 1, groups).clamp(0, most))
    if groups == 1:
        total = expected.clone(memory_format=torch.channels_last)
        add_convolution(total, x, kernel, bias, stride=2, padding=1)
        torch.testing.assert_close(total, 2 * expected)
