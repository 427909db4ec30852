"""
9. Which defence survives which attack
======================================

The same small federation, ten honest clients whose data differ (Dirichlet 0.3) and three colluders,
under every attack that forges updates, for the common defences. Each number is the test accuracy
after 60 rounds on scikit-learn's digits; chance is 10 %.
"""

import matplotlib.pyplot as plt
import numpy as np

from byzflower.simulations.experiment import Experiment
from byzflower.simulations.runner import run_experiment

rules = (
    "mean", "median", "trimmed_mean", "krum", "geometric_median", "centered_clipping(tau=1)",
    "nnm > trimmed_mean", "arc > nnm > trimmed_mean",
)  # fmt: skip
attacks = (
    "none", "sign_flip", "foe(tau=10)", "alie(tau=1.5)", "mimic", "gaussian(std=100)",
    "label_flip", "nan",
)  # fmt: skip


def final_accuracy(rule, attack):
    """Test accuracy after the last round."""
    last = []
    experiment = Experiment(rule=rule, attack=attack, rounds=60, evaluate_every=60)
    run_experiment(experiment, lambda round: last.append(round.accuracy))
    return last[-1]


table = np.array([[final_accuracy(rule, attack) for attack in attacks] for rule in rules])

figure, axes = plt.subplots(figsize=(8.5, 4.6), layout="constrained")
image = axes.imshow(table, cmap="cividis", vmin=0, vmax=1)
axes.set_xticks(range(len(attacks)), attacks, rotation=25, ha="right")
axes.set_yticks(range(len(rules)), rules)
for i, j in np.ndindex(table.shape):
    colour = "white" if table[i, j] < 0.5 else "black"
    axes.text(j, i, f"{table[i, j]:.0%}", ha="center", va="center", color=colour)
figure.colorbar(image, label="test accuracy")
plt.show()

# %%
# The worst case over the attacks, and the price where nobody attacks:

for i in np.argsort(-table.min(axis=1)):
    print(f"{rules[i]:26} worst {table[i].min():4.0%}, without attack {table[i, 0]:4.0%}")
