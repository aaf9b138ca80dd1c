"""``broadcaster webhook``: try the receivers of an app."""

from __future__ import annotations

import asyncio
import os
import re
import time
from typing import TYPE_CHECKING

import click

from broadcaster.errors import AddressRefused, ConfigurationError, DriverUnavailable
from broadcaster.protocol.app import Webhook
from broadcaster.protocol.facts import FACT_NAMES, Fact, fact_id
from broadcaster.protocol.webhooks import (
    check_webhook_url,
    is_accepted,
    shown_url,
    webhook_body,
    webhook_headers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.webhooks import Answer, WebhookSender
    from broadcaster.protocol.app import App
    from broadcaster.protocol.facts import FactName
    from broadcaster.settings import Settings

CHANNEL = "presence-webhook-test"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_HINTS = {
    401: "the receiver did not accept the signature: has it this app's key and secret, and does "
    "it sign the raw body?",
    403: "the receiver refused it: has it this app's key and secret, and is it free of CSRF checks?",
    404: "there is nothing at this path",
    405: "the receiver must take POST",
    419: "the receiver wants a CSRF token: except this path from that check",
}


@click.group()
def webhook() -> None:
    """Try the receivers of webhooks."""


@webhook.command("test", short_help="Send a signed sample to each receiver.")
@click.option("--url", help="Only this receiver; it need not be in the settings.")
@click.option(
    "--app", "app_id", help="The app that is meant, of the settings or of Redis. Default: app.id."
)
@click.option(
    "--event",
    type=click.Choice(FACT_NAMES),
    help="What to tell. Default: the first event that the receiver asks for.",
)
def test_webhook(url: str | None, app_id: str | None, event: FactName | None) -> None:
    """
    Send a signed sample to each receiver of the app, and print what it answers.

    It is sent once, from this process, under the same rules as by a gateway. Exit codes: 0
    every receiver accepted it, 1 one did not, 78 there is none.
    """
    from broadcaster.settings import load_settings

    settings = load_settings()
    app = _app(settings, app_id)
    hooks = _hooks(app, url)
    accepted = asyncio.run(_try_all(settings, app, hooks, event))
    if not all(accepted):
        raise click.exceptions.Exit(1)


def _app(settings: Settings, app_id: str | None) -> App:
    if app_id is None:
        return settings.require_app()
    from broadcaster.wiring.backend import Backend

    backend = Backend(settings)
    try:
        return backend.find_app(app_id)
    finally:
        backend.close()


def _hooks(app: App, url: str | None) -> Sequence[Webhook]:
    if url is not None:
        known = [hook for hook in app.webhooks if hook.url == url]
        return known or [Webhook(url=check_webhook_url(url))]
    if not app.webhooks:
        raise ConfigurationError(
            f"app {app.id} has no webhooks: add [[app.webhooks]] with a url to broadcaster.toml, "
            "or name a receiver with --url"
        )
    return app.webhooks


async def _try_all(
    settings: Settings, app: App, hooks: Sequence[Webhook], event: FactName | None
) -> list[bool]:
    from broadcaster.drivers.http.webhooks import HttpWebhooks
    from broadcaster.wiring.webhooks import address_rules

    sender = HttpWebhooks(address_rules(settings), timeout=settings.webhooks.timeout)
    try:
        return [await _try(sender, app, hook, event) for hook in hooks]
    finally:
        await sender.aclose()


async def _try(sender: WebhookSender, app: App, hook: Webhook, event: FactName | None) -> bool:
    fact = sample(app, event or _first_event(hook), now=time.time(), chance=os.urandom(8).hex())
    body = webhook_body([fact], now=time.time())
    click.echo(f"POST {shown_url(hook.url)}  {fact.name} of app {app.id}, {len(body)} bytes")
    click.echo(f"  {body.decode()}")
    started = time.monotonic()
    try:
        answer = await sender.post(hook.url, webhook_headers(app, hook, [fact], body), body)
    except (DriverUnavailable, AddressRefused) as error:
        click.echo(f"  not sent: {error.message}")
        return False
    milliseconds = (time.monotonic() - started) * 1000
    click.echo(f"  {_told(answer)} in {milliseconds:.0f} ms")
    return is_accepted(answer.status)


def sample(app: App, name: FactName, *, now: float, chance: str) -> Fact:
    """
    Return a fact that never happened.

    Args:
        now: Unix seconds.
        chance: makes its id one of its own.
    """
    presence = name in {"member_added", "member_removed", "client_event"}
    return Fact(
        id=fact_id("sample", app.id, chance),
        app_id=app.id,
        name=name,
        channel=CHANNEL,
        time_ms=int(now * 1000),
        user_id="webhook-test" if presence else None,
        event="client-webhook-test" if name == "client_event" else None,
        data="{}" if name == "client_event" else None,
        socket_id="1.1" if name == "client_event" else None,
        subscription_count=1 if name == "subscription_count" else None,
    )


def _first_event(hook: Webhook) -> FactName:
    wanted = set(hook.events)
    names: list[FactName] = [name for name in FACT_NAMES if {name} <= wanted]
    return names[0] if names else "channel_occupied"


def _told(answer: Answer) -> str:
    verdict = "accepted" if is_accepted(answer.status) else "not accepted"
    said = _CONTROL.sub(" ", answer.body.decode("utf-8", "replace")).strip()
    text = f"{verdict}: {answer.status}"
    if 300 <= answer.status < 400:  # noqa: PLR2004 - HTTP
        text += "; redirects are not followed, set the URL that it leads to"
    elif (hint := _HINTS.get(answer.status)) is not None:
        text += f"; {hint}"
    return f"{text} ({said})" if said else text
