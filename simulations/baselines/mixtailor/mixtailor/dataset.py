"""mixtailor: the data, divided among the honest workers by Flower Datasets."""

from dataclasses import dataclass
from functools import cache

import torch
from datasets import Dataset, DatasetDict
from flwr.app import UserConfig
from flwr_datasets import FederatedDataset
from flwr_datasets.partitioner import IidPartitioner, Partitioner, ShardPartitioner
from torch import Tensor


@dataclass(frozen=True)
class Source:
    """A data set of the Hugging Face Hub, and how its pixels are normalised."""

    hub: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image: str = "image"
    reduced: bool = False


SOURCES = {
    "mnist": Source("ylecun/mnist", (0.1307,), (0.3081,)),
    # MNIST's test set alone, 8,000 rows to train and 2,000 to test: for small machines.
    "mnist10k": Source("ylecun/mnist", (0.1307,), (0.3081,), reduced=True),
    "cifar10": Source(
        "uoft-cs/cifar10", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), "img"
    ),
}


def load_partition(
    config: UserConfig, number: int, parts: int
) -> tuple[Tensor, Tensor]:
    """Return images (m, channels, height, width) and labels of one honest worker."""
    source = SOURCES[str(config["dataset"])]
    return _tensors(_federated(config, parts).load_partition(number), source)


def load_test(config: UserConfig) -> tuple[Tensor, Tensor]:
    """Return images and labels to test with."""
    source = SOURCES[str(config["dataset"])]
    return _tensors(_federated(config, 1).load_split("test"), source)


def _federated(config: UserConfig, parts: int) -> FederatedDataset:
    names = (str(config[key]) for key in ("dataset", "data-folder", "partition"))
    return _opened(*names, parts)


@cache
def _opened(dataset: str, folder: str, partition: str, parts: int) -> FederatedDataset:
    source = SOURCES[dataset]
    return FederatedDataset(
        dataset=folder or source.hub,
        partitioners={"train": _partitioner(partition, parts)},
        preprocessor=_reduce if source.reduced else None,
    )


def _partitioner(partition: str, parts: int) -> Partitioner:
    """Divide shuffled rows, or rows sorted by label, into as many equal parts."""
    if partition == "iid":
        return IidPartitioner(parts)
    if partition == "extreme":
        return ShardPartitioner(parts, "label", num_shards_per_partition=1)
    raise ValueError(f"`partition` needs iid or extreme; found {partition!r}")


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
