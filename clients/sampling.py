"""Which examples a client draws in a round, and the key of its dropout.

Everything follows from (seed, partition_id, server_round) through a counter-based generator:
Philox with the seed and the partition id as key, the round and the purpose in the high words of
the counter. Engines and orders of execution therefore agree, and no two draws overlap.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from byzflower.validation import non_negative_int

__all__ = ["client_generator", "draw_batch"]

_PURPOSES = {"batch": 0, "attack": 1, "augmentation": 2}
_LIMIT = 2**64


def client_generator(
    seed: int,
    partition_id: int,
    server_round: int,
    purpose: Literal["batch", "attack", "augmentation"] = "batch",
) -> np.random.Generator:
    """Return the generator of one client in one round, for one purpose.

    Raises
    ------
    ValueError
        If seed, partition_id or server_round is no integer in [0, 2**64).

    Examples
    --------
    >>> [int(client_generator(1, 0, t).integers(100)) for t in (1, 1, 2)]
    [33, 33, 44]
    """
    numbers = {"seed": seed, "partition_id": partition_id, "server_round": server_round}
    for name, value in numbers.items():
        if non_negative_int(value, name) >= _LIMIT:
            raise ValueError(f"`{name}` needs an integer < 2**64; found {value}")
    key = np.array([seed, partition_id], dtype=np.uint64)
    # The low words count the draws; the high ones keep rounds and purposes apart.
    counter = np.array([0, 0, _PURPOSES[purpose], server_round], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def draw_batch(
    seed: int, partition_id: int, server_round: int, num_examples: int, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], int]:
    """Return the examples of the client's batch in a round, and the key of its dropout masks.

    A batch has no repetitions; the batches of different rounds and local steps are independent.

    Parameters
    ----------
    num_examples
        m_i ≥ 1, how many examples the client has.
    shape
        (b,), or (steps, b) for one batch per local step (``Algorithm.batch_shape``). A batch
        larger than m_i is cut to m_i.

    Returns
    -------
    tuple
        int64 indices, (min(b, m_i),) or (steps, min(b, m_i)), and a key in [0, 2**31).

    Raises
    ------
    ValueError
        If the client has no example, or a size in ``shape`` is not positive.

    Examples
    --------
    >>> indices, key = draw_batch(1, 0, 5, num_examples=100, shape=(4,))
    >>> indices.shape
    (4,)
    >>> sorted(draw_batch(1, 0, 5, num_examples=3, shape=(10,))[0].tolist())
    [0, 1, 2]
    """
    if num_examples < 1:
        raise ValueError(
            f"client {partition_id} needs at least one training example; found {num_examples}"
        )
    if min(shape) < 1:
        raise ValueError(f"`shape` needs sizes ≥ 1; found {shape}")
    rng = client_generator(seed, partition_id, server_round)
    key = int(rng.integers(2**31))
    size = min(shape[-1], num_examples)
    indices = np.empty((*shape[:-1], size), dtype=np.int64)
    for row in indices.reshape(-1, size):
        row[:] = rng.choice(num_examples, size, replace=False, shuffle=False)
    return indices, key
