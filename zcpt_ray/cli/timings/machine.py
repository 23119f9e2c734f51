"""The machine that things are timed on."""

import os
import sys
from collections.abc import Sequence

from zcpt_ray.devices import cpu_name

ISA_VARIABLES = {
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
}
"""By instruction set, what has torch and its libraries use none beyond it; read when a process starts."""


def restart_with(isa: str, argv: Sequence[str]) -> None:
    """Run `zcpt` with `argv` in this process's place, under an instruction set, unless it is so already."""
    variables = ISA_VARIABLES[isa]
    if any(os.environ.get(name) != value for name, value in variables.items()):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, "-m", "zcpt_ray", *argv], os.environ | variables)


def describe_cpu() -> str:
    """Its name, the instruction set that torch uses, and how many threads."""
    import torch  # takes a second or two, which a process that is about to be replaced has no use for

    threads, cores = torch.get_num_threads(), os.cpu_count()
    return f"{cpu_name()}, {torch.backends.cpu.get_cpu_capability()}, {threads} threads on {cores} cores"
