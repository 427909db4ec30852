"""Momentum for any client that returns models: an honest mod, for a deployment as it stands."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from flwr.app import ArrayRecord, Context, Message, RecordDict
from torch import Tensor

from byzflower.validation import fraction
from byzflower.wire.arrays import SharedArray, to_record, to_tensor
from byzflower.wire.buffers import buffer_names
from byzflower.wire.payload import declared, declared_as_buffer

from .records import array_records, counterpart

if TYPE_CHECKING:  # Flower 1.30 does not have these names
    from flwr.clientapp.typing import ClientAppCallable, Mod

__all__ = ["momentum_mod"]

_LOG = logging.getLogger(__name__)
_STATE = "byzflower.momentum_mod"


def momentum_mod(beta: float = 0.9) -> Mod:
    """Send w_0 + m_t with m_t = β m_{t−1} + (1 − β)(w − w_0), in place of the trained model w.

    w_0 is the model received, m_0 = 0. Averaged over rounds, honest updates differ less from each
    other, and colluders have less room to hide in: RESAM (eq. 5) proves it for gradients; here the
    update of local training takes their place. The mod goes around any ClientApp that answers
    ``train`` with a model, in simulation and deployment; m_t lives in ``context.state``.

    Buffers stay the client's own: those that the reply declares, else normalisation statistics;
    integer arrays always. In rounds that a client misses, its m stays as it is. An update with NaN
    or Inf is sent as it is and leaves m alone; where the model's layout changes, m starts anew.

    Parameters
    ----------
    beta
        β in [0, 1); 0 changes nothing.

    Raises
    ------
    ValueError
        If β is outside; from the app, if a reply declares gradients, or has arrays that were not
        received or are of another shape.

    Examples
    --------
    >>> from flwr.clientapp import ClientApp
    >>> app = ClientApp(mods=[momentum_mod(beta=0.9)])
    """
    fraction(beta, "momentum_mod", "beta")

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if message.metadata.message_type.partition(".")[0] != "train":
            return call_next(message, context)
        # The app may train the received tensors where they lie.
        received = {
            name: to_record({key: to_tensor(array).clone() for key, array in record.items()})
            for name, record in array_records(message.content).items()
        }
        reply = call_next(message, context)
        if not reply.has_content():
            return reply
        content = RecordDict(dict(reply.content))
        if declared(content) == "gradient":
            raise ValueError(
                "`momentum_mod` needs replies that hold models; this client declares gradients: "
                "let it send momentums, as make_client_app(load, Momentum(beta)) does"
            )
        is_buffer = declared_as_buffer(content)
        for name, record in array_records(content).items():
            sent = {key: to_tensor(array) for key, array in record.items()}
            buffers = buffer_names(sent, is_buffer)
            start = {key: to_tensor(a) for key, a in counterpart(name, received).items()}
            update = _update(sent, start, buffers)
            if not all(bool(u.isfinite().all()) for u in update.values()):
                continue  # the server will reject it, and m would never recover
            past = context.state.get(f"{_STATE}.{name}")
            momentum = _averaged(update, past, beta)
            context.state[f"{_STATE}.{name}"] = to_record(momentum)
            smoothed = ArrayRecord()
            for key, array in record.items():
                if key in momentum:
                    value = start[key].to(momentum[key]) + momentum[key]
                    smoothed[key] = SharedArray(value.to(sent[key].dtype))
                else:
                    smoothed[key] = array
            content[name] = smoothed
        reply.content = content
        return reply

    return mod


def _update(
    sent: Mapping[str, Tensor], start: Mapping[str, Tensor], buffers: frozenset[str]
) -> dict[str, Tensor]:
    update = {}
    for key, value in sent.items():
        if key in buffers:
            continue
        if key not in start or start[key].shape != value.shape:
            found = tuple(start[key].shape) if key in start else "none"
            raise ValueError(
                f"`momentum_mod` needs the received array {key!r} of shape {tuple(value.shape)}; "
                f"found {found}"
            )
        # Half precision would lose small momentums, and NumPy lacks bfloat16.
        dtype = torch.promote_types(value.dtype, torch.float32)
        update[key] = value.to(dtype) - start[key].to(value.device, dtype)
    return update


def _averaged(update: Mapping[str, Tensor], past: object, beta: float) -> dict[str, Tensor]:
    """Return β m + (1 − β) u, with m = 0 where there is none of the update's layout."""
    if isinstance(past, ArrayRecord):
        m = {key: to_tensor(array) for key, array in past.items()}
        if _layout(m) == _layout(update):
            return {key: torch.lerp(m[key].to(u), u, 1 - beta) for key, u in update.items()}
        _LOG.warning("the model's layout has changed: its momentum starts anew")
    return {key: (1 - beta) * u for key, u in update.items()}


def _layout(arrays: Mapping[str, Tensor]) -> object:
    return {key: (value.shape, value.dtype) for key, value in arrays.items()}
