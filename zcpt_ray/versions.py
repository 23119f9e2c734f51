"""Versions of what the numbers of a run depend on."""

import platform
from importlib import metadata


def versions() -> dict[str, str]:
    """The versions of Python, of this package, of torch and of numpy, by name."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in ("zcpt_ray", "torch", "numpy")
    }
