"""Options are checked where an experiment is made; every error is one line."""

from __future__ import annotations

import pytest

from byzflower.errors import InfeasibleError, SpecError
from byzflower.registry import registered
from byzflower.simulations.errors import ExperimentError
from byzflower.simulations.experiment import CLIENTS, Experiment, parse_decay, read_toml


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
    first = Experiment(rule="arc>nnm >  trimmed_mean", attack="foe( tau = 10 )", clip=2)
    assert first == Experiment(clip=2.0)
    assert isinstance(first.clip, float)
    decayed = Experiment(partition="dirichlet( 0.3 )", decay=" 9:1e-1,12:0.01 ")
    assert decayed == Experiment(partition="dirichlet(alpha=0.3)", decay="9:0.1, 12:0.01")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "`n` needs an integer ≥ 1; found 0"),
        ({"n": "13"}, "`n` needs an integer; found '13'"),
        ({"n": True}, "`n` needs an integer; found True"),
        ({"n": 13.0}, "`n` needs an integer; found 13.0"),
        ({"f": -1}, "`f` needs 0 ≤ f < n = 13; found -1"),
        ({"f": 13}, "`f` needs 0 ≤ f < n = 13; found 13"),
        ({"beta": 1.0}, "`beta` needs 0 ≤ beta < 1; found 1.0"),
        ({"server_momentum": 1.0}, "`server_momentum` needs 0 ≤ server_momentum < 1; found 1.0"),
        (
            {"client": "saga", "clip": 1.0},
            "`clip` needs client gradient or momentum; found saga",
        ),
        (
            {"client": "local_sgd", "server_momentum": 0.9},
            "`server_momentum` needs client gradient or momentum or saga; found local_sgd",
        ),
        (
            {"client": "local_sgd", "learning_rate": 0.9},
            "`learning_rate` needs client gradient or momentum or saga or rsa; found local_sgd",
        ),
        ({"local_steps": 10}, "`local_steps` needs client local_sgd; found momentum"),
        ({"client": "gradient", "beta": 0.5}, "`beta` needs client momentum; found gradient"),
        ({"client": "saga", "lam": 1.0}, "`lam` needs client rsa; found saga"),
        (
            {"client": "rsa"},
            "`rule` sign_votes and `client` rsa need each other; "
            "found 'arc > nnm > trimmed_mean' and 'rsa'",
        ),
        ({"rule": "sign_votes"}, "`rule` sign_votes and `client` rsa need each other; found"),
        ({"clip": 0}, "`clip` needs a number > 0; found 0.0"),
        ({"l2": float("nan")}, "`l2` needs a number ≥ 0; found nan"),
        ({"learning_rate": float("inf")}, "`learning_rate` needs a number > 0; found inf"),
        ({"seed": -1}, "`seed` needs an integer from 0 to 2³¹−1; found -1"),
        ({"download": "yes"}, "`download` needs true or false; found 'yes'"),
        (
            {"client": "momentun"},
            "`client` needs one of gradient, momentum, saga, local_sgd, rsa; ",
        ),
        ({"engine": "spark"}, "`engine` needs one of batched, inprocess, ray; found 'spark'"),
        ({"byzantine_data": "all"}, "`byzantine_data` needs one of none, own; found 'all'"),
        ({"device": "gpu7"}, "`device` needs a usable device; found 'gpu7': "),
        ({"decay": "5"}, "`decay` needs increasing round:rate pairs such as 1500:0.00082; found"),
        ({"decay": "5:-1"}, "`decay` needs increasing round:rate pairs such as"),
    ],
)
def test_a_wrong_value_names_option_requirement_and_finding(options, message):
    with pytest.raises(ExperimentError) as caught:
        Experiment(**options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_clients_are_those_that_exist():
    assert set(CLIENTS) == set(registered("client"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "trimed_mean"}, "unknown rule `trimed_mean`"),
        ({"attack": "fooe"}, "unknown attack `fooe`"),
        ({"dataset": "mnits"}, "unknown data set `mnits` in 'mnits'; did you mean `mnist`?"),
        ({"model": "mlp(width=0)"}, "`mlp` needs an integer width ≥ 1; found 0"),
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
    path.write_text('rule = "median"\nn = 9\nf = 2\nlearning_rate = 1\nclip = 2\n')
    assert Experiment.from_options(read_toml(path)) == Experiment(
        rule="median", n=9, f=2, learning_rate=1.0, clip=2.0
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate = 1", "unknown option `lerning_rate`; did you mean `learning_rate`?"),
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


def test_the_decay_is_read_in_order():
    assert parse_decay("1500:0.00082, 1800:0.0001") == [(1500, 0.00082), (1800, 0.0001)]
    assert parse_decay("") == []
