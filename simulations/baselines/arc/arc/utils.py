"""arc: results, kept a line a run, and the table that they make.

``python -m arc.utils FOLDER`` prints the table.
"""

import json
import sys
from pathlib import Path

from flwr.app import UserConfig


def save(
    out: str, config: UserConfig, accuracies: dict[int, float], seconds: float
) -> None:
    """Print a run's accuracies; append them to ``results.jsonl`` in folder ``out``."""
    final, maximal = list(accuracies.values())[-1], max(accuracies.values())
    print(f"accuracy {final:.3f}, maximal {maximal:.3f}, {seconds:.0f} s")
    if out:
        run = {**config, "seconds": seconds, "accuracies": accuracies}
        Path(out).mkdir(parents=True, exist_ok=True)
        with (Path(out) / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")


def table(out: str) -> str:
    """Return rules by attacks as Markdown: final (maximal) accuracies in per cent."""
    text = (Path(out) / "results.jsonl").read_text(encoding="utf-8")
    runs = [json.loads(line) for line in text.splitlines()]
    found: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        rule = f"{run['aggregation']}, clipping: {run['clipping']}"
        found[rule, run["attack"]] = list(run["accuracies"].values())
    rules, attacks = (list(dict.fromkeys(names)) for names in zip(*found, strict=True))
    lines = [f"| rule | {' | '.join(attacks)} |", "|---" * (len(attacks) + 1) + "|"]
    for rule in rules:
        cells = []
        for attack in attacks:
            values = found.get((rule, attack))
            cells.append(f"{values[-1]:.1%} ({max(values):.1%})" if values else "")
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    minutes = sum(run["seconds"] for run in runs) / 60
    return "\n".join([*lines, "", f"{len(runs)} runs, {minutes:.0f} minutes"])


if __name__ == "__main__":
    print(table(sys.argv[1]))
