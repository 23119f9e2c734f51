"""`ray up`, `ray submit`, `ray job submit`, `ray down` with cluster.yaml, on this machine: no cloud, real SSH, real
Ray.

This machine plays the user's laptop with the head node, and a worker node: namespaces with their own processes and
network, as `ray stop` and `ray down` end every Ray process that they see.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from cluster_files import ROOT, on_this_machine

NEEDED = ("sshd", "ssh", "ssh-keygen", "rsync", "unshare", "nsenter", "ip", "flock")
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
ISOLATED = ("-m", "-p", "-n")
MISSING = [tool for tool in NEEDED if not shutil.which(tool, path=PATH)]
if (
    not MISSING
    and subprocess.run(
        ["unshare", *ISOLATED, "-f", "--mount-proc", "true"], capture_output=True, check=False
    ).returncode
):
    MISSING = ["root and leave to make namespaces"]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=f"the launcher test needs {', '.join(MISSING)}"),
]
ADDRESSES = {"head": "10.99.0.1", "worker": "10.99.0.2"}
SSHD = """HostKey {folder}/host
AuthorizedKeysFile {folder}/id.pub
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
PidFile none
MaxSessions 50
SetEnv PIP_NO_INDEX=1 PIP_FIND_LINKS={folder}/wheels
"""
# Two machines with a cable between them. To each, root's home and /tmp/ray are its own; bash buries what loses its
# parent.
MACHINE = """
  mount --bind {folder}/{name}/passwd /etc/passwd
  mount --bind {folder}/{name}/ray /tmp/ray
  ip link set lo up
  until ip link set {name} up 2>/dev/null; do sleep 0.1; done
  ip address add {address}/24 dev {name}
  ip route add default dev {name}
  {sshd} -f {folder}/sshd_config
"""
BOTH = """set -e
ip link add head type veth peer name worker
{head}
unshare -m -p -n -f --mount-proc --kill-child=SIGKILL bash -ec '{worker}
  while sleep 1; do :; done' &
until pid=$(cat /proc/$!/task/$!/children) && test $pid; do sleep 0.1; done
ip link set worker netns $pid
touch {folder}/ready
while sleep 1; do :; done
"""


@dataclass(frozen=True)
class Laptop:
    """Where the user sits: a copy of the repository with a yaml, and a way to run commands there."""

    folder: Path
    inside: int

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def head(self) -> Path:
        return self.folder / "head"

    def run(self, *command: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Run a command in the copy of the repository; all that it prints is in `stdout`."""
        enter = ["nsenter", "-t", str(self.inside), *ISOLATED, f"--wd={self.repository}", "--"]
        home = str(self.folder / "laptop")
        user = {
            "PATH": PATH,
            "HOME": home,
            "TMPDIR": home,
            "RAY_AUTH_MODE": "token",
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            [*enter, *command],
            env=user,
            timeout=timeout,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )

    def must_run(self, *command: str) -> str:
        """The same, of what has to go well; what it prints."""
        done = self.run(*command)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def results(self) -> list[Path]:
        return sorted(self.head.glob("runs/*/result.json"))


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A cluster that `ray up` has brought up."""
    folder = tmp_path_factory.mktemp("launcher")
    prepare(folder)
    sshd = shutil.which("sshd", path=PATH)
    machines = {name: MACHINE.format(folder=folder, name=name, address=ip, sshd=sshd) for name, ip in ADDRESSES.items()}
    command = BOTH.format(folder=folder, **machines)
    holder = subprocess.Popen(
        ["unshare", *ISOLATED, "-f", "--mount-proc", "--kill-child=SIGKILL", "bash", "-c", command]
    )
    try:
        wait_for(lambda: (folder / "ready").exists() or holder.poll() is not None, 20)
        assert holder.poll() is None, "no namespaces here"
        laptop = Laptop(folder, int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text()))
        laptop.must_run("ray", "get-auth-token", "--generate")
        laptop.must_run("ray", "up", "-y", "cluster.yaml")
        yield laptop
    finally:
        holder.kill()  # and with it, all that runs in there
        holder.wait()


def prepare(folder: Path) -> None:
    """Keys, SSH servers, a store, a copy of the repository, and nodes on which the lock file's packages are
    installed.
    """
    for name in ("laptop", "store/data", "store/runs", "head/ray", "worker/ray"):
        (folder / name).mkdir(parents=True)
    (folder / "store" / "data" / "readme.txt").write_text("a data set")
    for shared in ("/run/sshd", "/tmp/ray"):
        Path(shared).mkdir(parents=True, exist_ok=True)
    for name in ("id", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "sshd_config").write_text(SSHD.format(folder=folder))
    for name in ADDRESSES:
        users = Path("/etc/passwd").read_text().splitlines()
        users = [f"root:x:0:0:root:{folder / name}:/bin/bash" if user.startswith("root:") else user for user in users]
        (folder / name / "passwd").write_text("\n".join([*users, ""]))
        install_packages(folder / name / "venv")
    wheel = [
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder / "wheels"),
        "setuptools>=77",
    ]  # builds the package
    subprocess.run([sys.executable, "-m", *wheel], check=True)
    for name in ("zcpt_ray", "jobs"):
        shutil.copytree(ROOT / name, folder / "repository" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "requirements.lock"):
        shutil.copy(ROOT / name, folder / "repository")
    config = on_this_machine(ADDRESSES["head"], [ADDRESSES["worker"]], folder / "id", folder / "store")
    (folder / "repository" / "cluster.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def install_packages(venv: Path) -> None:
    """A virtual environment that finds the packages of ours, so that pip has nothing of the lock file left to
    install.
    """
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text(next(path for path in sys.path if (Path(path) / "ray").is_dir()))
    script = venv / "bin" / "ray"
    script.write_text(f"#!{venv}/bin/python\nimport sys\nfrom ray.scripts.scripts import main\nsys.exit(main())\n")
    script.chmod(0o755)


SUBMIT = ("ray", "submit", "cluster.yaml", "jobs/darts_search.py")
JOB_SUBMIT = ("ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--", "python", "zcpt/jobs/darts_search.py")


def test_up_sets_the_head_up(laptop: Laptop) -> None:
    assert (laptop.head / "data" / "readme.txt").read_text() == "a data set"
    imported = laptop.must_run("ray", "exec", "cluster.yaml", "python -c 'import zcpt_ray; print(zcpt_ray.__file__)'")
    assert f"{laptop.head}/zcpt/zcpt_ray/__init__.py" in imported
    assert (laptop.head / ".ray/auth_token").read_text() == (laptop.folder / "laptop/.ray/auth_token").read_text()
    ask = (
        "grpc.insecure_channel('localhost:6379').unary_unary('/ray.rpc.NodeInfoGcsService/CheckAlive')(b'', timeout=9)"
    )
    assert "StatusCode.UNAUTHENTICATED" in laptop.run("python", "-c", f"import grpc; {ask}").stdout


def test_submit_runs_a_search_and_its_result_reaches_the_store(laptop: Laptop) -> None:
    assert "Best: " in laptop.must_run(*SUBMIT, "--", "--smoke")
    (result,) = laptop.results()
    kept = laptop.folder / "store" / "runs" / result.relative_to(laptop.head / "runs")
    wait_for(kept.exists, 60)
    assert json.loads(kept.read_text()) == json.loads(result.read_text())
    secret = (laptop.head / ".ray/auth_token").read_bytes()
    assert not [path for path in result.parent.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_a_failing_job_is_seen_by_the_caller(laptop: Laptop) -> None:
    failed = laptop.run(*SUBMIT, "--", "--dataset", "nonsense")
    assert failed.returncode == 1  # whatever the job's was
    assert "error: unknown dataset 'nonsense'" in failed.stdout, failed.stdout


def test_the_worker_joins_and_has_the_package(laptop: Laptop) -> None:
    wait_for(lambda: "2 local.cluster.node" in laptop.must_run("ray", "exec", "cluster.yaml", "ray status"), 120)
    assert (laptop.folder / "worker/zcpt/zcpt_ray/__init__.py").exists()


def test_a_change_of_code_reaches_the_node(laptop: Laptop) -> None:
    with (laptop.repository / "zcpt_ray" / "configs.py").open("a") as file:
        file.write('\nprint("changed", __file__)\n')
    laptop.must_run("ray", "up", "-y", "cluster.yaml")
    again = laptop.must_run(*SUBMIT, "--smoke")  # flags that `ray submit` has not itself need no --
    assert f"changed {laptop.head}/zcpt/zcpt_ray/configs.py" in again
    assert "This search is finished" in again


def test_results_are_fetched(laptop: Laptop) -> None:
    laptop.must_run("ray", "rsync-down", "cluster.yaml", "~/runs/", "runs")
    assert len(list(laptop.repository.glob("runs/*/result.json"))) == len(laptop.results()) > 0


@pytest.mark.slow
def test_job_submit_runs_the_same_job(laptop: Laptop) -> None:
    done = laptop.must_run(*JOB_SUBMIT, "--smoke", "--space", "toy-chain-2")
    assert "Best: " in done
    assert len(laptop.results()) == 2
    failed = laptop.run(*JOB_SUBMIT, "--dataset", "nonsense")
    assert failed.returncode == 1, failed.stdout
    refused = laptop.run("env", "RAY_AUTH_MODE=disabled", *JOB_SUBMIT, "--help")
    assert refused.returncode, "the dashboard answers without a token"


def test_down_ends_ray(laptop: Laptop) -> None:
    laptop.must_run("ray", "down", "-y", "cluster.yaml")
    left = laptop.must_run("ps", "-eo", "args")
    assert "raylet" not in left
    assert "gcs_server" not in left
