"""The task: a frozen transformer learns a new skill through low-rank adapters.

The transformer's weights are random but the same everywhere (a seed stands in for a download). A
sequence holds letters of an alphabet; the class is the letter that occurs most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # as everybody writes it

LETTERS, LENGTH, WIDTH, HEADS = 4, 9, 16, 2


class LoRA(nn.Module):
    """A frozen linear layer W and a trained correction of low rank: W x + BAx (Hu et al. 2022)."""

    def __init__(self, frozen: nn.Linear, rank: int) -> None:
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, frozen.in_features) / math.sqrt(rank))
        self.up = nn.Parameter(torch.zeros(frozen.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Apply both to (…, in_features)."""
        return self.frozen(x) + x @ self.down.T @ self.up.T


class Block(nn.Module):
    """Self-attention and a feed-forward layer, all of whose weights are frozen under adapters."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH).requires_grad_(False) for _ in range(2))
        self.mix = LoRA(nn.Linear(WIDTH, 3 * WIDTH), rank)
        self.join = LoRA(nn.Linear(WIDTH, WIDTH), rank)
        self.widen = LoRA(nn.Linear(WIDTH, 4 * WIDTH), rank)
        self.narrow = LoRA(nn.Linear(4 * WIDTH, WIDTH), rank)

    def forward(self, x: Tensor) -> Tensor:
        """Map (m, length, width) to the same shape."""
        heads = self.mix(self.norms[0](x)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        x = x + self.join(attended)
        return x + self.narrow(F.gelu(self.widen(self.norms[1](x))))


class Transformer(nn.Module):
    """Two blocks over embedded letters, and a trained head over their mean."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same frozen weights on every node
            self.letters = nn.Embedding(LETTERS, WIDTH).requires_grad_(False)
            self.places = nn.Embedding(LENGTH, WIDTH).requires_grad_(False)
            self.blocks = nn.Sequential(*(Block(rank) for _ in range(2)))
            self.head = nn.Linear(WIDTH, LETTERS)

    def forward(self, text: Tensor) -> Tensor:
        """Return logits (m, letters) of texts (m, length)."""
        x = self.letters(text) + self.places.weight
        return self.head(self.blocks(x).mean(dim=1))


def adapters(model: nn.Module) -> dict[str, Tensor]:
    """Return what is trained: all that clients and server exchange."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def load_adapters(model: nn.Module, arrays: Mapping[str, Tensor]) -> None:
    """Put adapters into a model; its frozen weights stay."""
    model.load_state_dict(arrays, strict=False)


def texts(partition: int, count: int = 256) -> tuple[Tensor, Tensor]:
    """Return a client's texts and their commonest letters; −1 stands for the test texts."""
    generator = torch.Generator().manual_seed(partition + 1)
    text = torch.randint(LETTERS, (count, LENGTH), generator=generator)
    return text, F.one_hot(text, LETTERS).sum(dim=1).argmax(dim=1)


def train(model: nn.Module, data: tuple[Tensor, Tensor], steps: int, lr: float) -> float:
    """Train the adapters by Adam on random batches; return the last loss."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    text, label = data
    loss = torch.zeros(())
    for _ in range(steps):
        batch = torch.randint(len(text), (32,))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(text[batch]), label[batch])
        loss.backward()
        optimizer.step()
    return loss.item()


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """Return the share of test texts whose commonest letter is found."""
    text, label = texts(-1, 1000)
    return (model(text).argmax(1) == label).float().mean().item()
