"""
2. Rules that hold
==================

There are two families. *Coordinate-wise* rules (median, trimmed mean, MeaMed) look at one number of
the model at a time. *Distance* rules (Krum, MDA, geometric median, …) look at which updates lie
near each other. Both know f, the number of liars they may face, and nothing else.
"""

import matplotlib.pyplot as plt
import torch

import byzflower as bf

generator = torch.Generator().manual_seed(3)
honest = torch.randn(10, 2, generator=generator)
liars = torch.tensor([[4.0, 4.0], [4.2, 3.8], [3.9, 4.3]])
updates = torch.cat([honest, liars])

# %%
# A rule is called with the rows and f. ``explain`` says what it did: the weight that each row got.

for name in ("trimmed_mean", "krum", "multi_krum", "mda", "geometric_median"):
    report = bf.parse(name).explain(updates, f=3)
    distance = (report.value - honest.mean(dim=0)).norm()
    weight = "coordinate by coordinate" if report.weights is None else report.weights[-3:].sum()
    print(f"{name:17} {distance:5.2f} from the honest mean; liars' weight: {weight}")

# %%
# None of them knows who lies. They know that at least ten rows are honest, and that the honest ones
# lie near each other.

figure, axes = plt.subplots(figsize=(6, 4.4))
axes.scatter(*honest.T, color="#0072B2", label="honest")
axes.scatter(*liars.T, color="#D55E00", marker="v", label="liars")
axes.scatter(*updates.mean(dim=0), color="#7F7F7F", marker="x", s=80, label="mean")
for name, marker in [("trimmed_mean", "*"), ("krum", "s"), ("mda", "D"), ("geometric_median", "P")]:
    axes.scatter(*bf.parse(name)(updates, f=3), s=90, marker=marker, label=name, alpha=0.8)
axes.legend(frameon=False, fontsize="small")
axes.grid(alpha=0.3)
plt.show()

# %%
# Every rule has a range. Where the honest rows are no majority that it can tell apart, it says so
# instead of returning something.

try:
    bf.Krum()(updates, f=6)
except bf.InfeasibleError as error:
    print(error)
