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
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from torch import Tensor

from byzflower.wire.arrays import NUMPY_STYPE, SharedArray, shared_tensor
from byzflower.wire.guard import BROKEN_REPLY
from byzflower.wire.metrics import MetricValue
from byzflower.wire.payload import Payload, declared, declared_buffers

from .rejections import Reason, Rejection, Reply, excerpt

__all__ = ["Expected", "Vetting", "is_finite"]

# `numpy.save` headers take 128 bytes for most arrays; what is longer is no header of ours.
_LONGEST_HEADER = 1024
# How many bytes hold the header's length, in versions 1.0 and 2.0 of the format.
_LENGTH_BYTES = {b"\x93NUMPY\x01\x00": 2, b"\x93NUMPY\x02\x00": 4}
# How `numpy.save` writes two bytes without a type: of a plain array, and of one of ml_dtypes.
_BFLOAT16 = ("|V2", "<V2")
# Beyond this a count is no count, and float arithmetic on it is no longer exact.
_MOST_EXAMPLES = 2.0**53


class _MalformedError(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def is_finite(tensor: Tensor) -> bool:
    """Whether a real tensor of any dtype holds neither NaN nor Inf."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    if tensor.device.type == "cpu" and tensor.dtype in {torch.float32, torch.float64}:
        values = (
            tensor.detach().numpy()
        )  # on this thread alone: all of torch's wait for the slowest
        return bool(np.isfinite(values.min()) and np.isfinite(values.max()))
    low, high = torch.aminmax(tensor)
    return bool(torch.isfinite(low) & torch.isfinite(high))


@dataclass(frozen=True)
class Expected:
    """Shape and dtype that one of the model's arrays must have in every reply.

    Parameters
    ----------
    dtype, shape
        The model's own.
    cast : bool
        Whether another floating-point precision or byte order is accepted, and cast. Values that
        the model's dtype cannot hold become infinite and are found as such.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from flwr.app import Array
    >>> Expected(torch.float32, (2,)).read(Array(np.ones(2, dtype=np.float32)))
    tensor([1., 1.])
    >>> Expected(torch.float32, (2,), cast=True).read(Array(np.ones(2, dtype=">f8")))
    tensor([1., 1.])
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    cast: bool = False

    @cached_property
    def name(self) -> str:
        """The dtype as Flower declares it."""
        return _name_of(self.dtype)

    @cached_property
    def _stored(self) -> dict[str, np.dtype[Any]]:
        """What the bytes may hold, by the code in their header, the model's own first.

        Nothing for 8-bit floats, which NumPy lacks.
        """
        if self.dtype == torch.bfloat16:
            stored = dict.fromkeys(_BFLOAT16, np.dtype(np.int16))
        else:
            try:
                own = torch.empty(0, dtype=self.dtype).numpy().dtype
            except TypeError:
                return {}
            stored = {own.str: own}
        if self.cast and self.is_float:
            for code in (f"{order}f{size}" for order in "<>" for size in (2, 4, 8)):
                stored.setdefault(code, np.dtype(code))
            for code in _BFLOAT16:
                stored.setdefault(code, np.dtype(np.int16))
        return stored

    def read(self, array: Array) -> Tensor:
        """Return the array's tensor, or raise what is wrong with it.

        It shares memory with a `SharedArray`, and with the bytes of any other array whose values
        lie in them as the model's do; nobody may write to it.
        """
        if isinstance(array, SharedArray):
            tensor = array.tensor
            self._compare(_name_of(tensor.dtype), tuple(tensor.shape))
            if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
                raise _MalformedError(Reason.STYPE, "needs a dense tensor with values")
            return tensor.to(self.dtype)
        self._compare(array.dtype, array.shape)
        if array.stype != NUMPY_STYPE:
            raise _MalformedError(
                Reason.STYPE, f"needs stype {NUMPY_STYPE!r}; found {excerpt(array.stype)}"
            )
        return self._decode(array.data)

    def _compare(self, dtype: str, shape: tuple[int, ...]) -> None:
        if dtype != self.name and not (self.cast and self.is_float and dtype in _FLOATS):
            cure = "; `cast_dtypes=True` would cast it" if dtype in _FLOATS else ""
            raise _MalformedError(
                Reason.DTYPE,
                f"needs dtype {self.name}; found {excerpt(dtype)}{cure if self.is_float else ''}",
            )
        if shape != self.shape:
            raise _MalformedError(Reason.SHAPE, f"needs shape {self.shape}; found {excerpt(shape)}")

    @property
    def is_float(self) -> bool:
        """Whether the model's array holds floating-point numbers."""
        return self.dtype.is_floating_point

    def _decode(self, data: bytes) -> Tensor:
        if not self._stored:
            raise _MalformedError(Reason.DTYPE, f"{self.name} arrays cannot be sent as bytes")
        count = int(np.prod(self.shape, dtype=np.int64))
        sizes = [count * dtype.itemsize for dtype in self._stored.values()]
        if not min(sizes) < len(data) <= max(sizes) + _LONGEST_HEADER:
            raise _MalformedError(
                Reason.BYTES, f"needs {sizes[0]} bytes and a header; found {len(data)} bytes"
            )
        dtype, fortran, offset = self._header(data)
        size = count * dtype.itemsize
        if len(data) - offset != size:
            raise _MalformedError(
                Reason.BYTES, f"needs {size} bytes after the header; found {len(data) - offset}"
            )
        if not count:
            return torch.empty(self.shape, dtype=self.dtype)
        flat = np.frombuffer(data, dtype=dtype, count=count, offset=offset)
        values = flat.reshape(self.shape, order="F" if fortran else "C")
        if dtype.kind == "i" and self.is_float:  # the bits of bfloat16
            bits = shared_tensor(np.asarray(values, order="C"))
            return bits.view(torch.bfloat16).to(self.dtype)
        native = np.asarray(values, dtype=dtype.newbyteorder("="), order="C")
        return shared_tensor(native).to(self.dtype)

    def _header(self, data: bytes) -> tuple[np.dtype[Any], bool, int]:
        """Return the stored dtype, whether the values lie in Fortran order, where they start.

        What NumPy writes before the expected array is known, spaces aside, so its header is
        compared and nothing of it is evaluated.
        """
        start = 8 + _LENGTH_BYTES.get(data[:8], 0)
        stop = start + int.from_bytes(data[8:start], "little")
        found = data[start:stop].translate(None, b" \n").replace(b",}", b"}")
        for code, dtype in self._stored.items():
            for fortran in (False, True):
                known = f"{{'descr': '{code}', 'fortran_order': {fortran}, 'shape': {self.shape}}}"
                if found == known.replace(" ", "").encode():
                    return dtype, fortran, stop
        raise _MalformedError(
            Reason.BYTES,
            f"needs the .npy header of {self.name} {self.shape}; found {excerpt(found)}",
        )


# As Flower declares them: by name, or in the byte order that is not this machine's by code.
_FLOATS = frozenset(
    {
        *("bfloat16", "float16", "float32", "float64"),
        *(f"{order}f{size}" for order in "<>" for size in (2, 4, 8)),
    }
)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


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
                detail = f"error {excerpt(error.code)}: {excerpt(error.reason or '', 120)}"
                return Rejection(node_id, Reason.ERROR, detail)
            name, metrics = self._metrics(message, finite=not with_arrays)
            tensors = self._tensors(message) if with_arrays else {}
            if with_arrays:
                self._check_declaration(message)
        except _MalformedError as problem:
            return Rejection(node_id, problem.reason, str(problem))
        except Exception as error:  # whatever a reply provokes is the reply's fault
            return Rejection(
                node_id, Reason.UNREADABLE, f"{type(error).__name__}: {excerpt(str(error))}"
            )
        records = message.content.items()
        configs = {name: record for name, record in records if isinstance(record, ConfigRecord)}
        return Reply(node_id, tensors, metrics, name, configs, declared_buffers(message.content))

    def _metrics(self, message: Message, *, finite: bool) -> tuple[str, dict[str, MetricValue]]:
        if not message.has_content():
            raise _MalformedError(Reason.RECORDS, "needs records; found an empty reply")
        found = [(n, r) for n, r in message.content.items() if isinstance(r, MetricRecord)]
        if len(found) != 1:
            raise _MalformedError(Reason.RECORDS, f"needs one MetricRecord; found {len(found)}")
        name, metrics = found[0][0], dict(found[0][1])
        count = metrics.get(self.examples_key)
        if not isinstance(count, int | float) or not 0 <= count <= _MOST_EXAMPLES:
            raise _MalformedError(
                Reason.NUM_EXAMPLES,
                f"needs a count from 0 to 2⁵³ in {self.examples_key!r}; found {excerpt(count)}",
            )
        for key, value in metrics.items():
            values = value if isinstance(value, list) else [value]
            if not all(isinstance(item, int | float) for item in values):
                raise _MalformedError(
                    Reason.METRICS, f"needs numbers as metrics; found {excerpt(key)}"
                )
            if finite and not all(map(_is_number, values)):
                raise _MalformedError(Reason.METRICS, f"needs finite metrics; found {excerpt(key)}")
        return name, metrics

    def _tensors(self, message: Message) -> dict[str, Tensor]:
        found = {k: r for k, r in message.content.items() if isinstance(r, ArrayRecord)}
        if list(found) != [self.arrays_key]:
            raise _MalformedError(
                Reason.RECORDS,
                f"needs one ArrayRecord, {self.arrays_key!r}; found {excerpt(list(found)[:3])}",
            )
        record = found[self.arrays_key]
        if record.keys() != self.expected.keys():
            extra = [key for key in record if key not in self.expected]
            missing = [key for key in self.expected if key not in record]
            raise _MalformedError(
                Reason.KEYS,
                f"needs the model's {len(self.expected)} arrays; found {len(extra)} unknown "
                f"{excerpt(extra[:2])} and {len(missing)} missing {excerpt(missing[:2])}",
            )
        return {key: self._tensor(key, record[key]) for key in self.expected}

    def _check_declaration(self, message: Message) -> None:
        found = declared(message.content)
        if found is not None and found != self.payload:
            raise _MalformedError(
                Reason.PAYLOAD,
                f"sends {found}s; this strategy expects {self.payload}s: set "
                f"payload={found!r} or let the clients send {self.payload}s",
            )

    def _tensor(self, key: str, array: Array) -> Tensor:
        try:
            tensor = self.expected[key].read(array)
        except _MalformedError as problem:
            raise _MalformedError(problem.reason, f"{excerpt(key)} {problem}") from problem
        if key in self.buffers and not is_finite(tensor):
            raise _MalformedError(Reason.NON_FINITE, f"{excerpt(key)} holds NaN or Inf")
        return tensor


def _is_number(value: float) -> bool:
    # An integer too large for a float would raise in any average.
    return abs(value) <= _MOST_EXAMPLES if isinstance(value, int) else isfinite(value)
