"""
5. When clients' data differ
============================

Momentum averages a client's own noise away. It cannot average away that clients see different data:
then honest updates differ even without noise, and liars hide among them again.
"""

import matplotlib.pyplot as plt
import numpy as np

from byzflower.simulations.experiment import Experiment
from byzflower.simulations.partitions import parse_partition
from byzflower.simulations.runner import run_experiment

labels = np.random.default_rng(0).integers(0, 10, 1400)
partitions = ("iid", "dirichlet(alpha=0.3)", "extreme")
figure, axes = plt.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
for panel, spec in zip(axes, partitions, strict=True):
    shares = parse_partition(spec).split(labels, 10, seed=0)
    counts = np.stack([np.bincount(labels[share], minlength=10) for share in shares])
    panel.imshow(counts.T, cmap="cividis", origin="lower")
    panel.set(title=spec, xlabel="client")
axes[0].set_ylabel("class")
plt.show()

# %%
# *Nearest-neighbour mixing* (NNM) replaces each update by the average of the n − f updates nearest
# to it. Honest ones become alike, and the rule behind it has an easier task.

for rule in ("trimmed_mean", "nnm > trimmed_mean"):
    finals = []
    for partition in partitions:
        seen = []
        experiment = Experiment(
            n=13, f=3, partition=partition, attack="foe(tau=10)", rule=rule, rounds=150,
            evaluate_every=50,
        )  # fmt: skip
        run_experiment(experiment, lambda round, seen=seen: seen.append(round.accuracy))
        finals.append(seen[-1])
    plt.plot(partitions, finals, marker="o", label=rule)
plt.ylabel("final test accuracy")
plt.ylim(0, 1)
plt.legend(frameon=False)
plt.grid(alpha=0.3)
plt.show()
