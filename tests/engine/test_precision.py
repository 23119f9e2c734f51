"""Settings are torch's own, which a CPU build has too; each case runs in a fresh process, as torch remembers some."""

import json
import subprocess
import sys

import pytest

CHANGES = {
    "nothing": "",
    "all in TF32": "torch.backends.fp32_precision = 'tf32'",
    "products in TF32": "torch.set_float32_matmul_precision('high')",
    "products in bfloat16": "torch.set_float32_matmul_precision('medium')",
    "products in TF32, the old way": "torch.backends.cuda.matmul.allow_tf32 = True",
    "no TF32, the old way": "torch.backends.cudnn.allow_tf32 = False",
    "convolutions in TF32": "torch.backends.cudnn.conv.fp32_precision = 'tf32'",
    "oneDNN in bfloat16": "torch.backends.mkldnn.fp32_precision = 'bf16'",
    "deterministic": "torch.backends.cudnn.deterministic = True",
    "benchmark": "torch.backends.cudnn.benchmark = True",
    "no cuDNN": "torch.backends.cudnn.enabled = False",
}
SCRIPT = """
import json, sys, torch
from torch import backends as b
from zcpt_ray.engine.precision import exact_float32, fast_convolutions

def setting(read):
    try:
        return read()
    except RuntimeError:
        return "torch refuses to say"

def settings():
    places = [b, b.cudnn, b.cudnn.conv, b.cudnn.rnn, b.cuda.matmul, b.mkldnn, b.mkldnn.conv, b.mkldnn.matmul]
    precisions = [setting(lambda: place.fp32_precision) for place in places]
    old = [setting(lambda: b.cudnn.allow_tf32), setting(lambda: b.cuda.matmul.allow_tf32)]
    others = [b.cudnn.enabled, b.cudnn.benchmark, b.cudnn.deterministic, setting(torch.get_float32_matmul_precision)]
    return precisions, old, others

exec(sys.argv[1])
before = settings()
inside = {}
for context in (exact_float32, fast_convolutions):
    try:
        with context():
            inside[context.__name__] = settings()
            raise KeyError
    except KeyError:
        pass
    assert settings() == before, (before, settings())
print(json.dumps([before, inside]))
"""


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_scores_are_exact_and_trainings_fast_whatever_is_set(change: str) -> None:
    """And each setting is afterwards as it was, though something fails inside."""
    ended = subprocess.run([sys.executable, "-c", SCRIPT, change], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    before, inside = json.loads(ended.stdout)
    (_, _, conv, rnn, matmul, _, onednn_conv, onednn_matmul), _, others = inside["exact_float32"]
    assert {conv, rnn, matmul, onednn_conv, onednn_matmul} == {"ieee"}
    assert others[:3] == before[2][:3]
    (_, _, conv, *_), _, (enabled, benchmark, deterministic, _) = inside["fast_convolutions"]
    assert (conv, benchmark) == ("tf32", True)
    assert (enabled, deterministic) == (before[2][0], before[2][2])  # cuDNN stays on
