"""One experiment: every option that determines a training run, checked at construction.

>>> experiment = Experiment(rule="median", rounds=20)
>>> experiment.honest, experiment.partition
(10, 'dirichlet(alpha=0.3)')
>>> Experiment(rule="krum", n=8)
Traceback (most recent call last):
byzflower.errors.InfeasibleError: `krum` needs n ≥ 2f+3 rows; found n = 8, f = 3
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_type_hints

from byzflower.errors import did_you_mean
from byzflower.simulations.errors import ExperimentError, unknown

__all__ = [
    "CLIENTS",
    "ENGINES",
    "SIGN_VOTES",
    "Experiment",
    "check_device",
    "parse_decay",
    "read_toml",
]

_STEPS = ("learning_rate", "decay", "server_momentum")
CLIENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gradient": (*_STEPS, "clip"),
        "momentum": (*_STEPS, "clip", "beta"),
        "saga": _STEPS,
        "local_sgd": ("local_steps", "local_learning_rate"),
        "rsa": ("learning_rate", "lam"),
    }
)
"""Name → the options that this client uses and not every other one does."""
SIGN_VOTES = "sign_votes"
ENGINES = ("batched", "inprocess", "ray")


def _option(default: Any, panel: str, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"panel": panel, "help": text})


@dataclass(frozen=True)
class Experiment:
    """The options of a run; field names are the keys of a TOML file and the command's options.

    Raises
    ------
    ExperimentError, SpecError, InfeasibleError
        One line naming the option, what it needs and what was found.
    """

    dataset: str = _option("digits", "Data", "digits, mnist, fashion_mnist, cifar10 …")
    data_dir: str | None = _option(None, "Data", "folder of data sets that are not embedded")
    download: bool = _option(False, "Data", "let torchvision download the data set")
    partition: str = _option(
        "dirichlet(alpha=0.3)", "Data", "iid, dirichlet(alpha=…), extreme, classes(per=…)"
    )
    byzantine_data: str = _option(
        "none", "Data", "none: only honest clients hold data; own: colluders hold a share too"
    )
    model: str = _option("mlp", "Data", "softmax, mlp, tanh_mlp, cnn")
    n: int = _option(13, "Threat", "number of clients, colluders included")
    f: int = _option(3, "Threat", "number of colluders, known to the rule")
    attack: str = _option("foe(tau=10)", "Threat", "what the colluders send; none: all are honest")
    rule: str = _option(
        "arc > nnm > trimmed_mean", "Server", "aggregation, steps joined by >; of rsa: sign_votes"
    )
    learning_rate: float = _option(
        0.5, "Server", "the server's step size γ, and that of rsa's clients; not of local_sgd"
    )
    decay: str = _option(
        "",
        "Server",
        "of gradient, momentum, saga: later rates as round:rate, as 1500:0.00082",
    )
    server_momentum: float = _option(
        0.0, "Server", "of gradient, momentum, saga: momentum coefficient of the server's steps"
    )
    rounds: int = _option(200, "Server", "number of rounds")
    client: str = _option("momentum", "Clients", "gradient, momentum, saga, local_sgd, rsa")
    beta: float = _option(0.9, "Clients", "of momentum: its coefficient β")
    clip: float | None = _option(
        None, "Clients", "of gradient, momentum: clip each client's gradient to this norm"
    )
    l2: float = _option(0.0, "Clients", "coefficient of the ℓ2 regularisation")
    batch: int = _option(25, "Clients", "batch size b")
    local_steps: int = _option(1, "Clients", "of local_sgd: steps a round")
    local_learning_rate: float = _option(0.1, "Clients", "of local_sgd: its step size")
    lam: float = _option(0.01, "Clients", "of rsa: its penalty λ")
    seed: int = _option(1, "Run", "decides the partition, the initial model and all batches")
    engine: str = _option("batched", "Run", "batched, inprocess or ray")
    device: str = _option("cpu", "Run", "cpu, cuda, cuda:1 …")
    threads: int = _option(1, "Run", "CPU threads of one client's computation")
    evaluate_every: int = _option(1, "Run", "rounds between evaluations on the test set")

    def __post_init__(self) -> None:
        self._check_types()
        self._check_numbers()
        self._check_names()
        self._check_specs()

    @property
    def honest(self) -> int:
        """Number of honest clients: n − f, or n without an attack."""
        return self.n if self.attack == "none" else self.n - self.f

    @property
    def partitions(self) -> int:
        """Number of shares the training rows are divided into."""
        return self.n if self.byzantine_data == "own" else self.honest

    @property
    def payload(self) -> Literal["gradient", "model"]:
        """What clients return: ``"gradient"`` or ``"model"``."""
        return "model" if self.client in ("local_sgd", "rsa") else "gradient"

    def config(self) -> dict[str, object]:
        """Return every option, as written to the config record of the results."""
        return dataclasses.asdict(self)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Experiment:
        """Build an experiment from options; refuse an unknown one, naming the nearest if any."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
                raise ExperimentError(f"unknown option `{name}`{hint}")
        return cls(**options)  # type: ignore[arg-type]  # types are checked at construction

    def _check_types(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if kind in (float, float | None) and _is(value, int):
                object.__setattr__(self, name, float(value))
            elif not _is(value, kind):
                raise ExperimentError(f"`{name}` needs {_KINDS[kind]}; found {value!r}")

    def _check_numbers(self) -> None:
        at_least_one = ("n", "batch", "rounds", "local_steps", "threads", "evaluate_every")
        positive = ("learning_rate", "local_learning_rate", "lam", "clip")
        for name in at_least_one:
            self._need(name, "an integer ≥ 1", lambda v: v >= 1)
        for name in positive:
            self._need(name, "a number > 0", lambda v: v is None or 0 < v < math.inf)
        self._need("l2", "a number ≥ 0", lambda v: 0 <= v < math.inf)
        for name in ("beta", "server_momentum"):
            self._need(name, f"0 ≤ {name} < 1", lambda v: 0 <= v < 1)
        self._need("seed", "an integer from 0 to 2³¹−1", lambda v: 0 <= v < 2**31)
        self._need("f", f"0 ≤ f < n = {self.n}", lambda v: 0 <= v < self.n)

    def _need(self, name: str, requirement: str, holds: Callable[[Any], bool]) -> None:
        if not holds(getattr(self, name)):
            raise ExperimentError(f"`{name}` needs {requirement}; found {getattr(self, name)!r}")

    def _check_names(self) -> None:
        choices = {
            "client": CLIENTS,
            "engine": ENGINES,
            "byzantine_data": ("none", "own"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        # An option that the client ignores would pass for one that makes no difference.
        for field in dataclasses.fields(self):
            users = [client for client, used in CLIENTS.items() if field.name in used]
            ignored = users and self.client not in users
            if ignored and getattr(self, field.name) != field.default:
                raise ExperimentError(
                    f"`{field.name}` needs client {' or '.join(users)}; found {self.client}"
                )
        check_device(self.device)

    def _check_specs(self) -> None:
        import byzflower as bf  # noqa: PLC0415
        from byzflower.simulations.datasets import parse_dataset  # noqa: PLC0415
        from byzflower.simulations.models import parse_model  # noqa: PLC0415
        from byzflower.simulations.partitions import parse_partition  # noqa: PLC0415

        if (self.rule == SIGN_VOTES) != (self.client == "rsa"):
            raise ExperimentError(
                f"`rule` {SIGN_VOTES} and `client` rsa need each other; "
                f"found {self.rule!r} and {self.client!r}"
            )
        # One spelling each, so that equal experiments are equal and share a run id.
        decay = ", ".join(f"{after}:{rate!r}" for after, rate in parse_decay(self.decay))
        object.__setattr__(self, "decay", decay)
        object.__setattr__(self, "dataset", parse_dataset(self.dataset).spec)
        object.__setattr__(self, "model", parse_model(self.model).spec)
        object.__setattr__(self, "partition", parse_partition(self.partition).spec)
        if self.rule != SIGN_VOTES:
            rule = bf.parse(self.rule)
            rule.check(self.n, self.f)
            object.__setattr__(self, "rule", rule.spec)
        if self.attack != "none":
            attack = bf.parse_attack(self.attack)
            if attack.needs_rule and self.rule == SIGN_VOTES:
                raise ExperimentError(
                    f"`attack` {attack.spec} searches against a rule or pipeline; "
                    f"found `rule` {SIGN_VOTES}"
                )
            object.__setattr__(self, "attack", attack.spec)


def read_toml(path: str | Path) -> dict[str, object]:
    """Read a TOML file of options; errors name the file and the line."""
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ExperimentError(f"`config` needs a readable file; found {path}: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExperimentError(f"`config` needs valid TOML; found in {path}: {error}") from error


def parse_decay(text: str) -> list[tuple[int, float]]:
    """Read a step schedule: the rounds after which a rate holds, increasing.

    >>> parse_decay("1500:0.00082, 1800:1e-4")
    [(1500, 0.00082), (1800, 0.0001)]
    """
    steps = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        after, _, rate = item.partition(":")
        try:
            steps.append((int(after), float(rate)))
        except ValueError:
            steps.append((-1, math.nan))
    ordered = [after for after, _ in steps]
    rates_hold = all(0 < rate < math.inf for _, rate in steps)
    if not rates_hold or ordered != sorted(set(ordered)) or any(after < 1 for after in ordered):
        raise ExperimentError(
            f"`decay` needs increasing round:rate pairs such as 1500:0.00082; found {text!r}"
        )
    return steps


def check_device(device: str) -> None:
    """Refuse a device on which nothing can be computed."""
    import torch  # noqa: PLC0415

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        cause = str(error).partition("\n")[0]
        raise ExperimentError(
            f"`device` needs a usable device; found {device!r}: {cause}"
        ) from error


_KINDS: dict[Any, str] = {
    str: "text",
    str | None: "text",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    float | None: "a number",
}


def _is(value: object, kind: Any) -> bool:
    # bool is an int to Python, but `n = true` is a mistake.
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
