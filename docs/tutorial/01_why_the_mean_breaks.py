"""
1. Why the mean breaks
======================

Federated averaging replaces the model by the mean of what clients send. One client who lies can put
that mean anywhere.
"""

import matplotlib.pyplot as plt
import torch

import byzflower as bf

generator = torch.Generator().manual_seed(1)
honest = torch.randn(12, 2, generator=generator) + torch.tensor([2.0, 1.0])

# %%
# Twelve honest clients agree on a direction, up to the noise of their data. A thirteenth wants the
# server to end at ``target``. It knows what the others send, so it sends what is missing:

target = torch.tensor([-3.0, 3.0])
lie = 13 * target - honest.sum(dim=0)
updates = torch.cat([honest, lie[None]])
print("honest mean:   ", honest.mean(dim=0))
print("mean of all 13:", updates.mean(dim=0))
print("the lie:       ", lie)

# %%
# The lie is far from everybody else's update, and the mean does not mind. A rule that does: the
# coordinate-wise median.

robust = bf.Median()(updates, f=1)
print("median of all 13:", robust)

figure, axes = plt.subplots(figsize=(6, 4))
axes.scatter(*honest.T, color="#0072B2", label="honest updates")
axes.scatter(*honest.mean(dim=0), marker="x", s=90, color="#0072B2", label="honest mean")
axes.scatter(*target, marker="X", s=90, color="#D55E00", label="mean of all 13 (the liar's target)")
axes.scatter(*robust, marker="*", s=160, color="black", label="median of all 13")
axes.legend(frameon=False)
axes.set_aspect("equal", adjustable="datalim")
axes.grid(alpha=0.3)
plt.show()

# %%
# How far can one liar move a rule? Let it walk away from the others and watch.

distances = torch.logspace(0, 4, 40)
for name in ("mean", "median", "krum", "geometric_median"):
    rule = bf.parse(name)
    moved = [
        (rule(torch.cat([honest, honest.mean(dim=0)[None] - r]), f=1) - honest.mean(dim=0)).norm()
        for r in distances
    ]
    plt.loglog(distances, moved, label=name)
plt.xlabel("distance of the lie")
plt.ylabel("distance of the aggregate from the honest mean")
plt.legend(frameon=False)
plt.grid(alpha=0.3)
plt.show()

# %%
# The mean follows the liar to the end of the world; the others stop caring. That is all that
# *Byzantine-robust aggregation* means: whatever f of n rows say, the result stays near the honest
# ones.
