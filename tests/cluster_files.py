"""The cluster files, and the form of cluster.yaml that brings up a cluster on this machine."""

import copy
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
ON_AWS_ONLY = re.compile("pip install --quiet boto3|ZCPT_GROWS_BY")
"""Commands for what another provider has not: Amazon's library, and machines that come when they are needed."""


def read(path: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / path).read_text())


def on_this_machine(head: str, workers: list[str], key: Path, store: Path) -> dict[str, Any]:
    """cluster.yaml with another provider, and with the addresses that come with it."""
    config = copy.deepcopy(read("cluster.yaml"))
    config["provider"] = {"type": "local", "head_ip": head, "worker_ips": workers}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(key)}
    for aws in (
        "available_node_types",
        "head_node_type",
        "max_workers",
    ):  # machine types; this provider knows addresses only
        del config[aws]
    for key in ("setup_commands", "head_setup_commands"):
        kept = [line for line in config[key] if not ON_AWS_ONLY.search(line)]
        config[key] = [line.replace("s3://YOUR-BUCKET/zcpt", store.as_uri()) for line in kept]
    return config
