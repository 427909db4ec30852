from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byzflower.strategies import buffer_median, buffer_names


def test_buffers_are_recognised_by_dtype_and_name() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).state_dict()
    model["mask"] = torch.ones(2, dtype=torch.bool)
    model["running_mean_of_mine"] = torch.ones(2)
    assert buffer_names(model) == {
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
        "mask",
    }


def test_named_or_chosen_buffers_replace_the_recognised_ones() -> None:
    model = {"running_mean": torch.ones(1), "ema": torch.ones(1), "n": torch.tensor(1)}
    assert buffer_names(model, ["ema"]) == {"ema", "n"}
    assert buffer_names(model, lambda name: name.startswith("run")) == {"running_mean", "n"}
    assert buffer_names(model, ()) == {"n"}


def test_a_misspelt_buffer_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"names of the model's arrays; found \['emma'\]"):
        buffer_names({"ema": torch.ones(1)}, ["emma"])
    with pytest.raises(TypeError, match="found the string 'ema'"):
        buffer_names({"ema": torch.ones(1)}, "ema")


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=9))
def test_integer_median_is_a_reported_count_in_the_middle(values: list[int]) -> None:
    median = buffer_median([torch.tensor(value) for value in values])
    assert median.dtype == torch.int64
    assert median.item() == sorted(values)[(len(values) - 1) // 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_float_median_does_not_overflow(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    rows = [torch.tensor([v], dtype=dtype) for v in (largest, largest, -largest, largest)]
    assert buffer_median(rows).tolist() == [largest]
    assert buffer_median(rows).dtype == dtype


def test_boolean_median_is_the_lower_of_two_halves() -> None:
    rows = [torch.tensor([True, True]), torch.tensor([False, True])]
    assert buffer_median(rows).tolist() == [False, True]
