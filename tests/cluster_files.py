"""The cluster files, and the form of cluster.yaml that brings up a cluster on this machine."""

import copy
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
ON_AWS_ONLY = "pip install --quiet boto3"


def read(path: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / path).read_text())


def on_this_machine(head: str, workers: list[str], key: Path, store: Path) -> dict[str, Any]:
    """cluster.yaml with another provider, and with the addresses that come with it."""
    config = copy.deepcopy(read("cluster.yaml"))
    config["provider"] = {"type": "local", "head_ip": head, "worker_ips": workers}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(key)}
    for aws in ("available_node_types", "head_node_type", "max_workers"):  # machine types; this provider knows addresses only
        del config[aws]
    config["setup_commands"] = [line.replace("s3://YOUR-BUCKET/zcpt", store.as_uri()) for line in config["setup_commands"]]
    config["head_setup_commands"] = [line for line in config["head_setup_commands"] if ON_AWS_ONLY not in line]
    return config
