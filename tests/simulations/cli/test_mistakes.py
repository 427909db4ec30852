"""A mistake of the user is one line and exit code 2."""

from __future__ import annotations

import sys

import pytest

from command_line import QUICK


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "krum", "--n", "8"], "`krum` needs n ≥ 2f+3 rows; found n = 8, f = 3"),
        (["--partition", "dirichlet(alpha=-1)"], "`dirichlet` needs alpha > 0; found -1"),
        (["--rule", "meann"], "unknown rule `meann` in 'meann'; did you mean `trmean`?"),
        (["--attack", "foe(sigma=1)"], "`foe` has no parameter `sigma`; it takes `tau`"),
        (["--dataset", "mnits"], "unknown data set `mnits` in 'mnits'; did you mean `mnist`?"),
        (["--dataset", "covtype", "--data-dir", "none"], "`data-dir` needs none/covtype-balanced"),
        (
            ["--model", "mpl"],
            "unknown model `mpl` in 'mpl'; known: cnn, dropout_cnn, mlp, resnet18, softmax, ",
        ),
        (
            ["--partition", "classes(per=3)"],
            "`classes` needs per × classes = 3 × 10 clients; found 10",
        ),
        (
            ["--client", "adam"],
            "unknown client `adam` in 'adam'; known: gradient, local_sgd, momentum, rsa, saga",
        ),
        (
            ["--rule", "sign_votes", "--client", "rsa", "--attack", "against_pool"],
            "`attack` against_pool searches against the rule, which it cannot where",
        ),
        (["--device", "meta"], "`device` needs a usable device; found 'meta'"),
        (
            ["--partition", "-" * 20_000],
            "a partition is a name with parameters, such as name(parameter=1); found",
        ),
        (
            ["--n", "many"],
            "Invalid value for '--num-clients' / '--n': 'many' is not a valid integer.",
        ),
        (["--learning-rate", "-1"], "`constant` needs rate > 0; found -1"),
        (["--lr", "stepp(1)"], "unknown schedule `stepp` in 'stepp(1)'; did you mean `step`?"),
        (["--lam", "1"], '`lam` is part of `client` now; write, for instance, client = "rsa(lam'),
        (["--decay", "5:1"], "`decay` is part of `learning_rate` now; write, for instance,"),
        (["--client", "momentum(beta=1)"], "`momentum` needs beta in [0, 1); found 1"),
        (["--ruel", "mean"], "No such option '--ruel'."),
        (["--config", "no.toml"], "`config` needs a readable file; found no.toml"),
        (["--rule"], "Option '--rule' requires an argument."),
        (
            ["--client", "local_sgd", "--lr", "0.9"],
            "`learning_rate` needs a client that sends gradients",
        ),
        (["extra"], "Got unexpected extra argument (extra)"),
        (["--attack", "nan", "--attack=zero"], "`--attack` needs one value; found it 2 times"),
        (["--n", "9", "--num-clients", "8", "--n=7"], "`--n` needs one value; found it 3 times"),
        (["--out", "a", "--out", "b"], "`--out` needs one value; found it 2 times"),
        (["median"], 'Got unexpected extra argument (median); did you mean --rule "median"?'),
        (["--device", "gpu"], "`device` needs a usable device; found 'gpu'; usable here: cpu"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, arguments, message, tmp_path):
    code, out, err = call("run", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"byzflower: {message}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_toml_key_names_the_nearest_option(call, tmp_path):
    (tmp_path / "bad.toml").write_text("lerning_rate = 0.1\n")
    code, _, err = call("run", "--config", "bad.toml")
    assert (code, err) == (
        2,
        "byzflower: unknown option `lerning_rate`; did you mean `learning_rate`?\n",
    )


def test_toml_may_begin_with_a_byte_order_mark_but_holds_no_table(call, tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbff = 20\r\n")
    assert call("run", "--config", "a.toml")[2].startswith("byzflower: `f` needs 0 ≤ f < n = 13")
    (tmp_path / "a.toml").write_text("[run]\nn = 5\n")
    code, _, err = call("run", "--config", "a.toml")
    assert (code, err.count("\n")) == (2, 1)
    assert "`config` needs options without a table; found [run] in a.toml: delete" in err


def test_data_that_can_be_downloaded_say_so(call, monkeypatch):
    monkeypatch.delenv("BYZFLOWER_DATA", raising=False)
    _, _, err = call("run", "--dataset", "mnist")
    assert "pass --data-dir or set BYZFLOWER_DATA; with --download it is filled; found" in err
    _, _, err = call("run", "--dataset", "covtype")
    assert "--download" not in err


def test_a_folder_of_another_program_is_refused(call, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "results.jsonl").write_text('{"kind": "config", "id": 3}\n')
    code, _, err = call("run", *QUICK, "--out", "x")
    assert (code, err.count("found one with kind, id: choose another")) == (2, 1)
    (tmp_path / "file").touch()
    code, _, err = call("run", *QUICK, "--out", "file")
    assert code == 2
    assert err.startswith("byzflower: `out` needs a writable folder of its own; found file")


def test_a_missing_dependency_says_what_to_install(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    code, _, err = call("run")
    assert code == 2
    assert err == (
        "byzflower: this command needs pip install 'byzflower[simulation]'; "
        "found no module 'typer'\n"
    )
