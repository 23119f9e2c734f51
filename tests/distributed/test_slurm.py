"""docs/slurm.sh on the nodes of an allocation, with stand-ins for the commands of SLURM."""

import os
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAND_INS = {
    "scontrol": 'printf "node%s\\n" $(seq "$NODES")',
    "srun": """
        until [ "${1#--}" = "$1" ]; do case $1 in --nodelist=*) node=${1#*=} ;; esac; shift; done
        echo "$node: $*" >> "$LOG"
        case $1 in hostname) echo "127.0.0.1 10.0.0.1" ;; ray) exec sleep 60 ;; *) exec "$@" ;; esac""",
    "python": 'echo "waits for $3 at $2: $(cat | grep -c ray.nodes)" >> "$LOG"; exit "$JOINED"',
    "zcpt": 'echo "zcpt $*; $RAY_AUTH_MODE ${#RAY_AUTH_TOKEN}" >> "$LOG"; exit 3',
}


def run(folder: Path, words: list[str], nodes: int, joined: bool) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    commands = folder / "environment" / "bin"
    commands.mkdir(parents=True)
    for name, text in STAND_INS.items():
        (commands / name).write_text(f"#!/bin/bash\n{text}\n")
        (commands / name).chmod(0o755)
    log = folder / "log"
    slurm = {"SLURM_JOB_ID": "41234", "SLURM_JOB_NODELIST": "node[1-9]", "SLURM_CPUS_PER_TASK": "8"}
    slurm |= {"SLURM_GPUS_PER_TASK": "1", "SLURM_SUBMIT_DIR": str(folder), "ZCPT_ENVIRONMENT": str(commands.parent)}
    asked = {"NODES": str(nodes), "LOG": str(log), "JOINED": str(int(not joined)), "PATH": os.environ["PATH"]}
    script = ["bash", str(ROOT / "docs" / "slurm.sh"), *words]
    done = subprocess.run(script, env=slurm | asked, capture_output=True, text=True, check=False)
    for _ in range(100):  # nodes are started side by side
        lines = log.read_text().splitlines()
        if sum("ray start" in line for line in lines) == nodes:
            break
        time.sleep(0.05)
    return done, lines


@pytest.mark.parametrize("nodes", [1, 3])
def test_ray_is_started_on_every_node_and_the_command_runs_there(nodes: int, tmp_path: Path) -> None:
    done, lines = run(tmp_path, ["search", "--space", "darts", "--out", "two words"], nodes, joined=True)
    assert done.returncode == 3, done.stderr
    ours = "--num-cpus=8 --num-gpus=1 --disable-usage-stats --block"
    started = [line for line in lines if "ray start" in line]
    head = f"node1: ray start --head --node-ip-address=127.0.0.1 --port=21234 --include-dashboard=false {ours}"
    others = [f"node{number}: ray start --address=127.0.0.1:21234 {ours}" for number in range(2, nodes + 1)]
    assert sorted(started) == sorted([head, *others])
    assert f"waits for {nodes} at 127.0.0.1:21234: 1" in lines
    assert "zcpt search --address 127.0.0.1:21234 --space darts --out two words; token 64" in lines


def test_it_ends_where_nodes_are_missing(tmp_path: Path) -> None:
    done, lines = run(tmp_path, ["search"], nodes=2, joined=False)
    assert done.returncode == 1
    assert not [line for line in lines if line.startswith("zcpt")]
