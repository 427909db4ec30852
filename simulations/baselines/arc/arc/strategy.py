"""arc: Robust-DSGD (Algorithm 3) with adaptive robust clipping (ARC, Algorithm 2)."""

import byzflower as bf
from byzflower.strategies import Robust, ServerSGD
from flwr.app import UserConfig


def make_rule(clipping: str, aggregation: str) -> bf.Aggregator:
    """Return aggregation ∘ NNM ∘ clipping.

    NNM replaces each vector by the mean of its n - f nearest ones, itself included.
    Clipping scales vectors that are longer than C down to it. With ARC, C is no
    parameter: the k = ⌊2 (f/n) (n - f)⌋ longest of the n vectors are scaled down to the
    length of the next, so C follows what the workers send.

    Parameters
    ----------
    clipping : str
        ``"arc"``, ``"none"``, or a number, the constant C of static clipping.
    aggregation : str
        ``trimmed_mean``, ``geometric_median``, ``median`` or ``multi_krum_star``; the
        paper's CWTM, GM, CWMed and MK.

    Examples
    --------
    >>> make_rule("arc", "median").spec
    'arc > nnm > median'
    """
    before = {"arc": "arc > ", "none": ""}.get(clipping, f"clip(c={clipping}) > ")
    return bf.parse(f"{before}nnm > {aggregation}")


def make_strategy(config: UserConfig, num_nodes: int) -> Robust:
    """Return Robust-DSGD: θ ← θ - γ R, R the aggregate of the workers' momentums.

    Parameters
    ----------
    config : UserConfig
        The run's configuration.
    num_nodes : int
        n, how many workers the server waits for; f of them are malicious.
    """
    server = ServerSGD(
        str(config["learning-rate"]),
        fraction_evaluate=0.0,
        min_train_nodes=num_nodes,
        min_available_nodes=num_nodes,
    )
    return Robust(
        server,
        make_rule(str(config["clipping"]), str(config["aggregation"])),
        int(config["num-malicious-nodes"]),
        "gradient",
        seed=int(config["seed"]),
        max_skipped_rounds=None,  # a model that an attack broke stays as it is
    )
