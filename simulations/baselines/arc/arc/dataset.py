"""arc: the data, divided among the honest workers by Flower Datasets."""

from dataclasses import dataclass
from functools import cache

import torch
from datasets import Dataset, DatasetDict
from flwr.app import UserConfig
from flwr_datasets import FederatedDataset
from flwr_datasets.partitioner import (
    InnerDirichletPartitioner,
    Partitioner,
    ShardPartitioner,
)
from torch import Tensor


@dataclass(frozen=True)
class Source:
    """A data set of the Hugging Face Hub, and how the paper prepares it (D.1)."""

    hub: str
    rows: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    image: str = "image"
    flips: bool = False
    reduced: bool = False


SOURCES = {
    "mnist": Source("ylecun/mnist", 60_000, (0.1307,), (0.3081,)),
    # MNIST's test set alone, 8,000 rows to train and 2,000 to test: for small machines.
    "mnist10k": Source("ylecun/mnist", 8_000, (0.1307,), (0.3081,), reduced=True),
    "fashion_mnist": Source("zalando-datasets/fashion_mnist", 60_000, flips=True),
    "cifar10": Source(
        "uoft-cs/cifar10",
        50_000,
        (0.4914, 0.4822, 0.4465),
        (0.2023, 0.1994, 0.2010),
        image="img",
        flips=True,
    ),
}


def load_partition(
    config: UserConfig, number: int, parts: int
) -> tuple[Tensor, Tensor]:
    """Return images (m, channels, height, width) and labels of one honest worker."""
    source = SOURCES[str(config["dataset"])]
    return _tensors(_federated(config, parts).load_partition(number), source)


def load_split(config: UserConfig, split: str) -> tuple[Tensor, Tensor]:
    """Return images and labels of ``"train"``, undivided, or ``"test"``."""
    source = SOURCES[str(config["dataset"])]
    return _tensors(_federated(config, 1).load_split(split), source)


def _federated(config: UserConfig, parts: int) -> FederatedDataset:
    names = (str(config[key]) for key in ("dataset", "data-folder", "partition"))
    return _opened(*names, parts, int(config["seed"]))


@cache
def _opened(
    dataset: str, folder: str, partition: str, parts: int, seed: int
) -> FederatedDataset:
    source = SOURCES[dataset]
    return FederatedDataset(
        dataset=folder or source.hub,
        partitioners={"train": _partitioner(partition, parts, source.rows, seed)},
        preprocessor=_reduce if source.reduced else None,
    )


def _partitioner(partition: str, parts: int, rows: int, seed: int) -> Partitioner:
    """Sort rows by label and cut them, or draw each worker's class proportions."""
    if partition == "extreme":
        return ShardPartitioner(parts, "label", num_shards_per_partition=1, seed=seed)
    sizes = [rows // parts] * parts
    return InnerDirichletPartitioner(sizes, "label", alpha=float(partition), seed=seed)


def _reduce(splits: DatasetDict) -> DatasetDict:
    rows = splits["test"]
    parts = {"train": rows.select(range(8000)), "test": rows.select(range(8000, 10000))}
    return DatasetDict(parts)


def _tensors(rows: Dataset, source: Source) -> tuple[Tensor, Tensor]:
    columns = rows.with_format("numpy")[:]
    x = torch.from_numpy(columns[source.image]).float() / 255
    x = x.unsqueeze(1) if x.dim() == 3 else x.permute(0, 3, 1, 2)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (source.mean, source.std))
    return (x - mean) / std, torch.from_numpy(columns["label"]).long()
