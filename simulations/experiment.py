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
from textwrap import shorten
from typing import TYPE_CHECKING, Any, get_type_hints

from byzflower.errors import did_you_mean

from .errors import ExperimentError, unknown

if TYPE_CHECKING:
    from byzflower.wire.payload import Payload

__all__ = [
    "CHOICES",
    "DEFAULT_RULE",
    "RISK",
    "Experiment",
    "by_field",
    "check_device",
    "moved_option",
    "parse_toml",
    "read_toml",
]

CHOICES = {
    "engine": ("batched", "inprocess", "ray"),
    "byzantine_data": ("none", "own"),
    "penalty": ("squared", "norm"),
}
"""Option → what it may be."""
DEFAULT_RULE = "arc > nnm > trimmed_mean"
"""Where neither the experiment nor its client says another."""
RISK = 1e-3
"""Probability that some round of a run asks more colluders than its rule assumes."""
# Options of before 0.2.0 → the one that holds them now, and how.
_MOVED = {
    "beta": ("client", "momentum(beta=0.9)"),
    "clip": ("client", "momentum(clip=2)"),
    "lam": ("client", "rsa(lam=0.01)"),
    "local_steps": ("client", "local_sgd(steps=5)"),
    "local_learning_rate": ("client", "local_sgd(lr=0.1)"),
    "decay": ("learning_rate", "step(0.05, {1500: 0.00082})"),
}


def _option(default: Any, panel: str, text: str, *also: str) -> Any:
    return dataclasses.field(default=default, metadata={"panel": panel, "help": text, "also": also})


@dataclass(frozen=True)
class Experiment:
    """The options of a run; field names are the keys of a TOML file and the command's options.

    Raises
    ------
    ExperimentError, SpecError, InfeasibleError
        One line naming the option, what it needs and what was found.
    """

    dataset: str = _option("digits", "Data", "digits, mnist10k, … (byzflower list datasets)")
    data_dir: str | None = _option(None, "Data", "folder of data sets that are not embedded")
    download: bool = _option(False, "Data", "let torchvision download the data set")
    partition: str = _option(
        "dirichlet(alpha=0.3)",
        "Data",
        "iid, shared, dirichlet(alpha=…), dirichlet_clients(alpha=…), extreme, classes(per=…)",
    )
    validation: float = _option(
        0.0, "Data", "share of the training rows held out, to choose options by"
    )
    byzantine_data: str = _option(
        "none", "Data", "none: only honest clients hold data; own: colluders hold a share too"
    )
    model: str = _option(
        "mlp", "Data", "softmax, mlp(width=…), tanh_mlp, cnn, dropout_cnn, resnet18"
    )
    init_scale: float = _option(1.0, "Data", "factor on the initial model's parameters")
    n: int = _option(13, "Threat", "number of clients, colluders included", "num_clients")
    f: int = _option(3, "Threat", "number of colluders", "num_byzantine")
    assumed_f: int | None = _option(
        None, "Threat", "number of colluders that the rule assumes, where it is another than f"
    )
    attack: str = _option("foe(tau=10)", "Threat", "what the colluders send; none: all are honest")
    rule: str = _option(
        "", "Server", f"aggregation, steps joined by >; else the client's own, else {DEFAULT_RULE}"
    )
    learning_rate: float | str = _option(
        0.5,
        "Server",
        "for clients that send gradients, the server's step size: a number, "
        "step(0.05, {1500: 0.00082}), inverse_time(0.5, 0.01)",
        "lr",
    )
    server_momentum: float = _option(
        0.0, "Server", "for the same clients: momentum coefficient of the server's steps"
    )
    server_weight_decay: float = _option(
        0.0, "Server", "for the same clients: coefficient of the model in the server's steps"
    )
    rounds: int = _option(200, "Server", "number of rounds")
    fraction_train: float = _option(
        1.0, "Server", "share of the clients that each round asks, drawn anew"
    )
    client: str = _option(
        "momentum",
        "Clients",
        "gradient, momentum(beta=0.9, clip=2), saga, local_sgd(steps=5, lr=0.1), "
        "rsa(lam=0.01, lr=0.1)",
    )
    weight_decay: float = _option(
        0.0, "Clients", "coefficient of the ℓ2 regularisation, as torch's weight_decay", "l2"
    )
    penalty: str = _option(
        "squared", "Clients", "squared: weight_decay/2 · ‖θ‖²; norm: weight_decay · ‖θ‖"
    )
    batch_size: int = _option(25, "Clients", "examples of a batch", "batch")
    seed: int = _option(1, "Run", "decides the partition, the initial model and all batches")
    data_seed: int | None = _option(
        None, "Run", "decides the partition and the validation rows, where it is another than seed"
    )
    engine: str = _option("batched", "Run", "batched, inprocess or ray")
    device: str = _option("cpu", "Run", "cpu, cuda, cuda:1 …")
    threads: int = _option(1, "Run", "CPU threads; results do not depend on them")
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
    def asked(self) -> int:
        """Number of clients that each round asks."""
        # 0.29 × 100 is 28.999999999999996 in floating point.
        return max(1, math.floor(self.n * self.fraction_train + 1e-9))

    @property
    def f_of_rule(self) -> int:
        """Number of colluders that the rule assumes among all n clients."""
        return self.f if self.assumed_f is None else self.assumed_f

    @property
    def f_asked(self) -> int:
        """Bound on these among the clients of a round, over all but with probability `RISK`."""
        from byzflower.strategies.faults import FaultBound  # noqa: PLC0415

        return FaultBound(self.f_of_rule, RISK).within(self.asked, self.n, self.rounds)

    @property
    def seed_of_data(self) -> int:
        """Seed of the partition and of the validation rows."""
        return self.seed if self.data_seed is None else self.data_seed

    @property
    def partitions(self) -> int:
        """Number of shares the training rows are divided into."""
        return self.n if self.byzantine_data == "own" else self.honest

    @property
    def payload(self) -> Payload:
        """What clients return: ``"gradient"`` or ``"model"``."""
        from byzflower.clients.algorithms import parse_client  # noqa: PLC0415

        return parse_client(self.client).payload

    def config(self) -> dict[str, object]:
        """Return every option, as written to the config record of the results."""
        return dataclasses.asdict(self)

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> Experiment:
        """Build an experiment from options, under any of their names.

        Raises
        ------
        ExperimentError
            For an unknown option, with the nearest or, of one that has moved, with what to write.
        """
        return cls(**by_field(options))  # type: ignore[arg-type]  # checked at construction

    def _check_types(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            if kind in (float, float | str) and _is(value, int):
                object.__setattr__(self, name, float(value))
            elif not _is(value, kind):
                raise ExperimentError(f"`{name}` needs {_KINDS[kind]}; found {value!r}")

    def _check_numbers(self) -> None:
        for name in ("n", "batch_size", "rounds", "threads", "evaluate_every"):
            self._need(name, "an integer ≥ 1", lambda v: v >= 1)
        self._need("fraction_train", "0 < fraction_train ≤ 1", lambda v: 0 < v <= 1)
        for name in ("weight_decay", "server_weight_decay"):
            self._need(name, "a number ≥ 0", lambda v: 0 <= v < math.inf)
        self._need("init_scale", "a number > 0", lambda v: 0 < v < math.inf)
        self._need("server_momentum", "0 ≤ server_momentum < 1", lambda v: 0 <= v < 1)
        self._need("seed", "an integer from 0 to 2³¹−1", lambda v: 0 <= v < 2**31)
        self._need("data_seed", "an integer from 0 to 2³¹−1", lambda v: v is None or 0 <= v < 2**31)
        self._need("validation", "0 ≤ validation < 1", lambda v: 0 <= v < 1)
        self._need(
            "assumed_f", f"0 ≤ assumed_f < n = {self.n}", lambda v: v is None or 0 <= v < self.n
        )
        self._need("f", f"0 ≤ f < n = {self.n}", lambda v: 0 <= v < self.n)

    def _need(self, name: str, requirement: str, holds: Callable[[Any], bool]) -> None:
        if not holds(getattr(self, name)):
            raise ExperimentError(f"`{name}` needs {requirement}; found {getattr(self, name)!r}")

    def _check_names(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        check_device(self.device)

    def _check_specs(self) -> None:
        import byzflower as bf  # noqa: PLC0415
        from byzflower.clients.algorithms import parse_client  # noqa: PLC0415
        from byzflower.strategies.schedules import ConstantSchedule, parse_schedule  # noqa: PLC0415

        from .datasets import parse_dataset  # noqa: PLC0415
        from .models import parse_model  # noqa: PLC0415
        from .partitions import parse_partition  # noqa: PLC0415

        # One spelling each, so that equal experiments are equal and share a run id.
        client = parse_client(self.client)
        self._spell("client", client.spec)
        self._spell("dataset", parse_dataset(self.dataset).spec)
        self._spell("model", parse_model(self.model).spec)
        self._spell("partition", parse_partition(self.partition).spec)
        schedule = parse_schedule(self.learning_rate)
        constant = isinstance(schedule, ConstantSchedule)
        self._spell("learning_rate", schedule(1) if constant else schedule.spec)
        rule = bf.parse(self.rule or client.own_rule or DEFAULT_RULE)
        rule.check(self.asked, self.f_asked if self.asked < self.n else self.f_of_rule)
        self._spell("rule", rule.spec)
        if self.attack != "none":
            attack = bf.parse_attack(self.attack)
            self._spell("attack", attack.spec)
            if attack.needs_rule and not rule.searchable:
                raise ExperimentError(
                    f"`attack` {attack.spec} searches against the rule, which it cannot where the "
                    f"rule counts votes; found `rule` {rule.spec}"
                )
        # An option that the client ignores would pass for one that makes no difference.
        for field in dataclasses.fields(self):
            changed = getattr(self, field.name) != field.default
            if changed and client.payload == "model" and field.name in _OF_SERVER_STEPS:
                raise ExperimentError(
                    f"`{field.name}` needs a client that sends gradients; found {client.spec}"
                )

    def _spell(self, name: str, spec: object) -> None:
        object.__setattr__(self, name, spec)


_OF_SERVER_STEPS = ("learning_rate", "server_momentum", "server_weight_decay")


def by_field(options: Mapping[str, object]) -> dict[str, object]:
    """Return options under the names of the experiment's fields.

    >>> by_field({"num_clients": 20, "lr": 0.1})
    {'n': 20, 'learning_rate': 0.1}

    Raises
    ------
    ExperimentError
        As :meth:`Experiment.from_options`, and where an option is given under two names.
    """
    fields = dataclasses.fields(Experiment)
    names = {name: field.name for field in fields for name in (field.name, *field.metadata["also"])}
    chosen: dict[str, object] = {}
    for name, value in options.items():
        if name not in names:
            hint = did_you_mean(name, names) or f"; known: {', '.join(names)}"
            raise ExperimentError(moved_option(name) or f"unknown option `{name}`{hint}")
        if names[name] in chosen:
            raise ExperimentError(f"`{names[name]}` needs one value; found it as `{name}`, too")
        chosen[names[name]] = value
    return chosen


def moved_option(name: str) -> str | None:
    """Return what to write instead of an option that has become part of another, if it has.

    >>> moved_option("beta")
    '`beta` is part of `client` now; write, for instance, client = "momentum(beta=0.9)"'
    """
    if name not in _MOVED:
        return None
    option, spec = _MOVED[name]
    return f'`{name}` is part of `{option}` now; write, for instance, {option} = "{spec}"'


def read_toml(path: str | Path) -> dict[str, object]:
    """Read a TOML file of options without tables; errors name the file and the line."""
    options = parse_toml(path)
    for name, value in options.items():
        if isinstance(value, dict):
            raise ExperimentError(
                f"`config` needs options without a table; found [{name}] in {path}: "
                "delete that line, its options may stay"
            )
    return options


def parse_toml(path: str | Path) -> dict[str, object]:
    """Read a TOML file; errors name the file and the line."""
    try:
        # Some editors begin a file with a byte-order mark.
        return tomllib.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ExperimentError(f"`config` needs a readable file; found {path}: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExperimentError(f"`config` needs valid TOML; found in {path}: {error}") from error


def check_device(device: str) -> None:
    """Refuse a device on which nothing can be computed."""
    import torch  # noqa: PLC0415

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        usable = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        cause = shorten(str(error).partition(". ")[0], 100)
        raise ExperimentError(
            f"`device` needs a usable device; found {device!r}; usable here: {usable} ({cause})"
        ) from error


_KINDS: dict[Any, str] = {
    str: "text",
    str | None: "text",
    bool: "true or false",
    int: "an integer",
    int | None: "an integer",
    float: "a number",
    float | str: "a number or a schedule",
}


def _is(value: object, kind: Any) -> bool:
    # bool is an int to Python, but `n = true` is a mistake.
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
