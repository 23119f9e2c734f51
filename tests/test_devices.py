import dataclasses
from pathlib import Path

import pytest
import torch

from zcpt_ray.configs import SearchConfig
from zcpt_ray.devices import DEVICE_NAMES, DEVICES, cache_share, local_device
from zcpt_ray.errors import UserError
from zcpt_ray.proxies import PROXIES
from zcpt_ray.search.resolved import Search


def have(monkeypatch: pytest.MonkeyPatch, *devices: str) -> None:
    """As on a machine with these GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in devices)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: "xpu" in devices)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in devices)


@pytest.mark.parametrize(
    ("there", "taken"),
    [((), "cpu"), (("cuda",), "cuda"), (("xpu",), "xpu"), (("cuda", "xpu"), "cuda"), (("mps",), "cpu")],
)
def test_auto_takes_a_gpu_if_there_is_one(there: tuple[str, ...], taken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    have(monkeypatch, *there)
    assert local_device("auto") == taken
    for name in DEVICES:
        if name == "cpu" or name in there:
            assert local_device(name) == name
        else:
            with pytest.raises(UserError, match=f"device '{name}' was asked for, but torch sees no GPU here"):
                local_device(name)


def test_every_device_is_a_row() -> None:
    assert DEVICE_NAMES == ("auto", "cpu", "cuda", "xpu", "mps")
    assert all(name == device.name and device.chunk_bytes for name, device in DEVICES.items())


def test_a_proxy_that_needs_float64_is_refused_where_there_is_none() -> None:
    for proxy in PROXIES:
        config = SearchConfig(proxy=proxy, device="mps")
        if "float64" in PROXIES[proxy].dtype:
            with pytest.raises(UserError, match=f"proxy '{proxy}' needs float64, which device 'mps' has not"):
                Search.of(config)
        else:
            Search.of(config)
        Search.of(dataclasses.replace(config, device="auto"))


@pytest.mark.parametrize(
    ("text", "mebibytes"), [("491520K\n", 16), ("32768K\n", 8), ("8192K\n", 4), ("", 4), ("32M", 4), (None, 4)]
)
def test_a_cpu_processes_a_quarter_of_its_cache_at_a_time(text: str | None, mebibytes: int, tmp_path: Path) -> None:
    size = tmp_path / "size"
    if text is not None:
        size.write_text(text)
    assert cache_share(size) == mebibytes << 20
