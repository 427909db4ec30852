"""
6. Adaptive robust clipping
===========================

Mixing still lets a liar's length count. Clipping every update to a fixed norm helps against some
attacks and ruins the guarantees against others. *ARC* chooses the norm from the updates themselves:
it clips the k = ⌊2(f/n)(n − f)⌋ longest rows to the length of the next one.
"""

import matplotlib.pyplot as plt
import torch

import byzflower as bf
from byzflower.simulations.experiment import Experiment
from byzflower.simulations.runner import run_experiment

generator = torch.Generator().manual_seed(2)
honest = torch.randn(10, 50, generator=generator) * torch.linspace(0.3, 2.0, 10)[:, None]
updates = torch.cat([honest, 12 * honest[:3]])
report = bf.parse("arc > trimmed_mean").explain(updates, f=3)
threshold = report.steps[0].note["threshold"]
print(f"threshold {threshold:.2f}, clipped rows {report.steps[0].note['clipped_rows']}")

colours = ["#0072B2"] * 10 + ["#D55E00"] * 3
plt.bar(range(13), updates.norm(dim=1).tolist(), color=colours)
plt.axhline(threshold, color="black", ls="--", label="ARC's threshold")
plt.yscale("log")
plt.xlabel("client (the last three lie)")
plt.ylabel("norm of the update")
plt.legend(frameon=False)
plt.show()

# %%
# Three servers under the same attack, ``foe(tau=10)``, on data that differ from client to client.
# This is what ``byzflower run`` shows by default.

for rule in ("mean", "trimmed_mean", "arc > nnm > trimmed_mean"):
    seen = []
    run_experiment(
        Experiment(rule=rule, rounds=150, evaluate_every=10),
        lambda round, seen=seen: seen.append((round.round, round.accuracy)),
    )
    plt.plot(*zip(*seen, strict=True), label=rule)
plt.xlabel("round")
plt.ylabel("test accuracy")
plt.legend(frameon=False)
plt.grid(alpha=0.3)
plt.show()
