"""The omniscient, colluding adversary of the papers, as a grid around any grid."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import is_dataclass
from logging import WARNING, getLogger
from typing import Any

import numpy as np
import torch
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from byzflower.attack import Attack, SignFlip
from byzflower.attack.parsing import parse_attack
from byzflower.errors import InfeasibleError
from byzflower.specs import parse
from byzflower.steps import Aggregator
from byzflower.validation import non_negative_int
from byzflower.wire.buffers import BufferNames
from byzflower.wire.flower_internals import Stamp
from byzflower.wire.grid import ForwardingGrid
from byzflower.wire.payload import Payload, check_payload, declared

from ..records import Arrays, altered, array_records
from .forgery import Forgery

__all__ = ["Adversary"]

_LOG = getLogger("flwr")


class Adversary(ForwardingGrid):
    """Answer for the colluders of a round, knowing what its honest nodes have sent.

    Train messages to colluders are withheld: they never train. When the honest replies are in,
    the attack forges one update for each withheld message, and each colluder answers with a reply
    that looks like an honest one: same records, keys, shapes and dtypes, the honest replies'
    median metrics, the first honest reply's buffers. Everything else, evaluation included, goes
    straight to the inner grid. It works in process, on Flower's simulation and in a deployment,
    against any strategy.

    Data-level attacks forge nothing: messages pass, and the colluders' own app has to train on
    poisoned data (`ClientTask.with_labels`). Whether it does, no message tells: over an app that
    does not, such an attack does nothing, and says nothing. Where one colluder trains for all
    (``trains_once``), the first does, and the others send what it sends. Attacks at level "reply"
    let colluders train and alter what they send.

    Honest replies that are errors, cannot be read, differ in layout from the others or are not
    finite tell the adversary nothing; it passes them on and notes their nodes in `ignored`. With
    no honest update to go by, the colluders stay silent. In a round in which the attack's search is
    not defined (too few nodes answered, or an exact rule would take too long), they flip the honest
    mean's sign; the first such round is logged as a warning.

    Parameters
    ----------
    grid : Grid
        Connection to the nodes.
    attack : str or Attack
        What the colluders do, for instance ``"alie(tau=1.5)"``.
    nodes : collection of int
        Node ids of the colluders. Those that the grid does not know when the first train messages
        go out are named in a warning; where Flower draws ids at random, see
        `byzflower.simulations.engines.partition_ids`.
    rule : str or Aggregator, optional
        The server's aggregation, for attacks with ``needs_rule``.
    payload : {"model", "gradient"} or None
        What replies hold: the client's model (an update is reply − received model), or a gradient
        or momentum (the update itself). By default what honest replies declare
        (`make_client_app`'s do), else models.
    seed : int
        Seed ≥ 0; the attack's randomness in round t follows from (seed, t).
    buffers : collection of str, callable or None
        Arrays that are no parameters, see `byzflower.wire.buffers.buffer_names`; by default what
        honest replies declare.

    Raises
    ------
    ValueError
        If `nodes`, `payload` or `seed` is none of the above, or the attack needs a rule and has
        none.

    Examples
    --------
    >>> from flwr.clientapp import ClientApp
    >>> from byzflower.simulations.engines import InProcessGrid
    >>> grid = Adversary(InProcessGrid(ClientApp(), 10), "sign_flip", nodes={9, 10})
    >>> grid.num_colluders, len(list(grid.get_node_ids()))
    (2, 10)
    """

    def __init__(
        self,
        grid: Grid,
        attack: str | Attack,
        nodes: Collection[int],
        *,
        rule: str | Aggregator | None = None,
        payload: Payload | None = None,
        seed: int = 0,
        buffers: BufferNames = None,
    ) -> None:
        if payload is not None:
            check_payload(payload)
        super().__init__(grid)
        self.attack = parse_attack(attack) if isinstance(attack, str) else attack
        self.rule = parse(rule) if isinstance(rule, str) else rule
        if self.attack.needs_rule and self.rule is None:
            raise ValueError(f"`{self.attack.spec}` needs the server's rule; found none")
        self.nodes = frozenset(non_negative_int(node, "nodes") for node in nodes)
        self.ignored: dict[int, tuple[int, ...]] = {}
        self._payload = payload
        self._seed = non_negative_int(seed, "seed")
        self._buffers = buffers
        self._state: Any = None
        self._center: Tensor | None = None
        self._round = 0
        self._introduced = False
        self._warned = False

    @property
    def num_colluders(self) -> int:
        """Number of colluding nodes."""
        return len(self.nodes)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send what honest nodes get, and add the colluders' replies to theirs."""
        messages = list(messages)
        if not self._introduced and any(map(_is_train, messages)):
            self._introduced = True
            self._warn_of_strangers()
        colluding = [message for message in messages if self._is_for_a_colluder(message)]
        first = min((message.metadata.dst_node_id for message in colluding), default=0)
        held = self._withheld(colluding, first)
        received = {m.metadata.dst_node_id: array_records(m.content) for m in colluding}
        kept_back = set(map(id, held))
        sent = [message for message in messages if id(message) not in kept_back]
        replies = list(self.inner.send_and_receive(sent, timeout=timeout)) if sent else []
        if self.attack.level == "reply":
            self._alter(replies, received)
        elif held and self.attack.level == "data":
            replies += self._repeat(first, held, replies)
        elif held:
            replies += self._forge(held, replies)
        return replies

    def state_dict(self) -> dict[str, Any]:
        """Return what the attack has learned, for a checkpoint of the run."""
        state = self._state
        learned = vars(state) if is_dataclass(state) else state
        return {"state": learned, "center": self._center, "round": self._round}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        learned, kind = state["state"], self.attack.state_type
        self._state = learned if learned is None or kind is None else kind(**learned)
        self._center, self._round = state["center"], state["round"]

    def _is_for_a_colluder(self, message: Message) -> bool:
        return _is_train(message) and message.metadata.dst_node_id in self.nodes

    def _withheld(self, colluding: list[Message], first: int) -> list[Message]:
        """Return those of the colluders' train messages that no client answers."""
        if self.attack.level == "update":
            return colluding
        if self.attack.level == "data" and self.attack.trains_once:
            return [message for message in colluding if message.metadata.dst_node_id != first]
        return []

    def _alter(self, replies: list[Message], received: Mapping[int, Mapping[str, Arrays]]) -> None:
        """Change what the colluders among the replies' senders have computed."""
        payload = "gradient" if self.attack.alters_messages else self._payload
        for reply in replies:
            node = reply.metadata.src_node_id
            if node in received and reply.has_content():
                reply.content = altered(reply.content, received[node], self.attack.alter, payload)

    def _repeat(self, node: int, held: list[Message], replies: list[Message]) -> list[Message]:
        """Answer for the other colluders what the one that trains, a node id, has answered."""
        for reply in replies:
            if reply.metadata.src_node_id == node and reply.has_content():
                return _answers(held, [reply.content] * len(held), replies)
        return []

    def _warn_of_strangers(self) -> None:
        if unknown := sorted(self.nodes.difference(self.inner.get_node_ids())):
            _LOG.log(
                WARNING,
                "The grid does not know the colluders %s, who attack nobody. Where node ids are "
                "random, `byzflower.simulations.engines.partition_ids` tells which node is which",
                unknown,
            )

    def _forge(self, held: list[Message], replies: list[Message]) -> list[Message]:
        self._round = _server_round(held[0].content, default=self._round + 1)
        payload = self._payload or _declared(replies) or "model"
        received = held[0].content if payload == "model" else None
        forgery = Forgery(replies, received, self._buffers)
        if forgery.ignored:
            self.ignored[self._round] = forgery.ignored
        if forgery.updates is None:
            return []
        try:
            rows = self._attacked(forgery.updates, len(held))
        except InfeasibleError as error:
            # Silence would spare a server that assumes fewer faults and aggregates nevertheless.
            self._warn_of(error)
            rows = SignFlip()(forgery.updates, len(held))
        return _answers(held, map(forgery.content, rows), replies)

    def _attacked(self, honest: Tensor, f: int) -> Tensor:
        rng = _generator(self._seed, self._round)
        rows, self._state = self.attack.step(
            honest, f, rng=rng, rule=self.rule, state=self._state, center=self._center
        )
        if self.attack.needs_rule and self.rule is not None and self.rule.needs_center:
            # What the server aggregates now is what its rule measures against next round.
            everything = torch.cat([honest, rows])
            self._center = self.rule(everything, f=f, rng=rng, center=self._center)
        return rows

    def _warn_of(self, error: InfeasibleError) -> None:
        if not self._warned:
            self._warned = True
            # Not through Flower's logger, which the command line quietens: an attack that is not
            # the one its name says has to say so.
            getLogger(__name__).warning(
                "Round %d: `%s` cannot search (%s); in such rounds the colluders flip the honest "
                "mean's sign",
                self._round,
                self.attack.spec,
                error,
            )


def _answers(
    held: list[Message], contents: Iterable[RecordDict], replies: list[Message]
) -> list[Message]:
    """Answer withheld messages so that the server takes the answers for replies like the others."""
    answered = [reply.metadata for reply in replies if reply.metadata.reply_to_message_id]
    if answered:  # strategies match replies by these ids, which withheld messages never got
        stamp = Stamp(answered[0].run_id)
        for message in held:
            stamp.mark(message)
    return [
        Message(content, reply_to=message) for content, message in zip(contents, held, strict=True)
    ]


def _is_train(message: Message) -> bool:
    return message.metadata.message_type.partition(".")[0] == MessageType.TRAIN


def _declared(replies: Iterable[Message]) -> Payload | None:
    payloads = (declared(reply.content) for reply in replies if reply.has_content())
    return next(filter(None, payloads), None)


def _server_round(content: RecordDict, default: int) -> int:
    for record in content.config_records.values():
        value = record.get("server-round")
        if isinstance(value, int):
            return value
    return default


def _generator(seed: int, server_round: int) -> torch.Generator:
    entropy = np.random.SeedSequence((seed, server_round)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(entropy[0]))
