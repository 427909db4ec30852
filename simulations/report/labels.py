"""How many rows of each class every client holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ExperimentError
from ..experiment import Experiment
from ..frame import OPTIONS
from ..tasks import open_dataset, split_rows
from .panels import Panel, drawn_axes, grid_of_axes

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["labels"]

_MOST_AXES = 9


def labels(runs: DataFrame) -> Iterator[Panel]:
    """Yield the panel; partitions whose data are not at hand are left out."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    counted: dict[tuple[str, str, str], Any] = {}
    for options in runs[list(OPTIONS)].to_dict("records"):
        if len(counted) == _MOST_AXES:
            break
        try:
            chosen = Experiment(**_given(options))
            key = (chosen.dataset, chosen.partition, f"{chosen.partitions} clients")
            if key in counted:
                continue
            data = open_dataset(chosen)
            classes = data.y_train.cpu().numpy()
            shares = split_rows(chosen)
        except (ExperimentError, ValueError):
            continue
        counts = [np.bincount(classes[rows], minlength=data.num_classes) for rows in shares]
        counted[key] = np.array(counts)
    if not counted:
        return
    figure, axes = grid_of_axes(len(counted))
    rows = []
    for place, (key, counts) in zip(axes, counted.items(), strict=True):
        drawn_axes(place, ", ".join(key))
        clients, of_class = np.indices(counts.shape)
        place.scatter(
            clients.ravel() + 1, of_class.ravel(), s=90 * counts.ravel() / counts.max(), c="#0072B2"
        )
        rows += [
            {
                "data, partition": ", ".join(key),
                "client": i + 1,
                **{f"class {c}": int(n) for c, n in enumerate(of_client)},
            }
            for i, of_client in enumerate(counts)
        ]
    figure.supxlabel("client", fontsize=9)
    figure.supylabel("class", fontsize=9)
    yield Panel(
        "labels",
        "Labels of each client",
        "Training rows of each class that a client holds (the area of a dot), for the first seed.",
        figure,
        pd.DataFrame(rows),
    )


def _given(options: Mapping[Any, Any]) -> dict[str, Any]:
    """Return options without those that results of another version do not hold."""
    import pandas as pd  # noqa: PLC0415

    whole = {
        *("n", "f", "assumed_f", "rounds", "batch_size"),
        *("seed", "data_seed", "threads", "evaluate_every"),
    }
    present = {k: v for k, v in options.items() if not (v is None or (pd.isna(v) is True))}
    return {k: int(v) if k in whole else v for k, v in present.items()}
