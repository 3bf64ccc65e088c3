#!/bin/sh
# Record runs on the nodes that SLURM gives, from the project's folder on a file system that all of them share:
#   make book                               # once, on the login node: it makes .venv
#   .venv/bin/pip install 'dask>=2026.8' 'distributed>=2026.8'
#   sbatch examples/slurm.sh mnist-dense    # again, when the time was up: it goes on where it was
#SBATCH --job-name=record
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=08:00:00
#SBATCH --output=record-%j.log
set -eu

PY=$PWD/.venv/bin/python
HOST=$(hostname -f)
PORT=$((20000 + SLURM_JOB_ID % 20000))
# One thread a worker: sums over several differ in their last digits.
export OMP_NUM_THREADS=1
# A worker keeps nothing of its own: what it made is in the store, and what it sends back is nothing.
export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False

# While Python imports torch it answers nobody, and many that begin at once may take long.
export DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP=300s DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT=300s

# Who reaches the port may run what it likes as you: behind a firewall, or with Dask's TLS certificates.
"$PY" -m distributed.cli.dask_scheduler --host "$HOST" --port "$PORT" --no-dashboard &
srun --ntasks="$SLURM_NTASKS" "$PY" -m distributed.cli.dask_worker "tcp://$HOST:$PORT" \
    --nthreads 1 --no-dashboard --preload relevance.studies.carbone.pieces --local-directory "${TMPDIR:-/tmp}" &
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

RELEVANCE_CLUSTER="tcp://$HOST:$PORT" make record RUNS="$*"
