"""SAGA's table: the last gradient of every example of one client."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .algorithms import Batch, Buffers, Objective, Params, State
from .algorithms.dropout import fold

__all__ = ["GradientTable", "TableFiles"]

# Gradients computed at once while the table is filled, in numbers: 64 MiB of float32.
_CHUNK = 2**24


class GradientTable:
    """J rows of d numbers, their mean, and how many steps they have seen.

    Parameters
    ----------
    examples
        J.
    params
        The model's parameters: d numbers, their dtype and device.
    path
        File of the rows, mapped into memory and created if needed; the mean and the number of
        steps lie beside it in ``<path>.mean``. None keeps everything in memory on the parameters'
        device.
    memory_limit
        Most bytes that a table without a file may take.

    Raises
    ------
    ValueError
        If a table without a file would exceed the limit.

    Examples
    --------
    >>> table = GradientTable(5, {"w": torch.zeros(3)})
    >>> table.steps
    0
    >>> table.state(torch.tensor([0, 4]))["stored"].shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        examples: int,
        params: Params,
        path: Path | None = None,
        memory_limit: int = 2**30,
    ) -> None:
        first = next(iter(params.values()))
        d = sum(p.numel() for p in params.values())
        size = examples * d * first.element_size()
        self._device = first.device
        if path is None:
            if size > memory_limit:
                raise ValueError(
                    f"`saga` needs {size} bytes for its table of {examples} × {d} gradients, the "
                    f"memory limit is {memory_limit}; give the client a `state_dir`"
                )
            self._rows = torch.zeros(examples, d, dtype=first.dtype, device=first.device)
            self._mean = torch.zeros(d + 1, dtype=torch.float64, device=first.device)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._rows = _mapped(path, examples * d, first.dtype).view(examples, d)
            self._mean = _mapped(Path(f"{path}.mean"), d + 1, torch.float64)

    @property
    def steps(self) -> int:
        """How many steps were stored since ``fill``; −1 if one was interrupted half-way."""
        return int(self._mean[-1])

    def state_dict(self) -> dict[str, Tensor]:
        """Return rows and mean, for a checkpoint; they share the table's memory."""
        return {"rows": self._rows, "mean": self._mean}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take rows and mean from a checkpoint.

        Raises
        ------
        ValueError
            If they are another model's or another data set's.
        """
        for name, own in self.state_dict().items():
            if state[name].shape != own.shape:
                raise ValueError(
                    f"the table needs {name} of shape {tuple(own.shape)}; "
                    f"found {tuple(state[name].shape)}"
                )
            own.copy_(state[name])

    def fill(self, objective: Objective, params: Params, buffers: Buffers, examples: Batch) -> None:
        """Set every row to its example's gradient at params (Algorithm 2, line 1); 0 steps."""
        self._mean[-1] = -1
        total = torch.zeros_like(self._mean[:-1])
        chunk = max(1, _CHUNK // self._rows.shape[1])
        for start in range(0, len(self._rows), chunk):
            part = slice(start, start + chunk)
            batch = examples.part(part, fold(examples.key, start))
            grads, _ = objective.sample_gradients(params, buffers, batch)
            rows = torch.cat([g.flatten(1) for g in grads.values()], dim=1)
            self._rows[part] = rows
            total += rows.sum(0, dtype=total.dtype).to(total.device)
        self._mean[:-1] = total / len(self._rows)
        self._mean[-1] = 0

    def state(self, indices: Tensor) -> State:
        """Return the state of a step on these examples, (b,) distinct numbers."""
        return {
            "stored": self._rows[indices.to(self._rows.device)].to(self._device),
            "mean": self._mean[:-1].to(self._device, copy=True),
            "count": torch.tensor(len(self._rows), dtype=self._mean.dtype, device=self._device),
        }

    def store(self, indices: Tensor, state: State) -> None:
        """Write a step's new state back and count the step."""
        steps = self._mean[-1].clone()
        self._mean[-1] = -1
        self._rows[indices.to(self._rows.device)] = state["stored"].to(self._rows.device)
        self._mean[:-1] = state["mean"]
        self._mean[-1] = steps + 1


class TableFiles:
    """The files of one run's tables, in which processes share them.

    Parameters
    ----------
    folder
        Where they lie; a table's file is made when the table is.
    run_id
        The run.

    Examples
    --------
    >>> TableFiles(Path("states"), 7).path(3).as_posix()
    'states/saga-7-3.rows'
    """

    def __init__(self, folder: Path, run_id: int) -> None:
        self._folder, self._prefix = folder, f"saga-{int(run_id)}-"

    def path(self, partition_id: int) -> Path:
        """Return the file of one client's table."""
        return self._folder / f"{self._prefix}{int(partition_id)}.rows"

    def state_dict(self) -> dict[str, bytes]:
        """Return all that they hold, for a checkpoint of the run."""
        found = sorted(self._folder.glob(f"{self._prefix}*"))
        return {path.name.removeprefix(self._prefix): path.read_bytes() for path in found}

    def load_state_dict(self, state: dict[str, bytes]) -> None:
        """Write the files of a checkpoint, which may be of a run with another id."""
        for name, content in state.items():
            (self._folder / f"{self._prefix}{name}").write_bytes(content)


def _mapped(path: Path, size: int, dtype: torch.dtype) -> Tensor:
    # A file of another size belongs to another model or data set: start from an empty one.
    if path.exists() and path.stat().st_size != size * dtype.itemsize:
        path.unlink()
    return torch.from_file(str(path), shared=True, size=size, dtype=dtype)
