"""A tree of tensors and plain values in one file: no pickle, written whole or not at all.

A file is a zip archive (uncompressed, so every part carries a check sum) of ``tree.json`` and the
tensors' bytes. Reading evaluates nothing and allocates what the file itself holds.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "state"
...     write_tree(path, {"round": 3, "velocity": {"w": torch.ones(2)}, "seen": (1, None)})
...     read_tree(path)
{'round': 3, 'velocity': {'w': tensor([1., 1.])}, 'seen': (1, None)}
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import torch

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["StateFileError", "Tree", "atomically", "read_tree", "sole_writer", "write_tree"]

Tree: TypeAlias = Any
"""None, bool, int, float, str, bytes; tensors and NumPy arrays; lists, tuples, dicts of trees."""

_FORMAT = "byzflower tree 1"
_TREE = "tree.json"
_PLAIN = (bool, int, float, str, type(None))


class StateFileError(ValueError):
    """A file is no tree, or not all of one; the message says what was needed and found."""


@contextlib.contextmanager
def atomically(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its name only once everything is on the disk.

    Whatever ends the block early (an error, a full disk, SIGKILL) leaves a file that had the name
    before as it was.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "note"
    ...     with atomically(path) as file:
    ...         _ = file.write(b"done")
    ...     path.read_bytes()
    b'done'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def sole_writer(folder: str | Path) -> Iterator[None]:
    """Keep other processes that ask for the same out of a folder while the block runs.

    The lock goes with the process, however that ends. Where the operating system has no `flock`
    (Windows), nothing is locked.

    Raises
    ------
    BlockingIOError
        If another process is in the folder; the message names it.
    OSError
        If the folder does not exist or cannot be written.
    """
    with (Path(folder) / ".lock").open("a+") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                process = file.read(20).strip() or "unknown"
                raise BlockingIOError(
                    f"process {process} is writing to {folder}; wait for it or end it first"
                ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def write_tree(path: str | Path, tree: Tree) -> None:
    """Write a tree, atomically.

    Raises
    ------
    TypeError
        If the tree holds something else than :data:`Tree` says.
    OSError
        If the disk does not take it; a file of that name is then as it was.
    """
    tensors: list[torch.Tensor | np.ndarray[Any, Any]] = []
    text = json.dumps({"format": _FORMAT, "tree": _encoded(tree, tensors)}, ensure_ascii=False)
    with (
        atomically(path) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        archive.writestr(_TREE, text)
        for number, tensor in enumerate(tensors):
            with archive.open(str(number), "w", force_zip64=True) as part:
                part.write(_bytes_of(tensor))


def read_tree(path: str | Path) -> Tree:
    """Read a tree; tensors come back on the CPU.

    Raises
    ------
    StateFileError
        If the file cannot be read, is cut short, damaged, or something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read(_TREE))
            if not isinstance(content, dict) or content.get("format") != _FORMAT:
                raise StateFileError(f"{path} needs the format {_FORMAT!r}; found another")
            return _decoded(content["tree"], archive)
    except StateFileError:
        raise
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise StateFileError(f"{path} needs to be a whole state file; found: {error}") from error


def _encoded(tree: Tree, tensors: list[Any]) -> Any:
    if isinstance(tree, _PLAIN):
        if isinstance(tree, float) and not math.isfinite(tree):
            return {"float": str(tree)}
        return tree
    if isinstance(tree, bytes):
        return {"bytes": tree.hex()}
    if isinstance(tree, np.generic):
        return _encoded(tree.item(), tensors)
    if isinstance(tree, torch.Tensor | np.ndarray):
        tensors.append(tree)
        place = [len(tensors) - 1, list(tree.shape)]
        if isinstance(tree, torch.Tensor):
            return {"tensor": [str(tree.dtype).removeprefix("torch."), *place]}
        if tree.dtype.kind not in "biufc":
            raise TypeError(f"a state file holds numeric arrays; found {tree.dtype}")
        return {"array": [tree.dtype.str, *place]}
    if isinstance(tree, list):
        return [_encoded(item, tensors) for item in tree]
    if isinstance(tree, tuple):
        return {"tuple": [_encoded(item, tensors) for item in tree]}
    if isinstance(tree, dict):
        return {"dict": [[_encoded(k, tensors), _encoded(v, tensors)] for k, v in tree.items()]}
    raise TypeError(f"a state file holds numbers, text, tensors and trees of them; found {tree!r}")


def _decoded(node: Any, archive: zipfile.ZipFile) -> Tree:
    if isinstance(node, _PLAIN):
        return node
    if isinstance(node, list):
        return [_decoded(item, archive) for item in node]
    ((kind, value),) = node.items()
    if kind == "float":
        return float(value)
    if kind == "bytes":
        return bytes.fromhex(value)
    if kind == "tuple":
        return tuple(_decoded(item, archive) for item in value)
    if kind == "dict":
        return {_decoded(k, archive): _decoded(v, archive) for k, v in value}
    if kind == "tensor":
        dtype, number, shape = value
        data = bytearray(archive.read(str(number)))
        found = getattr(torch, dtype)
        if not isinstance(found, torch.dtype):
            raise ValueError(f"{dtype!r} is no dtype")
        flat = torch.frombuffer(data, dtype=found) if data else torch.empty(0, dtype=found)
        return flat.reshape(shape)
    if kind == "array":
        dtype, number, shape = value
        return np.frombuffer(bytearray(archive.read(str(number))), np.dtype(dtype)).reshape(shape)
    raise ValueError(f"{kind!r} is no part of a tree")


def _bytes_of(values: torch.Tensor | np.ndarray[Any, Any]) -> memoryview:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data


def _sync_folder(folder: Path) -> None:
    """Have the renaming itself on the disk, where folders can be synchronised."""
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
