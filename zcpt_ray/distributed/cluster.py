"""The Ray cluster a job runs on: joining it, what it has or can come to have, and what its nodes see."""

import logging
import os
import signal
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from zcpt_ray.distributed.autoscaling import nodes_to_come
from zcpt_ray.errors import UserError
from zcpt_ray.storage.paths import AnyPath, RemotePath

CONNECT_SECONDS = 10
IN_FLIGHT = 256
"""Tasks of one kind that are submitted and not finished, at most: enough to keep as many workers busy."""
STARTS = 3  # Ray gives a node 30 s to start, which a busy machine may need longer for


@dataclass(frozen=True)
class TaskResources:
    """What each task asks Ray for; `gpus` may be a fraction, and counts on a cluster with GPUs only."""

    cpus: int = 1
    gpus: float = 1.0

    def __post_init__(self) -> None:
        if self.cpus < 1 or self.gpus <= 0 or (self.gpus > 1 and self.gpus % 1):
            given = f"got {self.cpus} and {self.gpus}"
            raise UserError(
                f"a task takes at least 1 CPU and, where there are any, a fraction of a GPU or whole GPUs; {given}"
            )


def connect(address: str = "", show_logs: bool = False) -> None:
    """Join the cluster at `address`, else the one this machine is part of, else start Ray on this machine.

    A process that has joined one stays there. Ray that is started here asks for the token in the user's home, unless
    RAY_AUTH_MODE says otherwise: whoever reaches its ports could run code without. Workers' log lines (epochs of a
    supernet, say) are shown only if wanted.

    Raises:
        UserError: there is no cluster at `address`, or where RAY_ADDRESS says; or Ray does not start.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    given = address or os.environ.get("RAY_ADDRESS", "")
    source = " that RAY_ADDRESS names" if given != address else ""
    if given not in ("", "auto", "local"):
        _require_answer(given, source)
    elif not given and not _is_in_a_cluster():
        given = "local"
    try:
        _start_or_join(given or "auto", show_logs)
    except (OSError, ValueError, RuntimeError) as error:
        if given == "":  # that of this machine is somebody else's
            connect("local", show_logs)
            return
        said = " ".join(str(error).split())
        if given == "local":
            raise UserError(f"Ray does not start on this machine: {said}") from error
        hint = "; has it another version, or does it ask for a token (RAY_AUTH_MODE=token)?"
        raise UserError(f"cannot join the Ray cluster at {given}{source}: {said}{hint}") from error


def _require_answer(address: str, source: str) -> None:
    """See that somebody answers there, as `ray.init` would try for minutes.

    Raises:
        UserError: nobody does, or the address is not written as it should be.
    """
    where = f"cannot join the Ray cluster at {address}{source}"
    form = "expected HOST:PORT, such as 10.0.0.1:6379, ray://HOST:10001, auto or local"
    scheme, _, rest = address.rpartition("://")
    host, _, port = rest.rstrip("/").rpartition(":")
    if scheme not in ("", "ray") or not host or not port.isdecimal():
        why = "that is the address of a dashboard, which takes jobs" if scheme.startswith("http") else "no such form"
        raise UserError(f"{where}: {why}; {form}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        remedy = "; unset RAY_ADDRESS to start Ray here" if source else ""
        raise UserError(f"{where}: nobody answers there ({error}); {form}{remedy}") from error


def _is_in_a_cluster() -> bool:
    """Whether Ray has left the address of a cluster here, and that answers."""
    file = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    try:
        host, _, port = file.read_text().strip().rpartition(":")
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _start_or_join(address: str, show_logs: bool) -> None:
    terminated = signal.getsignal(signal.SIGTERM)
    for left in reversed(range(STARTS)):
        try:
            ray.init(address=address, log_to_driver=show_logs, logging_level=logging.ERROR)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, terminated)  # Ray has set its own, which ends with another exit code
        except SystemExit as error:  # of Ray's own, as it starts
            if error.code == signal.SIGTERM and callable(terminated):
                terminated(signal.SIGTERM, None)
            raise
        except Exception as error:
            if type(error) is not Exception:  # a start that took too long is a plain one
                raise
            if not left:
                raise UserError(f"Ray does not start on this machine, tried {STARTS} times: {error}") from error
        else:
            return


class NodeKind(NamedTuple):
    """CPUs and GPUs of a node."""

    cpus: float
    gpus: float

    @classmethod
    def of(cls, resources: dict[str, float]) -> "NodeKind":
        """From Ray's names."""
        return cls(resources.get("CPU", 0), resources.get("GPU", 0))


def nodes_there() -> list[NodeKind]:
    """The nodes that are alive."""
    return [NodeKind.of(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def task_options(device: str, resources: TaskResources) -> dict[str, float]:
    """Ray options of a task that runs on `device`, on the cluster as it is or may grow to be.

    Raises:
        UserError: the cluster has no GPU and one was asked for, or none of its nodes can ever give a task what it
            needs.
    """
    nodes = [*nodes_there(), *map(NodeKind.of, nodes_to_come())]
    have_gpu = any(node.gpus for node in nodes)
    if device not in ("auto", "cpu") and not have_gpu:
        raise UserError(f"device {device!r} was asked for, but the Ray cluster has no GPU; use --device cpu or auto")
    options = {"num_cpus": resources.cpus, "num_gpus": resources.gpus if have_gpu and device != "cpu" else 0}
    if not any(places_on(node, options) for node in nodes):
        offers = ", ".join(f"{node.cpus:g} and {node.gpus:g}" for node in nodes)
        raise UserError(
            f"a task asks for {options['num_cpus']} CPUs and {options['num_gpus']:g} GPUs; the nodes of the cluster"
            f" have {offers}; lower --cpus-per-task or --gpus-per-task"
        )
    return options


def set_up_process(options: Mapping[str, float]) -> None:
    """Prepare the process of a task with these options: as many torch threads as CPUs, and no GPU if it has none.

    More threads than cores, in all processes together, run far slower. Ray hides GPUs only if it knows of any.
    """
    torch.set_num_threads(max(1, int(options["num_cpus"])))
    if not options["num_gpus"]:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # read when CUDA starts, which it has not in a process without a GPU


def set_up_worker() -> None:
    """In a task: log lines, threads and GPUs."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("zcpt_ray").setLevel(logging.INFO)
    given = ray.get_runtime_context().get_assigned_resources()
    set_up_process({"num_cpus": given.get("CPU", 1), "num_gpus": given.get("GPU", 0)})


def calls_of_a_worker(options: Mapping[str, float]) -> int:
    """How many tasks with these options one process runs before another takes its place.

    Many, so that they do not pay for as many starts of CUDA. But Ray may give the next one another GPU of the node, and
    CUDA reads which one it has at its start only: where there are several, one.
    """
    several = any(node.gpus > 1 for node in [*nodes_there(), *map(NodeKind.of, nodes_to_come())])
    return 1 if options["num_gpus"] and several else 1000


@cache
def as_task(function: Callable[..., Any], calls: int) -> Any:
    """A function of a module as a Ray task whose process runs so many of them."""
    return ray.remote(max_retries=10, max_calls=calls)(function)


def places_on(node: NodeKind, options: Mapping[str, float]) -> int:
    """How many tasks run on a node at a time."""
    by_cpu, gpus = int(node.cpus // options["num_cpus"]), options["num_gpus"]
    return min(by_cpu, int(node.gpus / gpus + 1e-6)) if gpus else by_cpu


def places(options: Mapping[str, float]) -> int:
    """How many tasks the cluster, as it is now, runs at a time."""
    return sum(places_on(node, options) for node in nodes_there())


def describe(options: dict[str, float]) -> str:
    """One line: where the cluster is, what it has, and how many tasks with these options it runs at a time."""
    there = nodes_there()
    cpus, gpus = sum(node.cpus for node in there), sum(node.gpus for node in there)
    each = f"{options['num_cpus']:g} CPU" + (f" and {options['num_gpus']:g} GPU" if options["num_gpus"] else "")
    grows = ", and more on nodes that the autoscaler starts" if nodes_to_come() else ""
    nodes = f"{len(there)} node{'s' * (len(there) > 1)}"
    address = ray.get_runtime_context().gcs_address
    return (
        f"Ray at {address}: {nodes} with {cpus:g} CPUs and {gpus:g} GPUs; {places(options)} tasks at a time, {each}"
        f" each{grows}"
    )


@contextmanager
def plain_errors(kept: str = "") -> Iterator[None]:
    """What a task raised for the user to read, as itself; a process that died too often, in one line."""
    try:
        yield
    except ray.exceptions.RayError as error:
        # A process that died is the cause of what it was to give, to whomever.
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ray.exceptions.OutOfMemoryError):
            raise UserError(
                "a node's memory was full each time that a task ran there, and Ray has killed the task too often; lower"
                f" --batch-size, or raise --cpus-per-task, so that fewer run at a time{kept}"
            ) from error
        if isinstance(cause, ray.exceptions.RayError):
            raise UserError(f"a Ray process died too often: {' '.join(str(cause).split())}{kept}") from error
        raise


def this_node() -> str:
    """Ray's name for the node that this process is on."""
    return str(ray.get_runtime_context().get_node_id())


@ray.remote(num_cpus=0)
def _sees(path: AnyPath) -> bool:
    return path.exists()


def nodes_without(path: AnyPath) -> list[str]:
    """Addresses of the nodes, other than this one, from which a file cannot be seen."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != this_node()]
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    asked = [_sees.options(scheduling_strategy=strategy).remote(path) for strategy in there]
    return [node["NodeManagerAddress"] for node, sees in zip(nodes, ray.get(asked), strict=True) if not sees]


def require_seen(out: AnyPath, name: str) -> None:
    """In a task: see that this node sees the folder that all share, by a file in it.

    Raises:
        UserError: the file is missing.
    """
    if not (out / name).exists():
        raise UserError(
            f"node {ray.util.get_node_ip_address()} does not see {out}; give a shared folder or a URI as --out"
        )


def refuse_node_local(out: AnyPath) -> None:
    """Trials of any node must find what those of another have kept.

    Raises:
        UserError: there are nodes that do not see `out`.
    """
    if isinstance(out, RemotePath):
        return
    probe = out.absolute() / f"probe-{uuid.uuid4().hex}"
    probe.write_text("")
    try:
        missing = nodes_without(probe)
    finally:
        probe.unlink()
    if missing:
        raise UserError(
            f"{out} is a folder of this node alone, {', '.join(missing)} cannot see it: a trial that moves to another"
            " node would start anew; give a shared folder or a URI as --out s3://bucket/runs"
        )
