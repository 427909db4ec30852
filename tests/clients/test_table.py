from __future__ import annotations

import pytest
import torch
from torch import nn

from byzflower.clients.algorithms import Batch, Momentum, Objective, Saga
from byzflower.clients.table import GradientTable

EXAMPLES = 20


def key(value: int = 0) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.int32)


def problem(dtype=torch.float64):
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)
    objective = Objective(model, l2=0.02)
    x = torch.randn(EXAMPLES, 4, dtype=dtype)
    return objective, objective.initial(), Batch(x, torch.arange(EXAMPLES) % 3, key())


def row(objective, params, examples, j):
    """The gradient of example j, flattened, by an ordinary backward pass."""
    example = Batch(examples.x[[j]], examples.y[[j]], key())
    grads, _, _ = objective.with_autograd().gradient(params, {}, example)
    return torch.cat([g.flatten() for g in grads.values()])


@pytest.mark.parametrize("on_disk", [False, True])
def test_saga_equals_the_full_recomputation_over_50_steps(tmp_path, on_disk):
    objective, params, examples = problem()
    table = GradientTable(EXAMPLES, params, tmp_path / "t" / "1.rows" if on_disk else None)
    table.fill(objective, params, {}, examples)
    phi = [params] * EXAMPLES
    rng = torch.Generator().manual_seed(1)
    for step_number in range(50):
        rows = torch.randperm(EXAMPLES, generator=rng)[:3]
        stored = torch.stack([row(objective, phi[j], examples, j) for j in range(EXAMPLES)])
        fresh = torch.stack([row(objective, params, examples, int(j)) for j in rows])
        expected = (fresh - stored[rows]).mean(0) + stored.mean(0)
        batch = Batch(examples.x[rows], examples.y[rows], key(step_number))
        step = Saga().local_step(objective, params, {}, batch, table.state(rows))
        table.store(rows, step.state)
        sent = torch.cat([v.flatten() for v in step.update.values()])
        torch.testing.assert_close(sent, expected, rtol=0, atol=1e-10)
        for j in rows.tolist():
            phi[j] = params
        stored[rows] = fresh
        torch.testing.assert_close(table.state(rows)["mean"], stored.mean(0), rtol=0, atol=1e-10)
        params = {name: p - 0.3 * step.update[name] for name, p in params.items()}
    assert table.steps == 50


def test_the_whole_batch_gives_the_full_gradient():
    objective, params, examples = problem()
    table = GradientTable(EXAMPLES, params)
    older = {name: p + 1 for name, p in params.items()}
    table.fill(objective, older, {}, examples)
    rows = torch.arange(EXAMPLES)
    step = Saga().local_step(objective, params, {}, examples, table.state(rows))
    full, _, _ = objective.gradient(params, {}, examples)
    torch.testing.assert_close(step.update, full, rtol=1e-10, atol=1e-12)


def test_float32_mean_does_not_drift_over_many_steps():
    objective, params, examples = problem(torch.float32)
    table = GradientTable(EXAMPLES, params)
    table.fill(objective, params, {}, examples)
    for t in range(150):
        rows = torch.tensor([t % EXAMPLES])
        moved = {name: p + 0.1 * (t % 7) for name, p in params.items()}
        batch = Batch(examples.x[rows], examples.y[rows], key(t))
        table.store(rows, Saga().local_step(objective, moved, {}, batch, table.state(rows)).state)
    everything = table.state(torch.arange(EXAMPLES))
    mean = everything["stored"].double().mean(0)
    torch.testing.assert_close(everything["mean"], mean, rtol=0, atol=1e-6)


def test_another_process_sees_the_mapped_table(tmp_path):
    objective, params, examples = problem(torch.float32)
    path = tmp_path / "saga-1-0.rows"
    one = GradientTable(EXAMPLES, params, path)
    two = GradientTable(EXAMPLES, params, path)
    one.fill(objective, params, {}, examples)
    rows = torch.tensor([3, 5])
    torch.testing.assert_close(two.state(rows), one.state(rows), rtol=0, atol=0)
    changed = {**one.state(rows), "stored": torch.ones(2, 43), "mean": torch.ones(43).double()}
    two.store(rows, changed)
    assert one.steps == 1
    torch.testing.assert_close(one.state(rows), changed, rtol=0, atol=0)


def test_state_is_a_copy():
    _, params, _ = problem()
    table = GradientTable(EXAMPLES, params)
    rows = torch.tensor([1])
    before = table.state(rows)
    table.store(rows, {**before, "stored": before["stored"] + 1, "mean": before["mean"] + 1})
    assert not before["stored"].any()
    assert not before["mean"].any()


def test_a_file_of_another_size_is_replaced(tmp_path):
    _, params, _ = problem()
    path = tmp_path / "t.rows"
    GradientTable(EXAMPLES, params, path).store(
        torch.tensor([0]), {"stored": torch.ones(1, 43).double(), "mean": torch.ones(43).double()}
    )
    table = GradientTable(EXAMPLES + 1, params, path)
    assert path.stat().st_size == (EXAMPLES + 1) * 43 * 8
    assert not table.state(torch.arange(EXAMPLES + 1))["stored"].any()


def test_a_table_beyond_the_memory_limit_is_refused():
    _, params, _ = problem()
    with pytest.raises(ValueError, match=r"needs 6880 bytes .* give the client a `state_dir`"):
        GradientTable(EXAMPLES, params, memory_limit=6879)


def test_filling_in_chunks_changes_nothing(monkeypatch):
    objective, params, examples = problem()
    whole = GradientTable(EXAMPLES, params)
    whole.fill(objective, params, {}, examples)
    monkeypatch.setattr("byzflower.clients.table._CHUNK", 43 * 3)
    parts = GradientTable(EXAMPLES, params)
    parts.fill(objective, params, {}, examples)
    rows = torch.arange(EXAMPLES)
    torch.testing.assert_close(parts.state(rows), whole.state(rows))


def test_saga_refuses_another_algorithms_state():
    objective, params, examples = problem()
    state = Momentum().init_state(params)
    with pytest.raises(ValueError, match="`saga` needs the state of a GradientTable"):
        Saga().local_step(objective, params, {}, examples, state)
