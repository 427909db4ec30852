from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp.strategy import FedAvg, Krum

import byzflower as bf
from byzflower.clients.adversary import Adversary
from byzflower.simulations.engines import InProcessGrid
from byzflower.strategies import Robust
from byzflower.wire.arrays import to_record, to_tensor

H, F = 5, 2
N = H + F
COLLUDERS = {6, 7}


class FakeAttack:
    """An attack by its interface alone; notes what it is given."""

    level = "update"
    needs_rule = False
    spec = "fake"

    def __init__(self, forge=lambda honest, f, rng: honest.mean(0).expand(f, -1)):
        self.forge = forge
        self.calls = []

    def step(self, honest, f, *, rng=None, rule=None, state=None, center=None):
        call = {"f": f, "rule": rule, "state": state, "center": center}
        self.calls.append({"honest": honest.clone(), **call})
        return self.forge(honest, f, rng), (state or 0) + 1


@pytest.fixture
def model() -> dict[str, torch.Tensor]:
    return {
        "weight": torch.arange(6.0).reshape(2, 3),
        "bias": torch.ones(2, dtype=torch.float16),
        "running_mean": torch.zeros(2),
        "num_batches_tracked": torch.tensor(0),
    }


class Trainer:
    """Replies with model + partition-id + 1 (or that number as gradient); notes who trained."""

    def __init__(self, payload="model"):
        self.payload = payload
        self.trained = []
        self.contents = {}

    def __call__(self, message: Message, context: Context) -> Message:
        partition = int(context.node_config["partition-id"])
        if message.metadata.message_type == "evaluate":
            metrics = MetricRecord({"num-examples": 1, "eval_loss": 1.0})
            return Message(RecordDict({"metrics": metrics}), reply_to=message)
        self.trained.append(context.node_id)
        step = partition + 1
        arrays = {}
        for name, array in message.content["arrays"].items():
            value = to_tensor(array)
            if "running" in name or "num_batches" in name:
                arrays[name] = value + 10 * step
            else:
                arrays[name] = value + step if self.payload == "model" else 0 * value + step
        metrics = {"num-examples": 100 * step, "train_loss": step / 2, "curve": [0.5, 0.25]}
        content = RecordDict({"arrays": to_record(arrays), "metrics": MetricRecord(metrics)})
        return Message(content, reply_to=message)


def train_round(grid, model, server_round=1, nodes=range(1, N + 1)):
    config = ConfigRecord({"server-round": server_round})
    content = RecordDict({"arrays": to_record(model), "config": config})
    messages = [Message(content, node, "train") for node in nodes]
    return list(grid.send_and_receive(messages))


def by_node(replies):
    return {reply.metadata.src_node_id: reply for reply in replies}


@pytest.mark.parametrize("payload", ["model", "gradient"])
def test_attack_sees_honest_updates_and_its_rows_become_replies(model, payload):
    attack = FakeAttack(lambda honest, f, rng: -honest[:f])
    trainer = Trainer(payload)
    grid = Adversary(InProcessGrid(trainer, N), attack, COLLUDERS, payload=payload)
    replies = by_node(train_round(grid, model))

    assert sorted(replies) == list(range(1, N + 1))
    assert trainer.trained == [1, 2, 3, 4, 5]
    (call,) = attack.calls
    assert call["f"] == F
    assert call["honest"].dtype == torch.float32
    expected = torch.arange(1.0, H + 1).unsqueeze(1).expand(H, 8)
    torch.testing.assert_close(call["honest"], expected)

    for node, update in ((6, -1.0), (7, -2.0)):
        forged = replies[node].content["arrays"]
        base = model if payload == "model" else {k: 0 * v for k, v in model.items()}
        torch.testing.assert_close(to_tensor(forged["weight"]), base["weight"] + update)
        torch.testing.assert_close(to_tensor(forged["bias"]), base["bias"] + update)
        # Buffers are the first honest reply's.
        torch.testing.assert_close(to_tensor(forged["running_mean"]), torch.full((2,), 10.0))
        assert to_tensor(forged["num_batches_tracked"]).item() == 10


def test_replies_are_well_formed(model):
    grid = Adversary(InProcessGrid(Trainer(), N), FakeAttack(), COLLUDERS)
    replies = by_node(train_round(grid, model))
    honest = replies[1].content
    for node in COLLUDERS:
        content = replies[node].content
        assert list(content) == list(honest)
        assert [(k, a.dtype, a.shape, a.stype) for k, a in content["arrays"].items()] == [
            (k, a.dtype, a.shape, a.stype) for k, a in honest["arrays"].items()
        ]
        # The honest medians, of the honest types.
        assert dict(content["metrics"]) == {
            "num-examples": 300,
            "train_loss": 1.5,
            "curve": [0.5, 0.25],
        }
        assert isinstance(content["metrics"]["num-examples"], int)
        assert replies[node].metadata.src_node_id == node
        assert replies[node].metadata.message_type == "train"
    assert replies[6].content is not replies[7].content


def test_honest_replies_are_untouched(model):
    alone = by_node(train_round(InProcessGrid(Trainer(), N), model, nodes=range(1, H + 1)))
    attack = FakeAttack(lambda honest, f, rng: honest.fill_(7.0)[:f])  # even if it writes to them
    grid = Adversary(InProcessGrid(Trainer(), N), attack, COLLUDERS)
    replies = by_node(train_round(grid, model))
    for node in range(1, H + 1):
        for name, array in alone[node].content["arrays"].items():
            other = replies[node].content["arrays"][name]
            np.testing.assert_array_equal(array.numpy(), other.numpy())
        assert dict(alone[node].content["metrics"]) == dict(replies[node].content["metrics"])


@pytest.mark.parametrize(
    "strategy", [FedAvg(), Krum(num_malicious_nodes=F)], ids=["FedAvg", "Krum"]
)
def test_flowers_strategies_run_under_attack(strategy, model):
    attack = FakeAttack(lambda honest, f, rng: honest.mean(0).mul(-100).expand(f, -1))
    trainer = Trainer()
    grid = Adversary(InProcessGrid(trainer, N), attack, COLLUDERS)
    result = strategy.start(grid, to_record(model), num_rounds=2)

    assert set(trainer.trained) == set(range(1, H + 1))
    assert [call["state"] for call in attack.calls] == [None, 1]
    change = to_tensor(result.arrays["weight"]) - model["weight"]
    # FedAvg is dragged away; Krum keeps an honest update.
    assert (
        (change < -50).all() if type(strategy) is FedAvg else ((change > 0) & (change < 11)).all()
    )


def test_robust_resists(model):
    attack = FakeAttack(lambda honest, f, rng: honest.mean(0).mul(-100).expand(f, -1))
    grid = Adversary(InProcessGrid(Trainer(), N), attack, COLLUDERS)
    strategy = Robust(FedAvg(), "trimmed_mean", num_malicious_nodes=F)
    result = strategy.start(grid, to_record(model), num_rounds=1)
    change = to_tensor(result.arrays["weight"]) - model["weight"]
    assert ((change > 0) & (change < 6)).all()


def test_evaluation_reaches_colluders(model):
    trainer = Trainer()
    grid = Adversary(InProcessGrid(trainer, N), FakeAttack(), COLLUDERS)
    messages = [Message(RecordDict(), node, "evaluate") for node in range(1, N + 1)]
    assert sorted(by_node(grid.send_and_receive(messages))) == list(range(1, N + 1))


def test_named_train_actions_are_withheld(model):
    trainer = Trainer()
    grid = Adversary(InProcessGrid(trainer, N), FakeAttack(), COLLUDERS)
    content = RecordDict({"arrays": to_record(model)})
    replies = grid.send_and_receive(Message(content, n, "train.slow") for n in (1, 6))
    assert trainer.trained == [1]
    assert sorted(by_node(replies)) == [1, 6]


def test_only_the_colluders_that_are_asked_answer(model):
    attack = FakeAttack()
    grid = Adversary(InProcessGrid(Trainer(), N), attack, COLLUDERS)
    assert sorted(by_node(train_round(grid, model, nodes=(2, 3, 7)))) == [2, 3, 7]
    assert attack.calls[0]["f"] == 1
    assert sorted(by_node(train_round(grid, model, nodes=(2, 3)))) == [2, 3]
    assert len(attack.calls) == 1


def test_silent_without_honest_replies(model):
    def failing(message, context):
        raise RuntimeError("down")

    grid = Adversary(InProcessGrid(failing, N), FakeAttack(), COLLUDERS)
    assert train_round(grid, model, nodes=COLLUDERS) == []
    replies = train_round(grid, model)
    assert sorted(by_node(replies)) == [1, 2, 3, 4, 5]
    assert all(reply.has_error() for reply in replies)
    assert grid.ignored == {1: (1, 2, 3, 4, 5)}


def unreadable(message):
    record = ArrayRecord()
    record["weight"] = Array("float32", (2, 3), "numpy.ndarray", b"garbage")
    return RecordDict({"arrays": record, "metrics": MetricRecord({"num-examples": 1})})


def other_layout(message):
    arrays = to_record({"weight": torch.zeros(3)})
    return RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})})


def not_finite(message):
    arrays = {name: to_tensor(array) for name, array in message.content["arrays"].items()}
    arrays["weight"] = arrays["weight"] * torch.nan
    return RecordDict({"arrays": to_record(arrays), "metrics": MetricRecord({"num-examples": 1})})


@pytest.mark.parametrize("faulty", [unreadable, other_layout, not_finite, lambda m: RecordDict()])
def test_useless_honest_replies_are_passed_on_and_ignored(model, faulty):
    trainer = Trainer()

    def client(message, context):
        if context.node_id == 1:
            return Message(faulty(message), reply_to=message)
        if context.node_id == 2:
            return Message(Error(5, "gone"), reply_to=message)
        return trainer(message, context)

    attack = FakeAttack()
    grid = Adversary(InProcessGrid(client, N), attack, COLLUDERS)
    replies = by_node(train_round(grid, model, server_round=4))
    assert sorted(replies) == list(range(1, N + 1))
    assert attack.calls[0]["honest"][:, 0].tolist() == [3.0, 4.0, 5.0]
    assert grid.ignored == {4: (1, 2)}
    assert to_tensor(replies[6].content["arrays"]["weight"]).shape == (2, 3)


def test_replies_that_hold_no_parameters_leave_the_colluders_silent():
    grid = Adversary(InProcessGrid(Trainer(), N), FakeAttack(), COLLUDERS)
    replies = train_round(grid, {"num_batches_tracked": torch.tensor(0)})
    assert sorted(by_node(replies)) == [1, 2, 3, 4, 5]


def test_payload_model_needs_the_received_model(model):
    def client(message, context):
        return Message(other_layout(message), reply_to=message)

    grid = Adversary(InProcessGrid(client, N), FakeAttack(), COLLUDERS)
    with pytest.raises(
        ValueError, match=r"needs replies with the received model's keys and shapes"
    ):
        train_round(grid, model)


def test_float64_parameters_are_attacked_in_float64():
    attack = FakeAttack(lambda honest, f, rng: honest[:f] + 1e-12)
    grid = Adversary(InProcessGrid(Trainer(), N), attack, COLLUDERS, payload="gradient")
    replies = by_node(train_round(grid, {"w": torch.zeros(2, dtype=torch.float64)}))
    assert attack.calls[0]["honest"].dtype == torch.float64
    assert to_tensor(replies[6].content["arrays"]["w"])[0].item() == 1.0 + 1e-12


def test_randomness_follows_from_seed_and_round(model):
    def draws(seed, rounds):
        seen = []

        def forge(honest, f, rng):
            seen.append(torch.rand((), generator=rng).item())
            return honest[:f]

        grid = Adversary(InProcessGrid(Trainer(), N), FakeAttack(forge), COLLUDERS, seed=seed)
        for t in rounds:
            train_round(grid, model, server_round=t)
        return seen

    assert draws(1, [1, 2, 3])[2] == draws(1, [3])[0]
    assert len({*draws(1, [1, 2]), *draws(2, [1, 2])}) == 4


def test_rounds_without_a_number_are_counted(model):
    seen = []

    def forge(honest, f, rng):
        seen.append(torch.rand((), generator=rng).item())
        return honest[:f]

    grid = Adversary(InProcessGrid(Trainer(), N), FakeAttack(forge), COLLUDERS)
    for _ in range(2):
        content = RecordDict({"arrays": to_record(model)})
        grid.send_and_receive(Message(content, n, "train") for n in range(1, N + 1))
    train_round(grid, model, server_round=1)
    assert seen[0] != seen[1]
    assert seen[0] == seen[2]


def test_data_attacks_let_the_colluders_train(model):
    trainer = Trainer()
    grid = Adversary(InProcessGrid(trainer, N), "label_flip(data=own)", COLLUDERS)
    train_round(grid, model)
    assert trainer.trained == list(range(1, N + 1))


def test_the_first_colluder_trains_for_all(model):
    trainer = Trainer()
    grid = Adversary(InProcessGrid(trainer, N), "label_flip", COLLUDERS)
    replies = by_node(train_round(grid, model, nodes=[7, *range(1, 7)]))
    assert trainer.trained == list(range(1, 7))
    sent = [replies[node].content["arrays"]["weight"] for node in (6, 7)]
    torch.testing.assert_close(to_tensor(sent[0]), model["weight"] + 6)
    torch.testing.assert_close(to_tensor(sent[1]), to_tensor(sent[0]))


SPECS = [
    "alie(tau=1.5)",
    "duplicate",
    "foe(tau=10)",
    "gaussian",
    "inf",
    "mimic",
    "nan",
    "random",
    "sign_flip",
    "zero",
]


@pytest.mark.parametrize("spec", SPECS)
def test_attacks_of_the_package(spec):
    grid = Adversary(InProcessGrid(Trainer("gradient"), N), spec, COLLUDERS, payload="gradient")
    replies = by_node(train_round(grid, {"w": torch.zeros(3)}))
    honest = torch.arange(1.0, H + 1).unsqueeze(1).expand(H, 3)
    entropy = np.random.SeedSequence((0, 1)).generate_state(1, np.uint64)[0]
    rng = torch.Generator().manual_seed(int(entropy))
    expected = bf.parse_attack(spec)(honest.clone(), f=F, rng=rng)
    for node, row in zip((6, 7), expected, strict=True):
        sent = to_tensor(replies[node].content["arrays"]["w"])
        torch.testing.assert_close(sent, row, equal_nan=True)


def test_the_rule_is_handed_to_the_attack(model):
    attack = FakeAttack()
    attack.needs_rule = True
    with pytest.raises(ValueError, match="`fake` needs the server's rule; found none"):
        Adversary(InProcessGrid(Trainer(), N), attack, COLLUDERS)
    grid = Adversary(InProcessGrid(Trainer(), N), attack, COLLUDERS, rule="nnm > krum")
    train_round(grid, model)
    assert attack.calls[0]["rule"] == bf.parse("nnm > krum")


def test_attacks_learn_what_a_centred_rule_measures_against():
    attack = FakeAttack()
    attack.needs_rule = True
    inner = InProcessGrid(Trainer("gradient"), N)
    rule = "centered_clipping"
    grid = Adversary(inner, attack, COLLUDERS, rule=rule, payload="gradient")
    for t in (1, 2):
        train_round(grid, {"w": torch.zeros(3)}, server_round=t)
    assert attack.calls[0]["center"] is None
    honest = attack.calls[0]["honest"]
    rows = torch.cat([honest, honest.mean(0).expand(F, -1)])
    torch.testing.assert_close(attack.calls[1]["center"], bf.parse(rule)(rows, f=F))


def answers_unless(crashes):
    """A trainer whose partitions fail in the rounds given."""
    trainer = Trainer("gradient")

    def client(message, context):
        server_round = message.content["config"]["server-round"]
        if context.node_config["partition-id"] in crashes.get(server_round, ()):
            raise RuntimeError("down")
        return trainer(message, context)

    return client


def sent_by(replies, node):
    return to_tensor(by_node(replies)[node].content["arrays"]["w"])


@pytest.mark.parametrize("spec", ["foe(tau=adaptive)", "against_pool"])
def test_a_round_without_a_search_flips_the_sign(spec, caplog):
    # Krum needs 2f + 3 = 7 replies: rounds 2 and 3 have five and six.
    grid = Adversary(
        InProcessGrid(answers_unless({2: {0, 1}, 3: {0}}), N),
        spec,
        COLLUDERS,
        rule="krum",
        payload="gradient",
    )
    rounds = [train_round(grid, {"w": torch.zeros(3)}, server_round=t) for t in (1, 2, 3, 4)]
    torch.testing.assert_close(sent_by(rounds[1], 6), torch.full((3,), -4.0))
    torch.testing.assert_close(sent_by(rounds[2], 7), torch.full((3,), -3.5))
    torch.testing.assert_close(sent_by(rounds[3], 7), sent_by(rounds[0], 7))
    (record,) = [r for r in caplog.records if "cannot search" in r.getMessage()]
    assert (record.name, record.levelname) == ("byzflower.clients.adversary.grid", "WARNING")
    assert f"Round 2: `{spec}` cannot search (" in record.getMessage()
    assert "n = 5, f = 2); in such rounds" in record.getMessage()


def test_a_search_that_is_never_defined_does_not_end_the_run(model, caplog):
    grid = Adversary(InProcessGrid(Trainer(), 4), "against_pool(pool=krum)", {3, 4})
    strategy = Robust(FedAvg(), "median", num_malicious_nodes=1)
    result = strategy.start(grid, to_record(model), num_rounds=2)
    change = to_tensor(result.arrays["weight"]) - model["weight"]
    assert (change != 0).all()
    assert "Round 1: `against_pool(pool=krum)` cannot search" in caplog.text


def test_a_search_that_would_take_too_long_flips_the_sign(model):
    def forge(honest, f, rng):
        raise bf.BudgetError("too many subsets")

    inner = InProcessGrid(Trainer("gradient"), N)
    grid = Adversary(inner, FakeAttack(forge), COLLUDERS, payload="gradient")
    replies = train_round(grid, {"w": torch.zeros(3)})
    torch.testing.assert_close(sent_by(replies, 6), torch.full((3,), -3.0))


def test_bad_options():
    grid = InProcessGrid(Trainer(), N)
    with pytest.raises(ValueError, match="`payload` needs to be 'model' or 'gradient'; found 'x'"):
        Adversary(grid, FakeAttack(), COLLUDERS, payload="x")
    with pytest.raises(ValueError, match="`seed` needs an integer ≥ 0; found -1"):
        Adversary(grid, FakeAttack(), COLLUDERS, seed=-1)


@pytest.mark.parametrize("node", [6.5, 6.0, "6", True, -6])
def test_node_ids_are_integers(node):
    with pytest.raises(ValueError, match=f"`nodes` needs an integer ≥ 0; found {node!r}"):
        Adversary(InProcessGrid(Trainer(), N), FakeAttack(), [node])


def test_integers_of_numpy_are_node_ids(model):
    grid = Adversary(InProcessGrid(Trainer(), N), FakeAttack(), np.array([6, 7]))
    train_round(grid, model)
    assert len(grid.attack.calls) == 1


@pytest.mark.parametrize("attack", [FakeAttack(), "label_flip"])
def test_colluders_that_the_grid_does_not_know_are_named_once(attack, model, caplog):
    grid = Adversary(InProcessGrid(Trainer(), N), attack, {7, 102, 101})
    grid.send_and_receive([Message(RecordDict(), 1, "evaluate")])
    assert not caplog.records
    for t in (1, 2):
        train_round(grid, model, server_round=t)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("flwr", "WARNING")
    assert "does not know the colluders [101, 102]" in record.getMessage()
    assert "partition_ids" in record.getMessage()


def test_known_colluders_are_not_worth_a_word(model, caplog):
    train_round(Adversary(InProcessGrid(Trainer(), N), FakeAttack(), COLLUDERS), model)
    assert not caplog.records


def test_everything_else_is_the_inner_grids(model):
    inner = InProcessGrid(Trainer(), N)
    grid = Adversary(inner, FakeAttack(), COLLUDERS)
    assert list(grid.get_node_ids()) == list(range(1, N + 1))
    assert grid.contexts is inner.contexts
    assert grid.run.run_id == inner.run_id
    grid.set_run("a run")
    assert inner.run == "a run"
    message = grid.create_message(RecordDict({"arrays": to_record(model)}), "train", 6, "g")
    ids = list(grid.push_messages([message]))
    assert [reply.metadata.src_node_id for reply in grid.pull_messages(ids)] == [6]
    with pytest.raises(AttributeError):
        _ = grid.no_such_thing


@pytest.mark.parametrize("payload", ["model", "gradient"])
def test_colluders_train_and_flip_what_they_computed(model, payload):
    trainer = Trainer(payload)
    attack = "own_sign_flip(scale=5)"
    grid = Adversary(InProcessGrid(trainer, N), attack, COLLUDERS, payload=payload)
    replies = by_node(train_round(grid, model))
    assert trainer.trained == list(range(1, N + 1))
    base = model if payload == "model" else {k: 0 * v for k, v in model.items()}
    for node, update in ((5, 5.0), (6, -30.0), (7, -35.0)):
        arrays = replies[node].content["arrays"]
        torch.testing.assert_close(to_tensor(arrays["weight"]), base["weight"] + update)
        # Buffers are the colluder's own.
        torch.testing.assert_close(to_tensor(arrays["running_mean"]), torch.full((2,), 10.0 * node))


def test_colluders_flip_whole_models(model):
    grid = Adversary(InProcessGrid(Trainer(), N), "own_sign_flip(scale=5, of=message)", COLLUDERS)
    replies = by_node(train_round(grid, model))
    for node in COLLUDERS:
        weight = to_tensor(replies[node].content["arrays"]["weight"])
        torch.testing.assert_close(weight, -5 * (model["weight"] + node))


def test_a_colluder_that_fails_sends_its_error(model):
    def failing(message, context):
        raise RuntimeError("no data")

    grid = Adversary(InProcessGrid(failing, N), "own_sign_flip", COLLUDERS)
    assert all(reply.has_error() for reply in train_round(grid, model))
