"""Malicious clients as Flower mods: attacks that need only the client's own update.

Each function returns a mod for ``make_client_app(…, mods=[…])``, ``ClientApp(mods=[…])`` or
``@app.train(mods=[…])``, of byzflower's or any other ClientApp, in simulation and deployment. A mod
lets the client train honestly and changes its reply to ``train`` messages only. The update is what
the client sends when ``payload`` is "gradient", and its model minus the model received when it is
"model"; None, the default, is what the client's reply declares (``make_client_app``'s do), else
"model". Buffers stay honest: those that the reply declares, else BatchNorm statistics; integer
arrays always.

Arrays that cannot be read, or that a model payload finds nowhere in the received message, make the
app raise, and Flower answers with an error.

Label-flipping acts in the data: see ``ClientTask.with_labels``.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from torch import Tensor

from byzflower.validation import non_negative_int, positive, real
from byzflower.wire.payload import Payload, check_payload

from .records import altered, array_records
from .sampling import client_generator

if TYPE_CHECKING:  # Flower 1.30 does not have these names
    from flwr.clientapp.typing import ClientAppCallable, Mod

__all__ = [
    "constant_mod",
    "gaussian_mod",
    "inf_mod",
    "nan_mod",
    "scale_mod",
    "sign_flip_mod",
    "zero_mod",
]

_Change = Callable[[Tensor, torch.Generator], Tensor]


def sign_flip_mod(scale: float = 1.0, payload: Payload | None = None) -> Mod:
    """Send −scale × the own update.

    Source: RESAM, Appendix D.1 (scale 1); RS-Byrd-SAGA, Section "Byzantine attacks" (scale 5).

    Raises
    ------
    ValueError
        If scale is not finite and > 0, or the payload is unknown.

    Examples
    --------
    >>> from flwr.clientapp import ClientApp
    >>> app = ClientApp(mods=[sign_flip_mod(scale=5.0)])
    """
    positive(scale, "sign_flip_mod", "scale")
    return scale_mod(-scale, payload)


def scale_mod(factor: float, payload: Payload | None = None) -> Mod:
    """Send factor × the own update.

    Source: baseline; a factor n outweighs the other n − 1 updates of an average.

    Raises
    ------
    ValueError
        If factor is not a finite number, or the payload is unknown.

    Examples
    --------
    >>> from flwr.clientapp import ClientApp
    >>> app = ClientApp(mods=[scale_mod(10.0)])
    """
    real(factor, "scale_mod", "factor")
    return _update_mod(lambda update, _: factor * update, payload)


def gaussian_mod(
    std: float = 100.0, payload: Payload | None = None, seed: int | None = None
) -> Mod:
    """Send an update of independent N(0, std²) entries.

    Parameters
    ----------
    std
        Standard deviation > 0; RS-Byrd-SAGA (Section "Byzantine attacks") has variance 10⁴.
    payload
        What the client sends; by default what its reply declares, else "model".
    seed
        Fixes the noise of a client (partition-id, else node id) in a round; None draws it from the
        operating system's entropy.

    Raises
    ------
    ValueError
        If std is not finite and > 0, the payload is unknown, or the seed is no integer ≥ 0.

    Examples
    --------
    >>> from flwr.clientapp import ClientApp
    >>> app = ClientApp(mods=[gaussian_mod(std=10.0, seed=0)])
    """
    positive(std, "gaussian_mod", "std")
    if seed is not None:
        non_negative_int(seed, "seed")

    def noise(update: Tensor, generator: torch.Generator) -> Tensor:
        dtype = torch.promote_types(update.dtype, torch.float32)
        return (torch.randn(update.shape, generator=generator, dtype=dtype) * std).to(update)

    return _update_mod(noise, payload, seed)


def constant_mod(value: float, payload: Payload | None = None) -> Mod:
    """Send an update with this number in every entry, which may be NaN or infinite.

    Source: baseline. A server that averages NaN loses its model permanently; zeros, as a client
    that does no work sends them, make fewer honest updates count.

    Raises
    ------
    ValueError
        If the payload is unknown.

    Examples
    --------
    >>> from flwr.clientapp import ClientApp
    >>> app = ClientApp(mods=[constant_mod(1e30)])
    """
    if payload is not None:
        check_payload(payload)
    # Added to any model, NaN and ∞ stay what they are: no received model is looked for.
    holds = payload if math.isfinite(value) else "gradient"
    return _update_mod(lambda update, _: torch.full_like(update, value), holds)


def nan_mod(payload: Payload | None = None) -> Mod:
    """Send an update of NaN; see :func:`constant_mod`."""
    return constant_mod(math.nan, payload)


def inf_mod(payload: Payload | None = None) -> Mod:
    """Send an update of +∞; see :func:`constant_mod`."""
    return constant_mod(math.inf, payload)


def zero_mod(payload: Payload | None = None) -> Mod:
    """Send a zero gradient, or the received model itself; see :func:`constant_mod`."""
    return constant_mod(0.0, payload)


def _update_mod(change: _Change, payload: Payload | None, seed: int | None = None) -> Mod:
    """Return the mod that passes the update of every parameter through ``change``."""
    if payload is not None:
        check_payload(payload)

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if message.metadata.message_type.split(".")[0] != "train":
            return call_next(message, context)
        # The app may change the message; it does not modify the arrays themselves.
        received = {name: dict(record) for name, record in array_records(message.content).items()}
        generator = torch.Generator()
        generator.manual_seed(_noise_seed(seed, message.content, context))
        reply = call_next(message, context)
        if reply.has_content():
            reply.content = altered(
                reply.content, received, lambda update: change(update, generator), payload
            )
        return reply

    return mod


def _noise_seed(seed: int | None, content: RecordDict, context: Context) -> int:
    if seed is None:
        return secrets.randbits(63)
    config = content.get("config")
    server_round = config.get("server-round") if isinstance(config, ConfigRecord) else None
    if not isinstance(server_round, int):
        raise ValueError("seeded noise needs the message's config['server-round']; found none")
    client = context.node_config.get("partition-id")
    client = client if isinstance(client, int) else context.node_id
    return int(client_generator(seed, client, server_round, "attack").integers(2**63))
