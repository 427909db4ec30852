"""Options are checked where an experiment is made; every error is one line."""

from __future__ import annotations

import pytest

from byzflower.errors import InfeasibleError, SpecError
from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.experiment import Experiment, read_toml


def test_the_defaults_are_the_digits_experiment():
    experiment = Experiment()
    assert (experiment.dataset, experiment.model, experiment.n, experiment.f) == (
        "digits",
        "mlp",
        13,
        3,
    )
    assert (experiment.honest, experiment.partitions, experiment.payload) == (10, 10, "gradient")
    assert Experiment(byzantine_data="own").partitions == 13
    assert Experiment(attack="none").partitions == 13
    assert Experiment(client="local_sgd").payload == "model"


def test_specs_are_brought_to_one_spelling():
    first = Experiment(
        rule="arc>nnm >  trimmed_mean", attack="foe( tau = 10 )", learning_rate="0.5"
    )
    assert first == Experiment() == Experiment(learning_rate="constant(0.5)", client="momentum()")
    assert first.rule == "arc > nnm > trimmed_mean"
    assert isinstance(first.learning_rate, float)
    falling = Experiment(
        partition="dirichlet( 0.3 )", learning_rate="step(0.5,{12:0.01, 9 : 1e-1})"
    )
    assert falling == Experiment(learning_rate="step(initial=0.5, changes={9: 0.1, 12: 0.01})")
    assert falling.learning_rate == "step(0.5, {9: 0.1, 12: 0.01})"
    clipped = Experiment(client="momentum(clip=2,beta=0.9)")
    assert clipped == Experiment(client="momentum(0.9, 2)")


def test_a_client_that_has_a_rule_of_its_own_brings_it():
    assert Experiment(client="rsa(lam=0.25, lr=0.5)").rule == "sign_votes(step=0.125)"
    assert Experiment(client="rsa", rule="median").rule == "median"


def test_options_have_the_field_s_names_too():
    named = {"num_clients": 9, "num_byzantine": 2, "batch": 5, "l2": 0.1, "lr": 0.2}
    assert Experiment.from_options(named) == Experiment(
        n=9, f=2, batch_size=5, weight_decay=0.1, learning_rate=0.2
    )
    with pytest.raises(ExperimentError, match="`n` needs one value; found it as `num_clients`"):
        Experiment.from_options({"n": 9, "num_clients": 9})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "`n` needs an integer ≥ 1; found 0"),
        ({"n": "13"}, "`n` needs an integer; found '13'"),
        ({"n": True}, "`n` needs an integer; found True"),
        ({"n": 13.0}, "`n` needs an integer; found 13.0"),
        ({"f": -1}, "`f` needs 0 ≤ f < n = 13; found -1"),
        ({"f": 13}, "`f` needs 0 ≤ f < n = 13; found 13"),
        ({"server_momentum": 1.0}, "`server_momentum` needs 0 ≤ server_momentum < 1; found 1.0"),
        (
            {"client": "local_sgd", "server_momentum": 0.9},
            "`server_momentum` needs a client that sends gradients; found local_sgd",
        ),
        (
            {"client": "rsa", "learning_rate": 0.9},
            "`learning_rate` needs a client that sends gradients; found rsa",
        ),
        (
            {"client": "rsa", "attack": "foe(tau=adaptive)"},
            "`attack` foe(tau=adaptive) searches against the rule, which it cannot where the rule "
            "counts votes; found `rule` sign_votes(step=0.001)",
        ),
        ({"weight_decay": float("nan")}, "`weight_decay` needs a number ≥ 0; found nan"),
        ({"learning_rate": True}, "`learning_rate` needs a number or a schedule; found True"),
        ({"seed": -1}, "`seed` needs an integer from 0 to 2³¹−1; found -1"),
        ({"download": "yes"}, "`download` needs true or false; found 'yes'"),
        ({"engine": "spark"}, "`engine` needs one of batched, inprocess, ray; found 'spark'"),
        ({"byzantine_data": "all"}, "`byzantine_data` needs one of none, own; found 'all'"),
        ({"penalty": "cubed"}, "`penalty` needs one of squared, norm; found 'cubed'"),
        ({"init_scale": 0}, "`init_scale` needs a number > 0; found 0.0"),
        ({"server_weight_decay": -1}, "`server_weight_decay` needs a number ≥ 0; found -1.0"),
        (
            {"client": "local_sgd", "server_weight_decay": 0.1},
            "`server_weight_decay` needs a client that sends gradients; found local_sgd",
        ),
        ({"device": "gpu7"}, "`device` needs a usable device; found 'gpu7'; usable here: cpu"),
    ],
)
def test_a_wrong_value_names_option_requirement_and_finding(options, message):
    with pytest.raises(ExperimentError) as caught:
        Experiment(**options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "trimed_mean"}, "unknown rule `trimed_mean`"),
        ({"attack": "fooe"}, "unknown attack `fooe`"),
        ({"dataset": "mnits"}, "unknown data set `mnits` in 'mnits'; did you mean `mnist`?"),
        ({"model": "mlp(width=0)"}, "`mlp` needs an integer width ≥ 1; found 0"),
        (
            {"client": "momentun"},
            "unknown client `momentun` in 'momentun'; did you mean `momentum`?",
        ),
        ({"client": "momentum(beta=1)"}, "`momentum` needs beta in [0, 1); found 1"),
        ({"learning_rate": -0.5}, "`constant` needs rate > 0; found -0.5"),
        ({"learning_rate": float("inf")}, "unknown schedule `inf` in 'inf'; known: constant, inv"),
        ({"learning_rate": "step(0.1, {5: -1})"}, "`step` needs learning rates > 0; found -1.0"),
        ({"partition": "iit"}, "unknown partition `iit`"),
        ({"partition": "dirichlet(alpha=-1)"}, "`dirichlet` needs alpha > 0; found -1"),
    ],
)
def test_a_wrong_spec_names_the_part(options, message):
    with pytest.raises(SpecError) as caught:
        Experiment(**options)
    assert str(caught.value).startswith(message)


def test_a_fault_count_beyond_the_rule_is_refused_at_construction():
    with pytest.raises(InfeasibleError) as caught:
        Experiment(rule="nnm > median", n=6, f=3)
    assert "n = 6, f = 3" in str(caught.value)


def test_toml_keys_are_option_names(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text(
        'rule = "median"\nn = 9\nf = 2\nlearning_rate = 1\nclient = "momentum(clip=2)"\n'
    )
    assert Experiment.from_options(read_toml(path)) == Experiment(
        rule="median", n=9, f=2, learning_rate=1.0, client="momentum(clip=2)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate = 1", "unknown option `lerning_rate`; did you mean `learning_rate`?"),
        (
            "beta = 0.5",
            '`beta` is part of `client` now; write, for instance, client = "momentum(beta=',
        ),
        ("epochs = 5", "unknown option `epochs`; known: dataset, data_dir, "),
        ("n = ", "`config` needs valid TOML; found in "),
        ("n = [1]", "`n` needs an integer; found [1]"),
    ],
)
def test_a_wrong_toml_file_says_what_is_wrong(text, message, tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text(text)
    with pytest.raises(ExperimentError) as caught:
        Experiment.from_options(read_toml(path))
    assert str(caught.value).startswith(message)


def test_a_missing_toml_file_is_named(tmp_path):
    with pytest.raises(ExperimentError, match=r"`config` needs a readable file; found .*no\.toml"):
        read_toml(tmp_path / "no.toml")
