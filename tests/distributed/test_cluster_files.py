"""The cluster files without a cloud: Ray's own schema, and what that does not see."""

import copy
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_files import ON_AWS_ONLY, ROOT, on_this_machine, read
from ray.autoscaler._private.constants import AUTOSCALER_UTILIZATION_SCORER_KEY
from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilityRecord, NodeAvailabilitySummary
from ray.autoscaler._private.resource_demand_scheduler import get_nodes_for
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor
from ray.core.generated.instance_manager_pb2 import Instance, InstanceUpdateEvent

from zcpt_ray.distributed import autoscaling
from zcpt_ray.errors import UserError

LAUNCHER = ("cluster.yaml", "docs/cluster-onprem.yaml")
KUBERAY = "docs/kuberay.yaml"
COMMANDS = ("setup_commands", "head_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
EC2 = {"InstanceType", "ImageId", "BlockDeviceMappings", "MetadataOptions", "InstanceMarketOptions"}
LOCK = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
AWS = read("cluster.yaml")


def commands(config: dict[str, Any]) -> list[str]:
    return [command for key in COMMANDS for command in config[key]]


@pytest.mark.parametrize("path", LAUNCHER)
def test_ray_takes_it(path: str) -> None:
    config = read(path)
    validate_config(prepare_config(copy.deepcopy(config)))
    assert config["auth"]["ssh_user"]
    assert all((ROOT / local).exists() for local in config["file_mounts"].values() if not local.startswith("~"))
    with pytest.raises(Exception, match="Additional properties"):
        validate_config(prepare_config({**config, "max_worker": 3}))


@pytest.mark.parametrize("path", LAUNCHER)
def test_every_command_is_whole_and_bash_reads_it(path: str) -> None:
    """YAML ends a plain line at ` #`, and would take a `: ` for a key: the file's own text is what is compared with."""
    text = (ROOT / path).read_text()
    for command in commands(read(path)):
        assert f"  - {command}\n" in text
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_both_launcher_files_do_the_same() -> None:
    """So that what is shown of one, on this machine, holds for the other."""
    other = read("docs/cluster-onprem.yaml")
    assert other["file_mounts"] == AWS["file_mounts"]
    assert other["rsync_exclude"] == AWS["rsync_exclude"]
    ours = [re.sub("ZCPT_STORE=[^']*", "", line) for line in commands(AWS) if not ON_AWS_ONLY.search(line)]
    assert [re.sub("ZCPT_STORE=[^']*", "", line) for line in commands(other)] == ours


def test_what_differs_where_the_launcher_is_tested(tmp_path: Path) -> None:
    local = on_this_machine("10.0.0.1", [], tmp_path / "id", tmp_path)
    assert {key for key in AWS if AWS[key] != local.get(key)} == {
        *(
            "provider",
            "auth",
            "available_node_types",
            "head_node_type",
            "max_workers",
        ),  # machines, and how to reach them
        *("setup_commands", "head_setup_commands"),
    }
    assert not local.keys() - AWS.keys()
    for key in ("setup_commands", "head_setup_commands"):
        ours = [line for line in AWS[key] if not ON_AWS_ONLY.search(line)]
        changed = [pair for pair in zip(ours, local[key], strict=True) if pair[0] != pair[1]]
        assert changed == [
            (line, line.replace("s3://YOUR-BUCKET/zcpt", f"file://{tmp_path}"))
            for line in ours
            if "YOUR-BUCKET" in line
        ]
    assert sum(bool(ON_AWS_ONLY.search(line)) for line in commands(AWS)) == 2


def test_machines_on_aws() -> None:
    types, head = AWS["available_node_types"], AWS["head_node_type"]
    images = {node["node_config"]["ImageId"] for node in types.values()}
    assert len(images) == 1
    assert re.fullmatch("ami-[0-9a-f]{17}", images.pop()), (
        "one image by its ID: a name such as latest would change under a search"
    )
    for node in types.values():
        assert not node["node_config"].keys() - EC2
        assert node["node_config"]["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] >= 100
    assert types[head]["resources"] == {"CPU": 0}
    assert not types[head].keys() & {"min_workers", "max_workers"}
    workers = {name: node for name, node in types.items() if name != head}
    assert {name: (node["min_workers"], node["resources"]) for name, node in workers.items()} == {
        "gpu-spot": (0, {"CPU": 4, "GPU": 1}),
        "gpu-on-demand": (0, {"CPU": 4, "GPU": 1}),
    }
    assert all(0 < node["max_workers"] <= AWS["max_workers"] for node in workers.values())
    spot = {name for name, node in workers.items() if "InstanceMarketOptions" in node["node_config"]}
    assert spot == {"gpu-spot"}


@pytest.mark.parametrize(
    ("running", "failed", "wanted"),
    [
        (0, False, {"gpu-spot": 3}),
        (6, False, {"gpu-spot": 2, "gpu-on-demand": 1}),
        (0, True, {"gpu-on-demand": 3}),
    ],
)
def test_spot_is_taken_first_and_then_on_demand(running: int, failed: bool, wanted: dict[str, int]) -> None:
    """Ray's own choice for three tasks with a GPU, while so many spot machines run, and after AWS had none left."""
    config = prepare_config(copy.deepcopy(AWS))
    record = NodeAvailabilityRecord(
        "gpu-spot", is_available=not failed, last_checked_timestamp=0, unavailable_node_information=None
    )
    summary = NodeAvailabilitySummary({"gpu-spot": record})

    def scored(resources: Any, demands: Any, node_type: str) -> Any:
        return autoscaling.score(resources, demands, node_type, node_availability_summary=summary)

    existing = {"gpu-spot": running, "head": 1}
    added, left = get_nodes_for(
        config["available_node_types"], existing, "head", 99, [{"CPU": 1, "GPU": 1}] * 3, scored
    )
    assert (dict(added), left) == (wanted, [])


def test_autoscaler_v2_does_not_learn_that_a_type_is_not_to_be_had() -> None:
    """Why cluster.yaml turns it off. Should this fail, Ray has learned it: on AWS v2 will do then."""
    monitor = CloudResourceMonitor()
    monitor.notify([InstanceUpdateEvent(instance_type="gpu-spot", new_instance_status=Instance.ALLOCATION_FAILED)])
    assert monitor.get_resource_availabilities() == {}


def test_a_job_knows_what_the_autoscaler_can_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZCPT_GROWS_BY", raising=False)
    assert autoscaling.nodes_to_come() == []
    offered = {
        tuple(node["resources"].items())
        for name, node in AWS["available_node_types"].items()
        if name != AWS["head_node_type"]
    }
    (said,) = re.findall("ZCPT_GROWS_BY=([^']*)'", (ROOT / "cluster.yaml").read_text())
    for text in (said, *re.findall('ZCPT_GROWS_BY, value: "(.*)" ', (ROOT / KUBERAY).read_text())):
        monkeypatch.setenv("ZCPT_GROWS_BY", text)
        (node,) = autoscaling.nodes_to_come()
        assert offered == {tuple(node.items())}
    monkeypatch.setenv("ZCPT_GROWS_BY", "a GPU")
    with pytest.raises(UserError, match="should be like CPU=4,GPU=1"):
        autoscaling.nodes_to_come()


def test_the_start_commands() -> None:
    start = next(line for line in AWS["head_start_ray_commands"] if "ray start" in line)
    assert "RAY_enable_autoscaler_v2=0 " in start
    assert f"{AUTOSCALER_UTILIZATION_SCORER_KEY}={autoscaling.score.__module__}.{autoscaling.score.__name__} " in start
    assert "--dashboard-host=127.0.0.1" in start
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start
    assert any("RAY_AUTH_MODE=token" in line for line in AWS["setup_commands"])
    assert AWS["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@pytest.mark.parametrize("path", [*LAUNCHER, KUBERAY, "docs/Dockerfile"])
def test_no_secret(path: str) -> None:
    text = re.sub(r"(--hash=sha256:%s ?)+' .*? >", "", (ROOT / path).read_text())  # of what is installed
    assert not re.search(
        r"AKIA|aws_secret|BEGIN [A-Z ]*PRIVATE KEY|\b[0-9a-f]{32,}\b|(?i:password|token):\s*[\"']?\w{8}", text
    )


def test_kuberay() -> None:
    items = read(KUBERAY)["items"]
    assert [(item["apiVersion"], item["kind"]) for item in items] == [
        ("v1", "PersistentVolumeClaim"),
        ("ray.io/v1", "RayJob"),
        ("ray.io/v1", "RayCluster"),
    ]
    claim, job, cluster = items
    assert len({item["metadata"]["labels"]["zcpt"] for item in items}) == 3
    assert job["spec"]["rayClusterSpec"] == cluster["spec"]
    script = re.match("python /home/ray/zcpt/(jobs/[a-z_]+.py) ", job["spec"]["entrypoint"])
    assert script
    assert (ROOT / script[1]).exists()
    assert "--out /mnt/runs/" in job["spec"]["entrypoint"]
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    spec = cluster["spec"]
    assert spec["rayVersion"] == LOCK["ray"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = spec["workerGroupSpecs"]
    assert (workers["replicas"], workers["minReplicas"]) == (0, 0)
    assert workers["maxReplicas"] > 0
    pods = [group["template"]["spec"] for group in (spec["headGroupSpec"], workers)]
    containers = [box for pod in pods for box in (*pod.get("initContainers", ()), *pod["containers"])]
    for box in containers:
        assert box["image"].endswith(f":ray-{LOCK['ray']}")
        assert {"cpu", "memory"} <= box["resources"]["requests"].keys()
        assert box["resources"]["limits"]["memory"] == box["resources"]["requests"]["memory"]
    assert containers[-1]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    volumes = {volume["name"]: volume for volume in pods[0]["volumes"]}
    assert volumes["runs"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert all(mount["name"] in volumes for box in containers for mount in box.get("volumeMounts", ()))


def test_the_image_is_built_from_the_lock_file() -> None:
    lines = (ROOT / "docs/Dockerfile").read_text().splitlines()
    assert any(line.split()[:4] == ["#", "docker", "pull", f"rayproject/ray:{LOCK['ray']}-py311"] for line in lines)
    copied = {name for line in lines if line.startswith("COPY") for name in line.split()[2:-1]}
    assert copied == {local for local in AWS["file_mounts"].values() if not local.startswith("~")}


@pytest.mark.parametrize("path", [*LAUNCHER, KUBERAY])
def test_what_is_to_be_filled_in_is_marked(path: str) -> None:
    text = (ROOT / path).read_text()
    for placeholder in ("YOUR-BUCKET", "ami-0000", "192.0.2.", "REGISTRY/"):
        for line in re.findall(f".*{placeholder}.*", text):
            before = text[: text.index(line)].splitlines()[-8:]
            assert "FILL IN" in line or any("FILL IN" in above for above in before), line
    yaml.safe_load(text)


def test_what_is_fetched_is_pinned_by_what_is_in_it() -> None:
    """A tag, or what a script's address gives, may be another thing tomorrow."""
    for path in ("cluster.yaml", "docs/cluster-onprem.yaml"):
        commands = read(path)["setup_commands"]
        assert not any(re.search(r"curl|wget", command) for command in commands)
        (pinned,) = (command for command in commands if "uv==" in command)
        assert len(re.findall(r"\b[0-9a-f]{64}\b", pinned)) == pinned.count("--hash=sha256:%s") == 2
        assert any("--require-hashes --requirement ~/uv.txt" in command for command in commands)
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    used = re.findall(r"uses: (.*)", workflow)
    assert used
    assert all(re.match(r"\S+@[0-9a-f]{40} # v", action) for action in used)
    assert all(re.match(r"\S+@sha256:[0-9a-f]{64}", image) for image in re.findall(r"image: (.*)", workflow))
    assert "pip-audit --requirement requirements.lock" in workflow
    assert re.findall("^FROM (.*)", (ROOT / "docs/Dockerfile").read_text(), re.MULTILINE) == ["${BASE}"]
