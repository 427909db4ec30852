"""The baselines: what their papers claim, small, and in the form that Flower asks for."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import byzflower as bf
from byzflower.simulations.engines import BatchedGrid, run_in_process
from flower_run import flwr_run

pytest.importorskip("flwr_datasets", reason="the simulation extra is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:Specifying null_placement:FutureWarning")

BASELINES = Path(__file__).parents[2] / "simulations" / "baselines"
NAMES = ("arc", "mixtailor")
SECTIONS = (
    "About this baseline",
    "Experimental Setup",
    "Environment Setup",
    "Running the Experiments",
    "Expected Results",
)


def pyproject(name: str) -> dict[str, Any]:
    return tomllib.loads((BASELINES / name / "pyproject.toml").read_text(encoding="utf-8"))


def configuration(name: str) -> dict[str, Any]:
    config: dict[str, Any] = pyproject(name)["tool"]["flwr"]["app"]["config"]
    return config


def write_offline(name: str, folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("offline", BASELINES / "offline.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write(name, folder)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "digits"
    write_offline("digits", folder)
    return folder


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that imports a baseline's module as Flower does, from its own folder."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("flwr_datasets.common.telemetry.FLWR_TELEMETRY_ENABLED", "0")

    def module(name: str) -> Any:
        monkeypatch.syspath_prepend(str(BASELINES / name.partition(".")[0]))
        return importlib.import_module(name)

    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] in NAMES]:
        del sys.modules[name]


@pytest.fixture
def run(modules: Any, digits: Path, tmp_path: Path) -> Any:
    """Return a function that runs a baseline on digits and returns its accuracies."""

    def accuracies(name: str, nodes: int, **config: Any) -> list[float]:
        server, client = (modules(f"{name}.{part}_app") for part in ("server", "client"))
        given = {key.replace("_", "-"): value for key, value in config.items()}
        settings = {"data-folder": str(digits), "out": str(tmp_path / "out"), **given}
        run_in_process(
            server.app,
            client.app,
            nodes,
            run_config={**configuration(name), **settings},
            client_threads=1,
            grid_type=BatchedGrid,
        )
        lines = (tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8").splitlines()
        return list(json.loads(lines[-1])["accuracies"].values())

    return accuracies


@pytest.mark.slow
def test_one_of_eleven_stops_learning_on_one_class_a_worker_unless_arc_clips(run: Any) -> None:
    settings = {"num_server_rounds": 25, "evaluate_every": 25, "batch_size": 5}
    assert run("arc", 11, clipping="none", **settings)[-1] < 0.3
    assert run("arc", 11, clipping="arc", **settings)[-1] > 0.5


@pytest.mark.parametrize("attack", ["sign_flip", "label_flip", "mimic", "none"])
def test_the_paper_s_other_attacks_run(attack: str, run: Any, modules: Any, tmp_path: Path) -> None:
    settings = {"num_server_rounds": 1, "batch_size": 2, "clipping": "2"}
    assert len(run("arc", 11, attack=attack, **settings)) == 2
    assert attack in modules("arc.utils").table(str(tmp_path / "out"))


def test_label_flipping_learns_the_opposite_from_all_honest_data(
    modules: Any, digits: Path
) -> None:
    client, dataset = modules("arc.client_app"), modules("arc.dataset")
    config = {**configuration("arc"), "data-folder": str(digits)}

    def load(number: int) -> Any:
        context = type("Context", (), {})()
        context.run_config = config
        context.node_config = {"partition-id": number, "num-partitions": 11}
        return client.load(context)

    honest, malicious = load(0), load(10)
    assert honest.y.unique().numel() <= 3  # extreme: about a digit a worker
    x, y = dataset.load_split(config, "train")
    assert (malicious.x == x).all()
    assert (malicious.y == 9 - y).all()
    assert malicious.batch_size == 10 * honest.batch_size
    assert malicious.algorithm.name == "gradient"


@pytest.mark.parametrize("name", NAMES)
def test_the_honest_workers_share_all_rows_by_flower_s_partitioners(
    name: str, modules: Any, data_dir: Path, tmp_path: Path
) -> None:
    write_offline("mnist10k", tmp_path / "mnist10k")
    dataset = modules(f"{name}.dataset")
    given = {"dataset": "mnist10k", "data-folder": str(tmp_path / "mnist10k")}
    config = {**configuration(name), **given}
    for partition, most in (("extreme", 3), ("0.1" if name == "arc" else "iid", 10)):
        shares = [
            dataset.load_partition({**config, "partition": partition}, number, 10)
            for number in range(10)
        ]
        assert [len(y) for _, y in shares] == [800] * 10
        assert {tuple(x.shape[1:]) for x, _ in shares} == {(1, 28, 28)}
        assert max(y.unique().numel() for _, y in shares) <= most
    assert abs(float(shares[0][0].mean())) < 0.5  # normalised


@pytest.mark.slow
def test_krum_falls_to_an_attack_tailored_to_it_and_mixtailor_does_not(run: Any) -> None:
    settings = {"num_server_rounds": 60, "evaluate_every": 60, "learning_rate": 0.02, "seed": 2}
    assert run("mixtailor", 12, rule="krum", **settings)[-1] < 0.2
    assert run("mixtailor", 12, **settings)[-1] > 0.4


def test_mixtailor_resamples_and_compares_with_the_mean_without_attack(run: Any) -> None:
    settings = {"num_server_rounds": 1, "batch_size": 2}
    run("mixtailor", 12, resampling=2, partition="extreme", **settings)
    run("mixtailor", 10, rule="mean", attack="none", num_malicious_nodes=0, **settings)


def test_each_rule_is_the_paper_s(modules: Any) -> None:
    arc, mixtailor = modules("arc.strategy").make_rule, modules("mixtailor.strategy").make_rule
    assert arc("arc", "geometric_median").spec == "arc > nnm > geometric_median"
    assert arc("none", "median").spec == "nnm > median"
    assert arc("2", "trimmed_mean") == bf.parse("clip(c=2) > nnm > trimmed_mean")
    assert len(mixtailor("mixtailor", 0).members) == 64
    assert mixtailor("mixtailor", 2) == bf.parse("mixtailor(resampling=2)")
    assert mixtailor("krum", 2) == bf.parse("resampling(s=2) > krum")


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_has_what_flower_asks_for(name: str) -> None:
    text = (BASELINES / name / "README.md").read_text(encoding="utf-8")
    _, front, page = text.split("---\n", 2)
    meta = dict(line.split(": ", 1) for line in front.splitlines())
    assert list(meta) == ["title", "url", "labels", "dataset"]
    assert meta["url"].startswith("https://arxiv.org/abs/")
    assert 4 <= len(meta["labels"].strip("[]").split(", ")) <= 10
    title = pyproject(name)["project"]["description"]
    assert f"\n# {title}\n" in page
    assert meta["title"] == title.replace(": ", " - ")  # a colon would be YAML's
    assert tuple(re.findall(r"^## (.*)$", page, re.MULTILINE)) == SECTIONS
    for word in ("Paper", "Authors", "Abstract", "What’s implemented", "Datasets", "Model"):
        assert f"**{word}:**" in page
    for word in ("Hardware Setup", "Contributors", "Task", "Training Hyperparameters"):
        assert f"**{word}:**" in page


@pytest.mark.parametrize("name", NAMES)
def test_its_commands_set_keys_that_the_app_has(name: str) -> None:
    folder = BASELINES / name
    said = "".join((folder / file).read_text("utf-8") for file in ("README.md", "run.sh"))
    configs = re.findall(r'--run-config "(.*?)"', said, re.DOTALL)
    inner = re.findall(r'^ *run [\d ]*"(.*?)"$', said, re.MULTILINE)
    assert configs
    assert inner
    words = [word for text in (*configs, *inner) for word in shlex.split(text.replace("$1", ""))]
    keys = {word.partition("=")[0] for word in words if "=" in word}
    assert keys <= configuration(name).keys()


@pytest.mark.parametrize("name", NAMES)
def test_flower_builds_its_bundle_and_its_files_are_those_asked_for(
    name: str, tmp_path: Path
) -> None:
    flwr = Path(sys.executable).with_name("flwr")
    command = [flwr, "build", "--app", BASELINES / name]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (bundle,) = tmp_path.glob("*.fab")
    with zipfile.ZipFile(bundle) as archive:
        names = archive.namelist()
        project = tomllib.loads(archive.read("pyproject.toml").decode())
    parts = ("client_app", "dataset", "model", "server_app", "strategy", "utils")
    assert {"LICENSE", "README.md", *(f"{name}/{part}.py" for part in parts)} <= set(names)
    assert project["project"]["license"] == {"file": "LICENSE"}
    assert "flwr-version-target" in project["tool"]["flwr"]["app"]


@pytest.mark.deployment
@pytest.mark.parametrize(("name", "nodes"), [("arc", 11), ("mixtailor", 12)])
def test_flwr_run_trains_it_under_attack(
    name: str, nodes: int, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    ports = (39494 + 4 * NAMES.index(name), 39496 + 4 * NAMES.index(name))
    config = f"num-server-rounds=3 data-folder='{digits}' out='{tmp_path / 'out'}'"
    said = flwr_run(
        BASELINES / name, home=tmp_path / "home", ports=ports, run_config=config, nodes=nodes
    )
    assert f"{nodes} nodes asked, {nodes} replies: 0 failed, 0 rejected" in said
    result = json.loads((tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8"))
    assert list(result["accuracies"]) == ["0", "3"]
