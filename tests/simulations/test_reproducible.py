"""One seed gives the same bytes for any number of threads, hash seed and global random state."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Prints a hash of each run's records, times aside, and model.
SCRIPT = """
import hashlib, json, random, sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from byzflower.simulations.experiment import Experiment
from byzflower.simulations.recording import record_run
from byzflower.simulations.results import ResultsFile, read_records

threads, seed = int(sys.argv[1]), int(sys.argv[2])
random.seed(seed)
np.random.seed(seed)
torch.manual_seed(seed)
RUNS = {
    "searching": {"attack": "alie(tau=adaptive)", "rule": "arc > nnm > geometric_median"},
    "random": {"attack": "mimic(warmup=2)", "rule": "bucketing(s=2) > median", "client": "saga"},
    "sampled": {"attack": "foe(tau=10)", "rule": "mixtailor(pool=[median, krum])",
                "client": "local_sgd(steps=2)", "n": 10, "f": 1, "fraction_train": 0.8},
}
for name, options in RUNS.items():
    for engine in ("batched", "inprocess"):
        experiment = Experiment.from_options(
            {"n": 9, "f": 2, "rounds": 2, "model": "mlp(width=16)", **options,
             "engine": engine, "threads": threads}
        )
        with TemporaryDirectory() as folder:
            with ResultsFile(Path(folder)) as results:
                record_run(experiment, results)
            # The run's id is made from the options, the number of threads included.
            told = [{k: v for k, v in record.items() if k not in {"seconds", "threads", "run"}}
                    for record in read_records(Path(folder))]
            (model,) = Path(folder).glob("model-*.npz")
            arrays = b"".join(value.tobytes() for _, value in sorted(np.load(model).items()))
        text = json.dumps(told, sort_keys=True)
        print(name, engine, hashlib.sha256(text.encode() + arrays).hexdigest())
"""


@pytest.mark.slow
def test_the_same_bytes_for_any_threads_hash_seed_and_global_random_state() -> None:
    settings = (("1", "0", "0"), ("2", "1", "5"), ("3", "random", "7"))
    running = []
    for threads, hash_seed, seed in settings:
        own = {
            "PYTHONHASHSEED": hash_seed,
            "OMP_NUM_THREADS": threads,
            "OMP_WAIT_POLICY": "passive",
        }
        command = [sys.executable, "-c", SCRIPT, threads, seed]
        running.append(subprocess.Popen(command, env={**os.environ, **own}, stdout=subprocess.PIPE))
    first, *others = (process.communicate()[0].splitlines() for process in running)
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(set(first)) == 6
    assert others == [first, first]
