r"""
From an event to finished publications. Nothing here sends, waits or looks at a clock.

An event is asked for everything it can say, once (`draft`); what it said is then checked,
encoded and, for encrypted channels, encrypted (`finish`). What comes out is text: no object
of the application ever reaches the queue, so any worker can publish it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from broadcaster.contracts.publisher import Publication
from broadcaster.errors import PublicationError
from broadcaster.events.channels import channel_names
from broadcaster.events.encoding import encode_data, public_fields
from broadcaster.events.event import ShouldBroadcast, ShouldBroadcastNow, ShouldRescue
from broadcaster.protocol.channels import ChannelKind, check_socket_id, parse_channel, shown
from broadcaster.protocol.encryption import largest_plain
from broadcaster.protocol.messages import RESERVED_PREFIXES

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.application import BroadcastRules

MAX_CHANNELS = 100
"""Channels of one publication; an event for more becomes several."""

MAX_EVENT_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """
    What an event said, unchecked.

    Attributes:
        channels: full names, each once.
        name: on the wire.
        data: anything that may have a JSON form.
        queue: where to wait, or None for the configured queue.
        connections: drivers to publish through; None is the configured one.
        now: publish in the calling process, past the queue.
        rescue: log a failure to send instead of raising it.
        after_commit: whether to wait for the open transaction; None leaves it to the settings.
        event: what said it; None: it was described piece by piece.
    """

    channels: tuple[str, ...]
    name: str
    data: object
    queue: str | None = None
    connections: tuple[str | None, ...] = (None,)
    now: bool = False
    rescue: bool = False
    after_commit: bool | None = None
    event: object = None


def draft(event: object, *, namespace: str) -> Draft | None:
    """
    Ask `event` for everything it can say.

    Returns:
        None if there is nothing to send: `broadcast_when` said no, or no channels.

    Raises:
        InvalidChannel, PublicationError: an answer that cannot be.
        TypeError: `event` is none.
    """
    if not isinstance(event, ShouldBroadcast):
        raise TypeError(
            f"{type(event).__name__} is no event: derive it from ShouldBroadcast, or describe "
            "one with on(channel).as_(name).with_(data).send()"
        )
    if not event.broadcast_when():
        return None
    channels = channel_names(event.broadcast_on())
    if not channels:
        return None
    data = event.broadcast_with()
    connections = event.broadcast_connections()
    return Draft(
        channels=channels,
        name=_name_of(event, namespace),
        data=public_fields(event) if data is None else data,
        queue=event.broadcast_queue(),
        connections=(connections,) if isinstance(connections, str) else tuple(connections),
        now=isinstance(event, ShouldBroadcastNow),
        rescue=isinstance(event, ShouldRescue),
        after_commit=event.broadcast_after_commit(),
        event=event,
    )


def finish(
    said: Draft,
    *,
    app_id: str,
    rules: BroadcastRules,
    socket_id: str | None,
    new_id: Callable[[], str],
    encrypt: Callable[[str, str], str],
) -> list[Publication]:
    """
    Check and encode what an event said.

    Args:
        socket_id: the connection that must not receive it.
        new_id: returns a fresh id, 32 hex digits, at each call.
        encrypt: takes the name of an encrypted channel and readable data, returns what to
            publish there; see `Application.encrypt`.

    Returns:
        One publication for every connection and every hundred channels, in order; then one
        for every connection and encrypted channel, since each channel has its own key.

    Raises:
        InvalidPayload, PayloadTooLarge: the data has no JSON form, or too long a one.
        PublicationError: the name cannot be sent (``invalid_event_name``).
        InvalidSocketId: `socket_id` is none.
        NotConfigured: what it takes to encrypt is missing.
    """
    check_event_name(said.name)
    if socket_id is not None:
        check_socket_id(socket_id)
    sealed = [name for name in said.channels if _is_encrypted(name)]
    plain = tuple(name for name in said.channels if name not in sealed)
    data = _encoded(said, limit=rules.max_data_bytes, encrypted=bool(sealed))
    parts = [(channels, data) for channels in _chunks(plain)]
    parts += [((channel,), encrypt(channel, data)) for channel in sealed]
    return [
        Publication(
            id=new_id(),
            app_id=app_id,
            channels=channels,
            name=said.name,
            data=text,
            socket_id=socket_id,
            connection=connection,
        )
        for connection in dict.fromkeys(said.connections)
        for channels, text in parts
    ]


def class_name_on_wire(name: str, namespace: str) -> str:
    r"""
    Return the name that Echo's ``.listen(name)`` waits for.

    Args:
        name: ``OrderShipped``, or ``orders.Shipped`` for ``...\orders\Shipped``.
        namespace: ``App.Events`` and ``App\Events`` mean the same; may be empty.
    """
    return f"{namespace}.{name}".lstrip(".\\").replace(".", "\\") if name else ""


def literal_name(name: str, namespace: str) -> str:
    r"""
    Return the wire name that Echo would make of what is given to ``.listen()``.

    A leading dot or backslash marks a name that is taken as it stands (without the
    mark); so is a name that has a backslash already. Any other gets the namespace.

    Source: laravel-echo 2, event formatter.
    """
    if name.startswith((".", "\\")):
        return name[1:]
    return name if "\\" in name else class_name_on_wire(name, namespace)


def check_event_name(name: str) -> None:
    """Raise `PublicationError` (``invalid_event_name``) for a name that cannot be sent."""
    problem = _name_problem(name)
    if problem:
        raise PublicationError(f"event name {shown(name)} {problem}", code="invalid_event_name")


def _name_problem(name: str) -> str:
    if not name:
        return "is empty"
    if len(name) > MAX_EVENT_NAME:
        return f"has {len(name)} characters; {MAX_EVENT_NAME} are allowed"
    if name.startswith("."):
        return "begins with a dot: the dot belongs to Echo's .listen('.name'), not to the name"
    if name.startswith(RESERVED_PREFIXES):
        return "is reserved for the protocol: 'pusher:' and 'pusher_internal:' begin no event"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "contains a lone surrogate"
    return ""


def _name_of(event: ShouldBroadcast, namespace: str) -> str:
    name = event.broadcast_as()
    if name is None:
        return class_name_on_wire(type(event).__name__, namespace)
    if isinstance(name, Enum):
        name = name.value
    if not isinstance(name, str):
        raise PublicationError(
            f"{type(event).__qualname__}.broadcast_as() returned {type(name).__name__}, not text",
            code="invalid_event_name",
        )
    return str.__str__(name)


def _is_encrypted(channel: str) -> bool:
    return parse_channel(channel).kind is ChannelKind.ENCRYPTED


def _encoded(said: Draft, *, limit: int, encrypted: bool) -> str:
    """Return the data as JSON text that is within `limit` in every form it is sent in."""
    what = f"data of {said.name}"
    if not encrypted:
        return encode_data(said.data, limit=limit, what=what)
    what += f" (to be encrypted, which makes it a third longer: {limit:,} bytes then)"
    return encode_data(said.data, limit=largest_plain(limit), what=what)


def _chunks(channels: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [channels[at : at + MAX_CHANNELS] for at in range(0, len(channels), MAX_CHANNELS)]
