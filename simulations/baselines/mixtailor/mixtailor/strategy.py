"""mixtailor: a rule drawn anew in every round (Section 3), or one of its pool alone."""

import byzflower as bf
from byzflower.strategies import Robust, ServerSGD
from flwr.app import UserConfig


def make_rule(name: str, resampling: int) -> bf.Aggregator:
    """Return MixTailor, or a rule to compare it with.

    MixTailor's pool has 64 rules: Krum and the geometric median, each with the norms ℓ1
    to ℓ16; 16 times the coordinate-wise median; and 16 kinds of Bulyan, with Krum, the
    geometric median, the median or the mean in the selection and in the aggregation
    phase. In every round each of them is equally likely.

    Parameters
    ----------
    name : str
        ``"mixtailor"``, or a rule such as ``"krum"``, ``"median"`` and ``"mean"``.
    resampling : int
        s: every rule gets averages of s of the workers' gradients, each gradient in s
        averages, for workers whose data differ; 0 for the gradients as they are.

    Examples
    --------
    >>> make_rule("krum", 2).spec
    'resampling(s=2) > krum'
    """
    if name == "mixtailor":
        return bf.MixTailor(resampling=resampling or None)
    before = f"resampling(s={resampling}) > " if resampling else ""
    return bf.parse(before + name)


def make_strategy(config: UserConfig, num_nodes: int) -> Robust:
    """Return SGD on the server with the rule's aggregate as its gradient.

    Parameters
    ----------
    config : UserConfig
        The run's configuration. Its seed makes the draws foreseeable, which is for
        simulations only; without one they come from the operating system.
    num_nodes : int
        n, how many workers the server waits for; f of them are malicious.
    """
    server = ServerSGD(
        float(config["learning-rate"]),
        momentum=float(config["momentum"]),
        fraction_evaluate=0.0,
        min_train_nodes=num_nodes,
        min_available_nodes=num_nodes,
    )
    return Robust(
        server,
        make_rule(str(config["rule"]), int(config["resampling"])),
        int(config["num-malicious-nodes"]),
        "gradient",
        seed=int(config["seed"]),
        max_skipped_rounds=None,  # a model that an attack broke stays as it is
    )
