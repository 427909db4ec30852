from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict

from byzflower.strategies import SharedArray, to_record, to_tensor
from byzflower.wire.arrays import shared_tensor

try:
    from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
    from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
except ImportError:  # before 1.39
    from flwr.common.inflatable import get_all_nested_objects
    from flwr.common.inflatable_utils import inflate_object_from_contents

DTYPES = [torch.float16, torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)], ids=str)
def test_shared_array_serialises_exactly_as_a_plain_one(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    tensor = torch.arange(np.prod(shape, dtype=int)).reshape(shape).to(dtype)
    shared, plain = SharedArray(tensor), Array(tensor.numpy())

    assert isinstance(shared, Array)
    assert (shared.dtype, shared.shape, shared.stype, shared.data) == (
        plain.dtype,
        plain.shape,
        plain.stype,
        plain.data,
    )
    assert shared.object_id == plain.object_id
    np.testing.assert_array_equal(shared.numpy(), plain.numpy())


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_leaving_the_process_makes_a_plain_array(duplicate: object) -> None:
    shared = SharedArray(torch.tensor([1.0, 2.0]))
    out = duplicate(shared)  # type: ignore[operator]
    if isinstance(out, bytes):
        assert b"byzflower" not in out
        out = pickle.loads(out)
    assert type(out) is Array
    assert to_tensor(out).equal(shared.tensor)


def test_flower_inflates_a_record_of_shared_arrays() -> None:
    record = to_record({"w": torch.ones(2, 3), "b": torch.zeros(3), "c": torch.tensor(7)})
    content = RecordDict({"arrays": record})
    objects = get_all_nested_objects(content)
    contents = {key: value.deflate() for key, value in objects.items()}

    inflated = inflate_object_from_contents(content.object_id, contents)

    arrays = inflated["arrays"]  # type: ignore[index]
    assert list(arrays) == ["w", "b", "c"]
    for key, array in arrays.items():
        assert type(array) is Array
        assert to_tensor(array).equal(to_tensor(record[key]))


def test_tensors_are_shared_and_bytes_are_lazy() -> None:
    tensor = torch.ones(4, requires_grad=True)
    record = to_record({"w": tensor})
    array = record["w"]
    assert to_tensor(array).data_ptr() == tensor.data_ptr()
    assert not to_tensor(array).requires_grad
    assert "_data" not in array.__dict__
    array.numpy()[:] = 5.0
    assert tensor.tolist() == [1.0] * 4
    assert "_data" not in array.__dict__


def test_record_reads_as_a_state_dict() -> None:
    state = torch.nn.BatchNorm1d(3).state_dict()
    read = to_record(state).to_torch_state_dict()
    assert list(read) == list(state)
    assert all(read[key].equal(state[key]) and read[key].dtype == state[key].dtype for key in state)


def test_the_array_record_constructor_still_works() -> None:
    record = ArrayRecord({"w": SharedArray(torch.ones(2))})
    assert to_tensor(record["w"]).equal(torch.ones(2))


def test_a_tensor_on_bytes_shares_them() -> None:
    data = bytes(4) + np.arange(6, dtype=np.float32).tobytes()
    values = np.frombuffer(data, np.float32, offset=4).reshape(2, 3)
    tensor = shared_tensor(values)
    assert tensor.data_ptr() == values.ctypes.data
    values = None
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]  # it keeps them alive


def test_values_that_are_not_aligned_are_copied() -> None:
    data = bytes(3) + np.arange(6, dtype=np.float64).tobytes()
    tensor = shared_tensor(np.frombuffer(data, np.float64, offset=3))
    assert tensor.data_ptr() % 8 == 0
    assert tensor.tolist() == [0, 1, 2, 3, 4, 5]


def test_non_contiguous_tensor_keeps_its_values() -> None:
    tensor = torch.arange(6.0).reshape(2, 3).T
    assert pickle.loads(pickle.dumps(SharedArray(tensor))).numpy().tolist() == tensor.tolist()


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)], ids=str)
def test_bfloat16_travels_as_two_bytes_and_reads_as_float32(shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape).to(torch.bfloat16)
    array = SharedArray(tensor)
    assert to_tensor(array) is array.tensor
    assert array.numpy().dtype == np.float32
    np.testing.assert_array_equal(array.numpy(), tensor.float().numpy())
    plain = pickle.loads(pickle.dumps(array))
    assert (type(plain), plain.dtype, plain.shape) == (Array, "bfloat16", shape)
    assert to_tensor(plain).dtype == torch.bfloat16
    assert to_tensor(plain).equal(tensor)
    if tensor.numel():
        assert len(plain.data) == 128 + 2 * tensor.numel()


def test_float8_is_shared_but_has_no_bytes() -> None:
    array = SharedArray(torch.ones(2).to(torch.float8_e4m3fn))
    assert to_tensor(array).dtype == torch.float8_e4m3fn
    with pytest.raises(TypeError, match="Float8"):
        _ = array.data


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_tensor_stays_on_its_device_until_it_is_serialised() -> None:
    array = SharedArray(torch.ones(2, device="cuda"))
    assert array.tensor.is_cuda
    assert array.numpy().tolist() == [1.0, 1.0]
