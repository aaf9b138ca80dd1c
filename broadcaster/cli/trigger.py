"""``broadcaster trigger``: broadcast one event from a terminal."""

from __future__ import annotations

import json

import click

from broadcaster.errors import InvalidPayload
from broadcaster.events.broadcast import send
from broadcaster.events.channels import channel_names
from broadcaster.events.shaping import Draft, literal_name
from broadcaster.settings import load_settings
from broadcaster.wiring.backend import open_backend


@click.command()
@click.argument("channel")
@click.argument("event")
@click.argument("data", default="{}")
@click.option("--socket-id", help="Leave out this connection.")
@click.option("--queued", is_flag=True, help="Go through the queue; a worker publishes.")
@click.option("--driver", help="Publish through this driver instead of the configured one.")
def trigger(
    channel: str,
    event: str,
    data: str,
    *,
    socket_id: str | None,
    queued: bool,
    driver: str | None,
) -> None:
    r"""
    Broadcast EVENT with DATA (JSON) to CHANNEL.

    CHANNEL is a full name such as private-orders.1; several are separated by commas.
    EVENT is a name as Echo's .listen() takes it: OrderShipped becomes
    App\Events\OrderShipped, and .order.shipped stays order.shipped.
    """
    settings = load_settings()
    backend = open_backend(settings)
    said = Draft(
        channels=channel_names(channel.split(",")),
        name=literal_name(event, settings.broadcast.event_namespace),
        data=read_data(data),
        connections=(driver,),
        now=not queued,
    )
    try:
        count = send(backend, said, socket_id=socket_id)
    finally:
        backend.close()
    verb = "queued" if queued else "published"
    events = "1 event" if count == 1 else f"{count} events"
    click.echo(f"{verb} {events}: {said.name} to {', '.join(said.channels)}")


def read_data(text: str) -> object:
    """Read JSON from the command line; `InvalidPayload` for anything else, NaN included."""

    def refuse(constant: str) -> object:
        raise ValueError(f"{constant} is not JSON")

    try:
        data: object = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidPayload(
            f"DATA is not JSON ({error}): quote it for the shell, as in '{{\"id\": 1}}'"
        ) from error
    return data
