from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.functional import cross_entropy

from byzflower.clients.algorithms import (
    RSA,
    Algorithm,
    Batch,
    Gradient,
    LocalSGD,
    Momentum,
    Objective,
    Saga,
    State,
)
from byzflower.clients.table import GradientTable

EXAMPLES = 12
ALL = [
    Gradient(),
    Gradient(clip=0.5),
    Momentum(beta=0.9),
    Momentum(beta=0.5, clip=0.1),
    LocalSGD(steps=3, learning_rate=0.1),
    LocalSGD(steps=3, learning_rate=0.1, momentum=0.9),
    Saga(),
    RSA(lam=0.01, learning_rate=0.1),
]


def network(dtype: torch.dtype = torch.float32, *, norm: bool = True) -> nn.Module:
    middle = nn.BatchNorm1d(5) if norm else nn.Tanh()
    return nn.Sequential(nn.Linear(4, 5), middle, nn.Dropout(0.2), nn.Linear(5, 3)).to(dtype)


def data(seed: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(EXAMPLES, 4, generator=rng, dtype=dtype)
    return x, torch.randint(3, (EXAMPLES,), generator=rng)


def key(value: int) -> Tensor:
    return torch.tensor(value, dtype=torch.int32)


def prepared(
    algorithm: Algorithm, objective: Objective, client: int, dtype: torch.dtype = torch.float32
) -> tuple[Batch, State]:
    x, y = data(client, dtype)
    rows = torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(client))[:4]
    shape = algorithm.batch_shape(4)
    rows = rows.expand(shape)
    params, buffers = objective.split(objective.initial())
    state = algorithm.init_state(params)
    if algorithm.per_sample:
        table = GradientTable(EXAMPLES, params)
        older = {name: p * 0.9 for name, p in params.items()}
        table.fill(objective, older, buffers, Batch(x, y, key(0)))
        state = table.state(rows)
    state = {n: v + client / 10 if v.ndim else v for n, v in state.items()}
    return Batch(x[rows], y[rows], key(client)), state


@pytest.mark.parametrize("algorithm", ALL, ids=repr)
def test_vmap_over_clients_equals_a_loop(algorithm):
    objective = Objective(network(norm=not algorithm.per_sample), l2=0.01)
    params, buffers = objective.split(objective.initial())
    clients = [prepared(algorithm, objective, i) for i in range(4)]
    batches = Batch(*(torch.stack(p) for p in zip(*(b for b, _ in clients), strict=True)))
    states = {n: torch.stack([s[n] for _, s in clients]) for n in clients[0][1]}
    together = vmap(
        lambda b, s: algorithm.local_step(objective, params, buffers, b, s),
        randomness="different",
    )(batches, states)
    eager = objective.with_autograd()
    for i, (batch, state) in enumerate(clients):
        for variant in (objective, eager):
            alone = algorithm.local_step(variant, params, buffers, batch, state)
            for part, expected in zip(together, alone, strict=True):
                assert part.keys() == expected.keys()
                for name, value in expected.items():
                    torch.testing.assert_close(part[name][i], value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("algorithm", ALL, ids=repr)
def test_non_finite_data_give_a_non_finite_answer(algorithm):
    objective = Objective(network(norm=not algorithm.per_sample))
    params, buffers = objective.split(objective.initial())
    batch, state = prepared(algorithm, objective, 0)
    step = algorithm.local_step(
        objective, params, buffers, batch._replace(x=batch.x * math.nan), state
    )
    assert step.metrics["train_loss"].isnan()
    assert step.update["3.weight"].isnan().any()


def gradient_by_hand(params: dict[str, Tensor], x: Tensor, y: Tensor) -> dict[str, Tensor]:
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    loss = cross_entropy(x @ leaves["weight"].T + leaves["bias"], y)
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def linear() -> tuple[Objective, dict[str, Tensor]]:
    objective = Objective(nn.Linear(4, 3).double())
    return objective, objective.initial()


@pytest.mark.parametrize("clip", [None, 0.3])
def test_momentum_is_the_recursion(clip):
    objective, params = linear()
    x, y = data(0, torch.float64)
    algorithm = Momentum(beta=0.7, clip=clip)
    state = algorithm.init_state(params)
    expected = {name: torch.zeros_like(p) for name, p in params.items()}
    for t in range(5):
        rows = torch.arange(t, t + 4)
        params = {name: p + 0.1 for name, p in params.items()}
        step = algorithm.local_step(objective, params, {}, Batch(x[rows], y[rows], key(t)), state)
        g = gradient_by_hand(params, x[rows], y[rows])
        if clip:
            norm = torch.sqrt(sum(v.square().sum() for v in g.values()))
            assert norm > clip
            g = {name: v * (clip / norm) for name, v in g.items()}
        expected = {name: 0.7 * m + 0.3 * g[name] for name, m in expected.items()}
        torch.testing.assert_close(step.update, expected, rtol=1e-12, atol=1e-14)
        state = step.state


def test_clip_bounds_the_norm_and_leaves_short_gradients_alone():
    objective, params = linear()
    x, y = data(0, torch.float64)
    batch = Batch(x, y, key(0))
    free = Gradient().local_step(objective, params, {}, batch, {}).update
    norm = torch.cat([v.flatten() for v in free.values()]).norm()
    loose = Gradient(clip=float(norm) * 2).local_step(objective, params, {}, batch, {}).update
    torch.testing.assert_close(loose, free, rtol=0, atol=0)
    tight = Gradient(clip=float(norm) / 2).local_step(objective, params, {}, batch, {}).update
    torch.testing.assert_close(tight, {n: v / 2 for n, v in free.items()})
    zero = objective_with_zero_gradient()
    still = Gradient(clip=1.0).local_step(zero, zero.initial(), {}, batch, {}).update
    assert not any(v.any() for v in still.values())


def objective_with_zero_gradient() -> Objective:
    return Objective(nn.Linear(4, 3).double(), lambda outputs, y: (outputs * 0).sum())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_local_sgd_is_the_loop_over_torch_sgd(momentum):
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).double()
    objective = Objective(model, l2=0.01)
    params, buffers = objective.split(objective.initial())
    x, y = data(3, torch.float64)
    rows = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 5, 9]])
    algorithm = LocalSGD(steps=4, learning_rate=0.2, momentum=momentum)
    step = algorithm.local_step(objective, params, buffers, Batch(x[rows], y[rows], key(0)), {})
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2, momentum=momentum, weight_decay=0.01)
    model.train()
    for r in rows:
        optimiser.zero_grad()
        cross_entropy(model(x[r]), y[r]).backward()
        optimiser.step()
    expected = dict(model.state_dict())
    torch.testing.assert_close({**step.update, **step.buffers}, expected, check_stride=False)


def test_local_sgd_needs_its_number_of_steps():
    objective, params = linear()
    x, y = data(0, torch.float64)
    batch = Batch(x[None], y[None], key(0))
    with pytest.raises(ValueError, match="needs a batch of 2 steps; found 1"):
        LocalSGD(steps=2, learning_rate=0.1).local_step(objective, params, {}, batch, {})


def test_rsa_is_the_formula_while_the_server_moves():
    objective, x0 = linear()
    x, y = data(1, torch.float64)
    algorithm = RSA(lam=0.05, learning_rate=0.3)
    own = algorithm.init_state(x0)
    torch.testing.assert_close(own, x0, rtol=0, atol=0)
    for t in range(4):
        step = algorithm.local_step(objective, x0, {}, Batch(x, y, key(t)), own)
        g = gradient_by_hand(own, x, y)
        expected = {n: v - 0.3 * (g[n] + 0.05 * torch.sign(v - x0[n])) for n, v in own.items()}
        torch.testing.assert_close(step.update, expected, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(step.state, step.update, rtol=0, atol=0)
        x0 = {n: v - 0.3 * 0.05 * torch.sign(v - step.update[n]) for n, v in x0.items()}
        own = step.state


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Gradient(clip=0.0), "`gradient` needs clip > 0; found 0.0"),
        (lambda: Gradient(clip=math.inf), "`gradient` needs clip > 0; found inf"),
        (lambda: Gradient(clip=math.nan), "`gradient` needs clip > 0; found nan"),
        (lambda: Momentum(beta=1.0), r"`momentum` needs beta in \[0, 1\); found 1.0"),
        (lambda: Momentum(beta="0.9"), r"`momentum` needs beta in \[0, 1\); found '0.9'"),
        (lambda: Momentum(clip=-1.0), "`momentum` needs clip > 0; found -1.0"),
        (lambda: LocalSGD(0, 0.1), "`local_sgd` needs an integer steps ≥ 1; found 0"),
        (lambda: LocalSGD(2.5, 0.1), "`local_sgd` needs an integer steps ≥ 1; found 2.5"),
        (lambda: LocalSGD(True, 0.1), "`local_sgd` needs an integer steps ≥ 1; found True"),
        (lambda: LocalSGD(1, 0.0), "`local_sgd` needs learning_rate > 0; found 0.0"),
        (lambda: LocalSGD(1, 0.1, 1.0), r"`local_sgd` needs momentum in \[0, 1\); found 1.0"),
        (lambda: RSA(-1.0, 0.1), "`rsa` needs lam > 0; found -1.0"),
        (lambda: RSA(0.1, math.inf), "`rsa` needs learning_rate > 0; found inf"),
    ],
)
def test_hyper_parameters_are_checked_at_construction(make, text):
    with pytest.raises(ValueError, match=text):
        make()
