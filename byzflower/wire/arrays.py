"""Model arrays as tensors: Flower arrays that share a tensor instead of carrying its bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from io import BytesIO
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor

__all__ = ["SharedArray", "borrowed", "shared_tensor", "to_record", "to_tensor"]

# Flower's name for arrays serialised by `numpy.save`.
NUMPY_STYPE = "numpy.ndarray"


class SharedArray(Array):
    """A Flower array that holds a tensor and makes bytes only when somebody asks for them.

    Engines that run clients in the server's process exchange tensors (on any device) without
    serialising them; where a message does leave the process, pickling and Flower's own
    serialisation turn the array into a plain `flwr.app.Array`, so the receiver needs nothing of
    this package. The tensor is shared, not copied: whoever holds the array must not modify it.

    Insert it with ``record[key] = SharedArray(tensor)`` or use `to_record`; the constructor
    ``ArrayRecord({key: array})`` copies every array through its bytes.

    Parameters
    ----------
    tensor : Tensor
        Dense tensor of any shape, dtype and device; detached, never copied. Bytes exist for the
        dtypes that NumPy has, and for bfloat16: there they are numbers of two bytes without a type,
        as the package ml_dtypes stores them, which `to_tensor` reads. Not for the 8-bit floats.

    Examples
    --------
    >>> import torch
    >>> weight = torch.ones(2, 3)
    >>> array = SharedArray(weight)
    >>> array.tensor.data_ptr() == weight.data_ptr(), array.dtype, array.shape
    (True, 'float32', (2, 3))
    >>> array.numpy().sum().item()
    6.0
    """

    def __init__(self, tensor: Tensor) -> None:
        # Flower's attributes forget cached bytes when set, which a new array has none of.
        self.__dict__.update(
            _tensor=tensor.detach(),
            dtype=str(tensor.dtype).removeprefix("torch."),
            shape=tuple(tensor.shape),
            stype=NUMPY_STYPE,
        )

    @property
    def tensor(self) -> Tensor:
        """The shared tensor; read it only."""
        return cast(Tensor, self.__dict__["_tensor"])

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The array's `numpy.save` bytes, made on first use and kept."""
        if "_data" not in self.__dict__:
            buffer = BytesIO()
            np.save(buffer, _stored(self.tensor), allow_pickle=False)
            self.__dict__["_data"] = buffer.getvalue()
        return cast(bytes, self.__dict__["_data"])

    def numpy(self) -> npt.NDArray[Any]:
        """Return a NumPy copy, the caller's to modify, as with any Flower array.

        Of bfloat16, which NumPy lacks, it is in float32, which holds the same numbers: so Flower's
        strategies average and step such models.
        """
        tensor = self.tensor.float() if self.tensor.dtype == torch.bfloat16 else self.tensor
        return np.array(tensor.cpu().numpy())

    def deflate(self) -> bytes:
        """Serialise as a plain array: Flower inflates objects by the class name in the header."""
        plain = Array(self.dtype, self.shape, self.stype, self.data)
        plain.__dict__["_chunks"] = self.slice_array()
        return plain.deflate()

    def __reduce__(self) -> tuple[type[Array], tuple[str, tuple[int, ...], str, bytes]]:
        """Pickle as a plain array."""
        return Array, (self.dtype, self.shape, self.stype, self.data)

    def __repr__(self) -> str:
        return f"SharedArray(dtype={self.dtype!r}, shape={self.shape}, device={self.tensor.device})"


def _stored(tensor: Tensor) -> npt.NDArray[Any]:
    """Return the array that `numpy.save` writes: of bfloat16, elements of two bytes."""
    if tensor.dtype != torch.bfloat16:
        return tensor.cpu().numpy()
    return tensor.cpu().contiguous().view(torch.int16).numpy().view("V2")


def shared_tensor(values: npt.NDArray[Any]) -> Tensor:
    """Return a tensor on the array's memory, which nobody may write to.

    Memory that is read-only (a message's bytes) is no exception; values that are not aligned are
    copied.

    >>> shared_tensor(np.frombuffer(np.arange(2.0).tobytes()))
    tensor([0., 1.], dtype=torch.float64)
    """
    if not values.flags.aligned:
        values = values.copy()
    return torch.from_numpy(np.asarray(_Writable(values)))


class _Writable:
    """An array's memory in the form that torch asks for: it has no tensors that are read-only."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self.values = values  # keeps the memory alive
        address, _ = values.__array_interface__["data"]
        self.__array_interface__ = {**values.__array_interface__, "data": (address, False)}


def to_tensor(array: Array) -> Tensor:
    """Return the array as a tensor: shared for a `SharedArray`, decoded from its bytes otherwise.

    Parameters
    ----------
    array : Array
        Any Flower array. Its bytes are trusted; replies of clients are vetted first.

    Returns
    -------
    Tensor
        Tensor of the array's shape and dtype. For a `SharedArray` it is the tensor itself, not to
        be modified.

    Raises
    ------
    TypeError
        If the array is not serialised by NumPy or its dtype has no torch counterpart.

    Examples
    --------
    >>> import numpy as np
    >>> from flwr.app import Array
    >>> to_tensor(Array(np.arange(3.0)))
    tensor([0., 1., 2.], dtype=torch.float64)
    """
    if isinstance(array, SharedArray):
        return array.tensor
    values = array.numpy()
    if array.dtype == "bfloat16" and values.dtype.kind == "V" and values.itemsize == 2:
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)


def borrowed(array: Array) -> Tensor:
    """Return the array as `to_tensor` does, but on its own bytes where they are laid out so.

    Nobody may write to the tensor.

    >>> array = Array(np.arange(3.0))
    >>> borrowed(array), borrowed(array).data_ptr() == borrowed(array).data_ptr()
    (tensor([0., 1., 2.], dtype=torch.float64), True)
    """
    if isinstance(array, SharedArray) or array.stype != NUMPY_STYPE:
        return to_tensor(array)
    stream = BytesIO(array.data)
    read_header = _HEADERS.get(np.lib.format.read_magic(stream))
    if read_header is None:
        return to_tensor(array)
    shape, fortran, dtype = read_header(stream)
    count = math.prod(shape)
    if not count or fortran or not dtype.isnative or dtype.kind not in "fiub":
        return to_tensor(array)
    values = np.frombuffer(array.data, dtype, count, offset=stream.tell())
    return shared_tensor(values.reshape(shape))


_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def to_record(tensors: Mapping[str, Tensor]) -> ArrayRecord:
    """Return a record of `SharedArray`, in the mapping's order; no data is copied.

    Parameters
    ----------
    tensors : Mapping[str, Tensor]
        Name to tensor, for instance a ``state_dict()``.

    Returns
    -------
    ArrayRecord
        Record that shares the tensors.

    Examples
    --------
    >>> import torch
    >>> record = to_record(torch.nn.Linear(2, 1).state_dict())
    >>> {key: array.shape for key, array in record.items()}
    {'weight': (1, 2), 'bias': (1,)}
    """
    record = ArrayRecord()
    for key, tensor in tensors.items():
        record[key] = SharedArray(tensor)
    return record
