"""The devices that a configuration may name, what each can do, and what a name means in this process."""

import platform
from dataclasses import dataclass
from pathlib import Path

from zcpt_ray.errors import UserError


@dataclass(frozen=True)
class Device:
    """What torch can do on one kind of device.

    `chunk_bytes` are those of a layer's largest tensor that are processed at a time: on a CPU what the caches hold,
    on a GPU what keeps it busy. `stacks_states`: where several architectures compute the same from states of their
    own, it runs as one batch, as starting a kernel takes longer than many a kernel. `depthwise_in_channels_last`:
    depthwise convolutions take that order as it is; if not, scores spend two copies for torch's own kernels in the
    other order. On CUDA it is cuDNN that gets them, which has fast ones since 8.2; not yet measured here.
    `prefers_bfloat16`: trainings whose precision is "auto" take it. `pins_memory`: what is on its way there should
    lie in page-locked memory. `has_random_state`: torch keeps one for it that can be put back. `works_apart`: what the
    host computes meanwhile takes nothing from it.
    """

    name: str
    chunk_bytes: int
    stacks_states: bool = False
    depthwise_in_channels_last: bool = True
    has_float64: bool = True
    multiplies_int8: bool = False
    prefers_bfloat16: bool = False
    pins_memory: bool = False
    has_random_state: bool = False
    works_apart: bool = True


def cache_share(size: Path = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")) -> int:
    """Bytes that a CPU processes at a time: a quarter of the cache that its cores share, from 4 to 16 MiB.

    Larger ones take fewer and faster convolutions, but then what a layer gave is gone from the cache when the next one
    reads it. Where the system does not tell, 4 MiB.
    """
    try:
        cache = int(size.read_text().strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        cache = 0
    return min(max(cache // 4, 4 << 20), 16 << 20)


DEVICES = {
    device.name: device
    for device in (
        Device("cpu", cache_share(), multiplies_int8=True, works_apart=False),
        Device(
            "cuda",
            256 << 20,
            stacks_states=True,
            multiplies_int8=True,
            prefers_bfloat16=True,
            pins_memory=True,
            has_random_state=True,
        ),
        Device("xpu", 256 << 20, stacks_states=True, prefers_bfloat16=True, pins_memory=True, has_random_state=True),
        Device("mps", 256 << 20, stacks_states=True, has_float64=False),
    )
}
"""By torch's name. Of the GPUs none is tried out on a card: cuda is on a simulated one."""
DEVICE_NAMES = ("auto", *DEVICES)
HW_NAS_TARGETS = ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")
"""Devices that HW-NAS-Bench (Li et al. 2021) measured NAS-Bench-201 on."""
ACCEL_TARGETS = ("a100", "3090", "tpuv2", "tpuv3", "zcu102", "vck190")
"""Devices that Accel-NASBench (Ahmad et al. 2024) measured its networks on."""
TARGETS = HW_NAS_TARGETS + ACCEL_TARGETS
"""Devices that others measured networks on: nothing runs on them here."""
AUTO = ("cuda", "xpu")
"""What "auto" takes, the first that is there, else the CPU. Apple's GPUs (mps) are taken only if they are named."""
LOOK_STEPS = 50
"""Steps of a training between two looks at its loss: on a GPU each look waits for all steps before."""


def local_device(name: str) -> str:
    """The torch device that one of `DEVICE_NAMES` means in this process.

    Raises:
        UserError: a GPU was asked for and there is none.
    """
    if name == "auto":
        return next((device for device in AUTO if _is_there(device)), "cpu")
    if not _is_there(name):
        raise UserError(f"device {name!r} was asked for, but torch sees no GPU here; use --device cpu or auto")
    return name


def _is_there(name: str) -> bool:
    import torch  # takes a second or two, and a configuration is checked without it

    if name == "mps":
        return torch.backends.mps.is_available()
    return name == "cpu" or bool(torch.get_device_module(name).is_available())


def card_name(name: str) -> str:
    """What the maker calls this process's card of a kind; the kind itself where torch does not tell."""
    import torch

    module = torch.get_device_module(name)
    return str(module.get_device_name()) if hasattr(module, "get_device_name") else name


def has_bfloat16(name: str) -> bool:
    """Whether this process's device of a kind computes in bfloat16 itself."""
    import torch

    return name != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def cpu_name() -> str:
    """What its maker calls this machine's CPU, where the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
