"""From a client's reply, which may hold anything, to tensors of the model's layout or a rejection.

A reply is hostile until proven well-formed: nothing it declares is believed before it is compared
with the model that was sent, no byte of it is unpickled or evaluated, no declared size is
allocated, and nothing it contains can raise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord
from torch import Tensor

from byzflower.strategies.rejections import MalformedError, Reason, Rejection, Reply, excerpt
from byzflower.wire.arrays import NUMPY_STYPE, SharedArray
from byzflower.wire.guard import BROKEN_REPLY
from byzflower.wire.metrics import MetricValue
from byzflower.wire.payload import Payload, declared

__all__ = [
    "Expected",
    "Vetting",
    "is_finite",
]

# `numpy.save` headers take 128 bytes for most arrays; what is longer is no header of ours.
_LONGEST_HEADER = 1024
# How many bytes hold the header's length, in versions 1.0 and 2.0 of the format.
_LENGTH_BYTES = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}
# Beyond this a count is no count, and float arithmetic on it is no longer exact.
_MOST_EXAMPLES = 2.0**53


def is_finite(tensor: Tensor) -> bool:
    """Whether a real tensor of any dtype holds neither NaN nor Inf."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    low, high = torch.aminmax(tensor)
    return bool(torch.isfinite(low) & torch.isfinite(high))


@dataclass(frozen=True)
class Expected:
    """Shape and dtype that one of the model's arrays must have in every reply.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from flwr.app import Array
    >>> Expected(torch.float32, (2,)).read(Array(np.ones(2, dtype=np.float32)))
    tensor([1., 1.])
    """

    dtype: torch.dtype
    shape: tuple[int, ...]

    @cached_property
    def name(self) -> str:
        """The dtype as Flower declares it."""
        return str(self.dtype).removeprefix("torch.")

    @cached_property
    def _numpy_dtype(self) -> np.dtype[Any] | None:
        try:
            return torch.empty(0, dtype=self.dtype).numpy().dtype
        except TypeError:
            return None

    def read(self, array: Array) -> Tensor:
        """Return the array's tensor, shared if it is a `SharedArray`, or raise what is wrong."""
        if isinstance(array, SharedArray):
            tensor = array.tensor
            self._compare(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
            if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
                raise MalformedError(Reason.STYPE, "needs a dense tensor with values")
            return tensor
        self._compare(array.dtype, array.shape)
        if array.stype != NUMPY_STYPE:
            raise MalformedError(
                Reason.STYPE, f"needs stype {NUMPY_STYPE!r}; found {excerpt(array.stype)}"
            )
        return self._decode(array.data)

    def _compare(self, dtype: str, shape: tuple[int, ...]) -> None:
        if dtype != self.name:
            raise MalformedError(Reason.DTYPE, f"needs dtype {self.name}; found {excerpt(dtype)}")
        if shape != self.shape:
            raise MalformedError(Reason.SHAPE, f"needs shape {self.shape}; found {excerpt(shape)}")

    def _decode(self, data: bytes) -> Tensor:
        dtype = self._numpy_dtype
        if dtype is None:
            raise MalformedError(Reason.DTYPE, f"{self.name} arrays cannot be sent as bytes")
        count = int(np.prod(self.shape, dtype=np.int64))
        size = count * dtype.itemsize
        if not size < len(data) <= size + _LONGEST_HEADER:
            raise MalformedError(
                Reason.BYTES, f"needs {size} bytes and a header; found {len(data)} bytes"
            )
        fortran, offset = self._header(data, dtype)
        if len(data) - offset != size:
            raise MalformedError(
                Reason.BYTES, f"needs {size} bytes after the header; found {len(data) - offset}"
            )
        flat = (
            np.frombuffer(data, dtype=dtype, count=count, offset=offset) if count else np.empty(0)
        )
        values = flat.reshape(self.shape, order="F" if fortran else "C")
        return torch.from_numpy(np.array(values, dtype=dtype, order="C"))

    def _header(self, data: bytes, dtype: np.dtype[Any]) -> tuple[bool, int]:
        """Return whether the values lie in Fortran order, and where they start.

        What NumPy writes before the expected array is known, spaces aside, so its header is
        compared and nothing of it is evaluated.
        """
        start = 8 + _LENGTH_BYTES.get(data[:8], 0)
        stop = start + int.from_bytes(data[8:start], "little")
        found = data[start:stop].translate(None, b" \n").replace(b",}", b"}")
        for fortran in (False, True):
            known = f"{{'descr': '{dtype.str}', 'fortran_order': {fortran}, 'shape': {self.shape}}}"
            if found == known.replace(" ", "").encode():
                return fortran, stop
        raise MalformedError(
            Reason.BYTES,
            f"needs the .npy header of {self.name} {self.shape}; found {excerpt(found)}",
        )


@dataclass(frozen=True)
class Vetting:
    """Turns one message into a `Reply` or a `Rejection`; never raises.

    Parameters
    ----------
    expected : Mapping[str, Expected]
        What the model that was sent holds under each key.
    buffers : frozenset[str]
        Keys whose values are checked for NaN and Inf here; those of the parameters are found
        while the rule reads them, which saves a pass over the data.
    arrays_key : str
        Name of the one ArrayRecord in a reply to training.
    examples_key : str
        Metric with the number of examples, which the one MetricRecord must hold.
    payload : {"model", "gradient"}
        What the arrays are taken for. Clients of this package declare it, see
        `byzflower.wire.payload`; a reply that declares the other one is turned away.
    """

    expected: Mapping[str, Expected]
    buffers: frozenset[str] = frozenset()
    arrays_key: str = "arrays"
    examples_key: str = "num-examples"
    payload: Payload = "model"

    def train(self, node_id: int, message: Message) -> Reply | Rejection:
        """Vet a reply to training: arrays in the model's layout, one count of examples."""
        return self._vet(node_id, message, with_arrays=True)

    def evaluate(self, node_id: int, message: Message) -> Reply | Rejection:
        """Vet a reply to evaluation: metrics only, all of them finite."""
        return self._vet(node_id, message, with_arrays=False)

    def _vet(self, node_id: int, message: Message, *, with_arrays: bool) -> Reply | Rejection:
        try:
            if message.has_error():
                error = message.error
                if error.code == BROKEN_REPLY:
                    found = excerpt(error.reason or "", 120)
                    return Rejection(node_id, Reason.UNREADABLE, f"cannot be read: {found}")
                return Rejection(
                    node_id, Reason.ERROR, f"error {error.code}: {excerpt(error.reason or '', 120)}"
                )
            metrics = self._metrics(message, finite=not with_arrays)
            tensors = self._tensors(message) if with_arrays else {}
            if with_arrays:
                self._check_declaration(message)
        except MalformedError as problem:
            return Rejection(node_id, problem.reason, str(problem))
        except Exception as error:  # whatever a reply provokes is the reply's fault
            return Rejection(
                node_id, Reason.UNREADABLE, f"{type(error).__name__}: {excerpt(str(error))}"
            )
        return Reply(node_id, tensors, metrics)

    def _metrics(self, message: Message, *, finite: bool) -> dict[str, MetricValue]:
        if not message.has_content():
            raise MalformedError(Reason.RECORDS, "needs records; found an empty reply")
        found = [r for r in message.content.values() if isinstance(r, MetricRecord)]
        if len(found) != 1:
            raise MalformedError(Reason.RECORDS, f"needs one MetricRecord; found {len(found)}")
        metrics = dict(found[0])
        count = metrics.get(self.examples_key)
        if not isinstance(count, int | float) or not 0 <= count <= _MOST_EXAMPLES:
            raise MalformedError(
                Reason.NUM_EXAMPLES,
                f"needs a count from 0 to 2⁵³ in {self.examples_key!r}; found {excerpt(count)}",
            )
        if finite:
            for key, value in metrics.items():
                if not all(map(_is_number, value if isinstance(value, list) else [value])):
                    raise MalformedError(
                        Reason.METRICS, f"needs finite metrics; found {excerpt(key)}"
                    )
        return metrics

    def _tensors(self, message: Message) -> dict[str, Tensor]:
        found = {k: r for k, r in message.content.items() if isinstance(r, ArrayRecord)}
        if list(found) != [self.arrays_key]:
            raise MalformedError(
                Reason.RECORDS,
                f"needs one ArrayRecord, {self.arrays_key!r}; found {excerpt(list(found)[:3])}",
            )
        record = found[self.arrays_key]
        if record.keys() != self.expected.keys():
            extra = [key for key in record if key not in self.expected]
            missing = [key for key in self.expected if key not in record]
            raise MalformedError(
                Reason.KEYS,
                f"needs the model's {len(self.expected)} arrays; found {len(extra)} unknown "
                f"{excerpt(extra[:2])} and {len(missing)} missing {excerpt(missing[:2])}",
            )
        return {key: self._tensor(key, record[key]) for key in self.expected}

    def _check_declaration(self, message: Message) -> None:
        found = declared(message.content)
        if found is not None and found != self.payload:
            raise MalformedError(
                Reason.PAYLOAD,
                f"sends {found}s; this strategy expects {self.payload}s: set "
                f"payload={found!r} or let the clients send {self.payload}s",
            )

    def _tensor(self, key: str, array: Array) -> Tensor:
        try:
            tensor = self.expected[key].read(array)
        except MalformedError as problem:
            raise MalformedError(problem.reason, f"{excerpt(key)} {problem}") from problem
        if key in self.buffers and not is_finite(tensor):
            raise MalformedError(Reason.NON_FINITE, f"{excerpt(key)} holds NaN or Inf")
        return tensor


def _is_number(value: float) -> bool:
    # An integer too large for a float would raise in any average.
    return abs(value) <= _MOST_EXAMPLES if isinstance(value, int) else isfinite(value)
