"""
7. What is proved, and what a search finds
==========================================

A rule is (f, κ)-robust if its result is never further from the mean of any n − f rows than √κ times
their spread. The papers prove a κ for many compositions; smaller is better, and below f/(n − 2f)
nobody can get.
"""

import matplotlib.pyplot as plt

from byzflower.certify import certify
from byzflower.theory import bounds

n = 15
for rule in ("krum_star", "geometric_median", "nnm > geometric_median", "nnm > trimmed_mean"):
    points = [(f / n, bounds(rule, n, f).kappa_bound) for f in range(1, 7)]
    known = [(x, kappa) for x, kappa in points if kappa is not None]
    if known:
        plt.semilogy(*zip(*known, strict=True), marker="o", label=rule)
best = [(f / n, f / (n - 2 * f)) for f in range(1, 7)]
plt.semilogy(*zip(*best, strict=True), "k:", label="f/(n − 2f)")
plt.xlabel("f / n")
plt.ylabel("κ (lower is better)")
plt.legend(frameon=False)
plt.grid(alpha=0.3)
plt.show()

# %%
# A theorem is about all inputs, an implementation is code. ``certify`` searches for the input that
# is worst for the code, and sets it beside the proved bound.

certificate = certify("nnm > trimmed_mean", n=9, f=2, dimension=3, evaluations=500)
print(f"κ proved {certificate.kappa_bound:.2f}, worst found {certificate.kappa_found:.2f}")
print("no violation found" if certificate.holds else "violated")

# %%
# On the command line: ``byzflower certify "nnm > trimmed_mean" --n 11 --f 3``.
