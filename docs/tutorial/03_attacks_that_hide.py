"""
3. Attacks that hide
====================

A liar who shouts is found by any rule. The attacks of the literature stay among the honest updates,
and still do harm: they use the *variance* of the honest ones.
"""

import matplotlib.pyplot as plt
import torch

import byzflower as bf

n, f, d = 15, 4, 1000
generator = torch.Generator().manual_seed(0)
direction = torch.full((d,), 0.3)
honest = direction + torch.randn(n - f, d, generator=generator)

# %%
# *A little is enough* (ALIE): send the honest mean plus a little of the honest standard deviation,
# in every coordinate. No coordinate stands out.

forged = bf.parse_attack("alie(tau=1)")(honest, f)
plt.hist(honest[:, 0].tolist(), bins=11, color="#0072B2", label="honest values of one coordinate")
plt.axvline(forged[0, 0], color="#D55E00", lw=3, label="what the liars send")
plt.ylim(0, 3)
plt.yticks(range(4))
plt.ylabel("clients")
plt.legend(frameon=False)
plt.show()

# %%
# Summed over a thousand coordinates it matters. Which attack hurts which rule? The number is the
# cosine between the aggregate and what the honest clients want; 1 is no harm, below 0 the model
# gets worse.

rules = ("mean", "trimmed_mean", "median", "krum", "geometric_median", "nnm > trimmed_mean")
attacks = ("sign_flip", "foe(tau=10)", "alie(tau=1.5)", "alie(tau=adaptive)", "mimic")
table = torch.zeros(len(rules), len(attacks))
for i, name in enumerate(rules):
    rule = bf.parse(name)
    for j, attack in enumerate(attacks):
        rows = bf.parse_attack(attack)(honest, f, rule=rule, rng=torch.Generator().manual_seed(1))
        value = rule(torch.cat([honest, rows]), f=f)
        table[i, j] = torch.cosine_similarity(value, honest.mean(dim=0), dim=0)

figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
image = axes.imshow(table, cmap="RdBu", vmin=-1, vmax=1)
axes.set_xticks(range(len(attacks)), attacks, rotation=25, ha="right")
axes.set_yticks(range(len(rules)), rules)
for i in range(len(rules)):
    for j in range(len(attacks)):
        colour = "white" if table[i, j].abs() > 0.6 else "black"
        axes.text(j, i, f"{table[i, j]:.2f}", ha="center", va="center", color=colour)
figure.colorbar(image, label="cosine with the honest mean")
plt.show()

# %%
# ``adaptive`` attacks try fifty factors against the server's own rule and send the worst. They are
# what a defence should be measured by.
