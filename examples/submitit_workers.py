"""Have SLURM start workers one by one, as it has room for them, with submitit; the scheduler runs where you are.

    python -m distributed.cli.dask_scheduler --port 8786 &
    python examples/submitit_workers.py tcp://$(hostname -f):8786 40
    RELEVANCE_CLUSTER=tcp://$(hostname -f):8786 make record RUNS=mnist-dense

submitit hands over by pickled files which command it is to run; no result of this project goes through them.
"""

from __future__ import annotations

import subprocess
import sys

import submitit


def main(address: str, n_workers: str) -> None:
    """Submit an array of jobs, each of which is a worker until its time is up."""
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
    executor = submitit.AutoExecutor(folder="_build/slurm")
    executor.update_parameters(name="worker", timeout_min=480, cpus_per_task=1, mem_gb=4)
    for job in executor.map_array(subprocess.call, [worker] * int(n_workers)):
        print(job.job_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
