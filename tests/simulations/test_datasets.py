"""Data sets: shapes, preprocessing, and what a missing or broken file says."""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from byzflower.errors import SpecError
from byzflower.registry import registered
from byzflower.simulations.datasets import load_dataset
from byzflower.simulations.errors import ExperimentError


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("BYZFLOWER_DATA")
    if not folder:
        pytest.skip("BYZFLOWER_DATA is not set: no real data")
    return Path(folder)


def test_digits_are_split_in_proportion_whatever_the_seed():
    data, again = load_dataset("digits"), load_dataset("digits")
    assert data.shape == (1, 8, 8)
    assert len(data.y_train) + len(data.y_test) == 1797
    assert (data.x_train.min(), data.x_train.max()) == (0.0, 1.0)
    assert torch.equal(data.x_test, again.x_test)
    counts = torch.bincount(data.y_test).tolist()
    total = (torch.bincount(data.y_train) + torch.bincount(data.y_test)).tolist()
    assert counts == [n // 5 for n in total]


def test_mnist10k_is_the_official_test_set(real_data):
    data = load_dataset("mnist10k", real_data)
    assert data.x_train.shape == (8000, 1, 28, 28)
    assert data.y_train[:5].tolist() == [7, 2, 1, 0, 4]
    assert data.x_test.shape == (2000, 1, 28, 28)
    assert data.x_train.min() == pytest.approx((0 - 0.1307) / 0.3081, abs=1e-6)
    assert abs(data.x_train.mean()) < 0.05


def test_covtype_is_expanded_and_standardised(real_data):
    data = load_dataset("covtype", real_data)
    assert (data.x_train.shape, data.x_test.shape) == ((5460, 54), (840, 54))
    assert torch.bincount(data.y_train).tolist() == [780] * 7
    torch.testing.assert_close(data.x_train.mean(0), torch.zeros(54), atol=1e-5, rtol=0)
    deviation = data.x_train.std(0, unbiased=False)
    assert all(abs(d - 1) < 1e-4 or d == 0 for d in deviation.tolist())


def write_idx(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(header + values.tobytes()))


def test_idx_files_are_read_in_row_order(tmp_path):
    images = np.zeros((8002, 2, 2), np.uint8)
    images[:, 0, 1] = np.arange(8002) % 256
    write_idx(tmp_path / "mnist10k/t10k-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "mnist10k/t10k-labels-idx1-ubyte.gz", (np.arange(8002) % 10).astype("u1"))
    data = load_dataset("mnist10k", tmp_path)
    assert data.y_test.tolist() == [0, 1]
    pixel = data.x_train[255, 0, 0, 1] * 0.3081 + 0.1307
    assert pixel.item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"\0\0\x08\x01\0\0\0\5abc"), gzip.compress(b"")[:-9]],
    ids=["no gzip", "too few bytes", "cut off"],
)
def test_a_broken_idx_file_is_named(tmp_path, content):
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        path = tmp_path / "mnist10k" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(ExperimentError, match=r"t10k-images-idx3-ubyte\.gz; found something else"):
        load_dataset("mnist10k", tmp_path)


def test_an_npz_with_pickled_objects_is_refused(tmp_path):
    bomb = np.array([{"a": 1}], dtype=object)
    arrays = dict.fromkeys(("x_train", "y_train", "x_test", "y_test"), bomb)
    np.savez(tmp_path / "covtype-balanced.npz", **arrays)
    with pytest.raises(ExperimentError, match=r"covtype-balanced\.npz; found something else"):
        load_dataset("covtype", tmp_path)


@pytest.mark.parametrize(("column", "value"), [(10, 4), (10, -1), (11, 40)])
def test_a_covtype_value_out_of_range_is_refused(tmp_path, column, value):
    x, y = np.zeros((7, 12), np.int16), np.arange(7)
    x[3, column] = value
    np.savez(tmp_path / "covtype-balanced.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    with pytest.raises(ExperimentError, match="needs areas 0 … 3, soil types 0 … 39 and labels"):
        load_dataset("covtype", tmp_path)


def test_covtype_columns_that_never_vary_stay_zero(tmp_path):
    x, y = np.zeros((7, 12), np.int16), np.arange(7)
    x[:, 0] = y
    np.savez(tmp_path / "covtype-balanced.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    data = load_dataset("covtype", tmp_path)
    assert data.x_train[:, 0].std(unbiased=False).item() == pytest.approx(1)
    assert not data.x_train[:, 1:].any()


@pytest.mark.parametrize("name", ["mnist10k", "covtype"])
def test_a_missing_file_is_named(name, tmp_path):
    with pytest.raises(ExperimentError, match=r"`data-dir` needs .*(gz|npz); found no such file"):
        load_dataset(name, tmp_path)


@pytest.mark.parametrize("name", [n for n in registered("dataset") if n != "digits"])
def test_a_missing_data_directory_says_how_to_name_one(name, monkeypatch):
    monkeypatch.delenv("BYZFLOWER_DATA", raising=False)
    with pytest.raises(ExperimentError, match="pass --data-dir or set BYZFLOWER_DATA"):
        load_dataset(name)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(SpecError, match=r"unknown data set `mnits` .*; did you mean `mnist`\?"):
        load_dataset("mnits")


class FakeImages:
    """torchvision's data sets, two images long."""

    def __init__(self, root, *, train, download):
        grey = torch.zeros(2, 28, 28, dtype=torch.uint8)
        grey[:, :, 0] = 255
        self.data = grey
        self.targets = torch.tensor([3, 4])


class FakeColours(FakeImages):
    def __init__(self, root, *, train, download):
        self.data = np.zeros((2, 32, 32, 3), np.uint8)
        self.data[:, :, 0] = 255
        self.targets = [3, 4]


@pytest.fixture
def torchvision(monkeypatch):
    module, datasets = ModuleType("torchvision"), ModuleType("torchvision.datasets")
    datasets.MNIST = datasets.FashionMNIST = FakeImages
    datasets.CIFAR10 = FakeColours
    module.datasets = datasets
    monkeypatch.setitem(sys.modules, "torchvision", module)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    return datasets


def test_mnist_is_normalised(torchvision, tmp_path):
    data = load_dataset("mnist", tmp_path)
    assert data.x_train.shape == (2, 1, 28, 28)
    assert data.x_train[0, 0, 0, 0].item() == pytest.approx((1 - 0.1307) / 0.3081)


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_images_are_stored_as_they_are_and_flipped_in_training(name, torchvision, tmp_path):
    data = load_dataset(name, tmp_path)
    for images in (data.x_train, data.x_test):
        assert len(images) == 2
        assert images[0, 0, 0, 0] > images[0, 0, 0, -1]
    assert data.flips
    assert not load_dataset(f"{name}(flip=none)", tmp_path).flips
    assert not load_dataset("mnist", tmp_path).flips
    with pytest.raises(SpecError, match=r"needs flip to be one of random,.*; found 'always'"):
        load_dataset(f"{name}(flip=always)", tmp_path)


def test_cifar10_can_be_expanded_with_mirror_images(torchvision, tmp_path):
    data = load_dataset("cifar10(flip=expand)", tmp_path)
    assert not data.flips
    assert (data.x_train.shape, data.x_test.shape) == ((4, 3, 32, 32), (2, 3, 32, 32))
    assert data.y_train.tolist() == [3, 4, 3, 4]
    assert torch.equal(data.x_train[0, :, :, 0], data.x_train[2, :, :, -1])
    assert data.x_train[0, 0, 0, 0].item() == pytest.approx((1 - 0.4914) / 0.2023)


def test_files_that_torchvision_does_not_find_say_how_to_get_them(torchvision, tmp_path):
    def missing(root, *, train, download):
        raise RuntimeError("Dataset not found. You can use download=True to download it")

    torchvision.MNIST = missing
    with pytest.raises(ExperimentError, match=r"MNIST files; found none usable in .*--download"):
        load_dataset("mnist", tmp_path)


def test_a_torchvision_built_for_another_torch_says_what_to_install(monkeypatch, tmp_path):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist")

    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ExperimentError) as caught:
        load_dataset("cifar10", tmp_path)
    message = str(caught.value)
    assert "pip install torch torchvision" in message
    assert "operator torchvision::nms does not exist" in message
    assert "\n" not in message


def test_digits_are_those_of_scikit_learn_with_and_without_its_file(monkeypatch):
    from sklearn.datasets import load_digits

    from byzflower.simulations.datasets import embedded

    expected = load_digits(return_X_y=True)
    for find in (embedded.find_spec, lambda name: None):
        monkeypatch.setattr(embedded, "find_spec", find)
        for found, known in zip(embedded._pixels_and_labels(), expected, strict=True):
            np.testing.assert_array_equal(found, known)
