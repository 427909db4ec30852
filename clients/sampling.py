"""Which examples a client draws in a round, and the key of its dropout.

Everything follows from (seed, partition_id, server_round) through a counter-based generator:
Philox with the seed and the partition id as key, the round and the purpose in the high words of
the counter. Engines and orders of execution therefore agree, and no two draws overlap.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["batch_indices", "client_generator", "random_key"]

_PURPOSES = {"batch": 0, "key": 1, "attack": 2}


def client_generator(
    seed: int,
    partition_id: int,
    server_round: int,
    purpose: Literal["batch", "key", "attack"] = "batch",
) -> np.random.Generator:
    """Return the generator of one client in one round, for one purpose.

    Raises
    ------
    ValueError
        If seed, partition_id or server_round is not in [0, 2**64).

    Examples
    --------
    >>> [int(client_generator(1, 0, t).integers(100)) for t in (1, 1, 2)]
    [33, 33, 44]
    """
    for name, value in (
        ("seed", seed),
        ("partition_id", partition_id),
        ("server_round", server_round),
    ):
        if not 0 <= value < 2**64:
            raise ValueError(f"`{name}` must be in [0, 2**64); found {value}")
    key = np.array([seed, partition_id], dtype=np.uint64)
    # The low words count the draws; the high ones keep rounds and purposes apart.
    counter = np.array([0, 0, _PURPOSES[purpose], server_round], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def batch_indices(
    seed: int, partition_id: int, server_round: int, num_examples: int, shape: tuple[int, ...]
) -> npt.NDArray[np.int64]:
    """Return the examples of the client's batch, without repetition inside a batch.

    Parameters
    ----------
    num_examples
        m_i ≥ 1, how many examples the client has.
    shape
        (b,), or (steps, b) for one independent batch per local step
        (``Algorithm.batch_shape``). A batch larger than m_i is cut to m_i.

    Returns
    -------
    numpy.ndarray
        int64, (min(b, m_i),) or (steps, min(b, m_i)).

    Examples
    --------
    >>> batch_indices(1, 0, 5, num_examples=100, shape=(4,)).shape
    (4,)
    >>> sorted(batch_indices(1, 0, 5, num_examples=3, shape=(10,)).tolist())
    [0, 1, 2]
    """
    if num_examples < 1:
        raise ValueError(
            f"client {partition_id} needs at least one training example; found {num_examples}"
        )
    if any(size < 1 for size in shape):
        raise ValueError(f"`shape` must hold sizes ≥ 1; found {shape}")
    rng = client_generator(seed, partition_id, server_round)
    size = min(shape[-1], num_examples)
    rows = [
        rng.choice(num_examples, size, replace=False, shuffle=False)
        for _ in range(int(np.prod(shape[:-1])))
    ]
    return np.stack(rows).astype(np.int64, copy=False).reshape(*shape[:-1], size)


def random_key(seed: int, partition_id: int, server_round: int) -> int:
    """Return the client's key of the round, in [0, 2**31): dropout masks and torch's seed.

    Examples
    --------
    >>> random_key(1, 0, 5) == random_key(1, 0, 5)
    True
    """
    return int(client_generator(seed, partition_id, server_round, "key").integers(2**31))
