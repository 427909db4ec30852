"""The model that was sent: the layout replies must have, and the way back from one vector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from flwr.app import ArrayRecord
from torch import Tensor

from byzflower.updates import Updates
from byzflower.wire.arrays import borrowed, to_record
from byzflower.wire.buffers import BufferNames, buffer_median, buffer_names
from byzflower.wire.payload import Payload

from .rejections import Reason, Rejection, Reply, excerpt
from .vetting import Expected, is_finite

__all__ = ["SentModel"]


class SentModel:
    """The arrays of one round, divided into parameters and buffers.

    Parameters
    ----------
    arrays : ArrayRecord
        Model as the server sends it.
    buffers : collection of str, callable or None
        See `buffer_names`.
    cast : bool
        Whether replies may hold floating-point arrays of another precision or byte order.

    Attributes
    ----------
    buffers : frozenset of str
        Arrays that take the replies' median.
    parameters : tuple of str
        Arrays that the rule aggregates, in the model's order.
    buffers_declared : bool
        Whether that follows from what most replies declare.
    constants : frozenset of str
        Arrays that stay as they were sent: with Inf, and no NaN, in the model itself (an attention
        mask).

    Raises
    ------
    TypeError
        If an array is complex.
    ValueError
        If no array is a parameter, or one holds NaN.
    """

    def __init__(
        self, arrays: ArrayRecord, buffers: BufferNames = None, *, cast: bool = False
    ) -> None:
        self.tensors: dict[str, Tensor] = {key: borrowed(a) for key, a in arrays.items()}
        self.expected = {
            k: Expected(t.dtype, tuple(t.shape), cast) for k, t in self.tensors.items()
        }
        self.buffers_declared = False
        for key, tensor in self.tensors.items():
            if tensor.is_complex():
                raise TypeError(f"the model needs real arrays; found {tensor.dtype} in {key!r}")
            if tensor.is_floating_point() and tensor.element_size() < 2:
                dtype = self.expected[key].name
                raise TypeError(
                    f"the model needs arrays of 16 bits or more; found {dtype} in {key!r}"
                )
        self._infinite = {key for key, t in self.tensors.items() if not is_finite(t)}
        self._named = buffer_names(self.tensors, buffers)
        for key in self._infinite - self._named:
            if self.tensors[key].isnan().any():
                raise ValueError(f"the model needs finite parameters; found NaN in {key!r}")
        self._divide(self._named)
        if not any(self.tensors[key].numel() for key in self.parameters):
            raise ValueError(
                "the model needs a finite floating-point array that is no buffer and not empty; "
                f"found {len(self.tensors)} arrays and none such"
            )

    def _divide(self, names: frozenset[str]) -> None:
        self.constants = frozenset(self._infinite)
        self.buffers = names - self.constants
        self.parameters = tuple(key for key in self.tensors if key not in names | self.constants)

    def diverged(self, replies: Sequence[Reply]) -> ValueError | None:
        """Return what is wrong if a constant is none: most replies hold something else.

        A model whose weights have become infinite looks like one with a mask until its clients
        have answered. Arrays named as buffers are believed.
        """
        for key in sorted(self._infinite - self._named):
            if not self._returned_by_most(key, replies):
                return ValueError(
                    f"the model needs finite parameters; found Inf in {key!r}, which most replies "
                    "do not return as it was sent"
                )
        return None

    def learn_buffers(self, replies: Sequence[Reply]) -> tuple[list[Reply], list[Rejection]]:
        """Take for buffers what most replies declare, and what most return as it was sent.

        Returns
        -------
        tuple of list of Reply, list of Rejection
            Replies whose buffers are finite, and those whose are not.
        """
        half = len(replies) / 2
        votes = Counter(
            name for reply in replies for name in reply.buffers or () if name in self.tensors
        )
        self.buffers_declared = sum(reply.buffers is not None for reply in replies) > half
        names = self._named
        if self.buffers_declared:
            names = frozenset(
                name
                for name, tensor in self.tensors.items()
                if not tensor.is_floating_point() or votes[name] > half
            )
        candidates = [key for key in self.tensors if key not in names | self.constants]
        unchanged = {key for key in candidates if self._returned_by_most(key, replies)}
        if len(unchanged) < len(candidates):  # else nobody has trained, and nothing is known
            names |= unchanged
        if not set(self.tensors) - names - self.constants:
            return list(replies), []  # a model of buffers alone is nobody's
        self._divide(names)
        finite, odd = [], []
        for reply in replies:
            bad = [key for key in self.buffers if not is_finite(reply.tensors[key])]
            if bad:
                detail = f"{excerpt(bad[0])} holds NaN or Inf"
                odd.append(Rejection(reply.node_id, Reason.NON_FINITE, detail))
            else:
                finite.append(reply)
        return finite, odd

    def _returned_by_most(self, key: str, replies: Sequence[Reply]) -> bool:
        """Whether most replies hold an array exactly as it was sent."""
        sent = self.tensors[key]
        if not sent.numel():
            return False
        same = [
            reply for reply in replies if _first(reply.tensors[key]) == _first(sent)
        ]  # one number tells nearly always, so that nothing large is compared
        if 2 * len(same) <= len(replies):
            return False
        equal = sum(torch.equal(reply.tensors[key].to(sent.device), sent) for reply in same)
        return 2 * equal > len(replies)

    @property
    def size(self) -> int:
        """Number of parameters, d."""
        return sum(self.tensors[key].numel() for key in self.parameters)

    def record(self) -> ArrayRecord:
        """Return the arrays as they were sent."""
        return to_record(self.tensors)

    def updates(self, replies: Sequence[Reply], payload: Payload) -> Updates:
        """Return what the rule aggregates, a row a reply, on the device of most replies.

        Replies are read where they lie; from models the one sent is taken as they are read.
        """
        first = self.parameters[0]
        devices = Counter(reply.tensors[first].device for reply in replies)
        device = devices.most_common(1)[0][0]
        blocks = [[r.tensors[key].to(device) for r in replies] for key in self.parameters]
        if payload == "gradient":
            return Updates.from_blocks(blocks)
        return Updates.from_blocks(
            blocks, [self.tensors[key].to(device) for key in self.parameters]
        )

    def restore(
        self, value: Tensor, replies: Sequence[Reply], payload: Payload
    ) -> dict[str, Tensor]:
        """Return the aggregate in the model's layout, with the buffers the replies agree on.

        ``value`` is overwritten: what is returned lies in its memory and has its dtype, so that an
        inner strategy steps on models of half precision in float32.
        """
        restored: dict[str, Tensor] = {}
        start = 0
        for key, sent in self.tensors.items():
            if key in self.buffers:
                values = [reply.tensors[key].to(value.device) for reply in replies]
                restored[key] = buffer_median(values)
            elif key not in self.parameters:
                restored[key] = sent.to(value.device)
            else:
                piece = value[start : start + sent.numel()].view(sent.shape)
                start += sent.numel()
                if payload == "model":
                    piece.add_(sent.to(piece.device))
                restored[key] = piece
        return restored

    def conform(self, arrays: ArrayRecord, restored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a server optimiser's result in the model's keys, order, shapes and dtypes.

        Only parameters are taken from it: an optimiser would treat buffers as weights.

        Raises
        ------
        ValueError
            If a parameter is missing, has another shape or is not finite.
        """
        result: dict[str, Tensor] = {}
        for key, agreed in restored.items():
            if key not in self.parameters:
                result[key] = agreed
                continue
            if key not in arrays:
                raise ValueError(f"the inner strategy returned no array {key!r}")
            found = borrowed(arrays[key])
            if found.shape != agreed.shape:
                raise ValueError(
                    f"the inner strategy returned shape {tuple(found.shape)} for {key!r}, "
                    f"which has shape {tuple(agreed.shape)}"
                )
            result[key] = found.to(device=agreed.device, dtype=self.tensors[key].dtype)
            if not is_finite(result[key]):
                raise ValueError(f"the inner strategy returned NaN or Inf in {key!r}")
        return result


def _first(tensor: Tensor) -> float:
    return float(tensor.reshape(-1)[0])
