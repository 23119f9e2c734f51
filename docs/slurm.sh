#!/bin/bash
# A command of zcpt on the nodes of a SLURM allocation: Ray is started on them, and ends with the job.
#   sbatch --nodes 4 docs/slurm.sh search --space darts --dataset cifar10 --out ~/runs/darts
# Adapt the lines of #SBATCH. The project, its environment and --out must be on a disk that all nodes see.
#SBATCH --job-name=zcpt
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --time=04:00:00
set -euo pipefail
PATH=${ZCPT_ENVIRONMENT:-$SLURM_SUBMIT_DIR/.venv}/bin:$PATH
# Nobody else on these nodes may give our Ray work: a secret of this job, and ports that other jobs do not take.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
port=$((20000 + SLURM_JOB_ID % 20000))
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
ip=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --ip-address | awk '{print $1}')
trap 'jobs -p | xargs --no-run-if-empty kill' EXIT
ours=(--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_PER_TASK:-0}" --disable-usage-stats --block)
srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" \
  ray start --head --node-ip-address="$ip" --port="$port" --include-dashboard=false "${ours[@]}" &
for node in "${nodes[@]:1}"; do
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" ray start --address="$ip:$port" "${ours[@]}" &
done
# A search decides at its start whether it has GPUs: so wait for all nodes, five minutes at most.
python - "$ip:$port" "${#nodes[@]}" <<'END'
import sys, time
import ray

address, wanted = sys.argv[1], int(sys.argv[2])
for _ in range(60):
    try:
        ray.init(address, log_to_driver=False)
        there = sum(node["Alive"] for node in ray.nodes())
        ray.shutdown()
        if there == wanted:
            sys.exit()
    except ConnectionError:
        there = 0
    time.sleep(5)
sys.exit(f"only {there} of {wanted} nodes have joined")
END
zcpt "$1" --address "$ip:$port" "${@:2}"
