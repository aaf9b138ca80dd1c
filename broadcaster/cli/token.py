"""``broadcaster token make``, ``broadcaster token check`` and ``broadcaster token revoke``."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from broadcaster_auth import tokens

from broadcaster.errors import InvalidToken, NotConfigured
from broadcaster.events.revocation import revoke
from broadcaster.protocol.channels import check_socket_id, parse_channel
from broadcaster.settings import load_settings

if TYPE_CHECKING:
    from broadcaster_auth.tokens import Grant, GrantKey

    from broadcaster.contracts.apps import App


@click.group()
def token() -> None:
    """Make, check and revoke grants: JWTs that let their holder into channels."""


@token.command()
@click.option("--sub", required=True, help="The user's id; on presence channels the member's.")
@click.option(
    "--channel",
    "channels",
    required=True,
    multiple=True,
    help="Full channel name; '*' matches within one dot segment. May be repeated.",
)
@click.option(
    "--expires",
    type=click.FloatRange(1, tokens.MAX_LIFETIME),
    default=3600.0,
    show_default=True,
    help="Seconds until it expires.",
)
@click.option("--info", help="The member's info on presence channels, as JSON.")
@click.option("--socket-id", help="Bind it to one connection.")
@click.option("--kid", help="Id of the grant key; default is the first.")
def make(
    sub: str,
    channels: tuple[str, ...],
    expires: float,
    info: str | None,
    socket_id: str | None,
    kid: str | None,
) -> None:
    """Print a grant as clients send it in 'auth': APP_KEY:TOKEN."""
    app = load_settings().require_app()
    made = tokens.mint(
        _choose(_keys(app), kid),
        app_id=app.id,
        sub=sub,
        channels=channels,
        now=time.time(),
        lifetime=expires,
        info=None if info is None else _json(info),
        socket_id=socket_id,
    )
    click.echo(f"{app.key}:{made}")


@token.command()
@click.argument("grant", metavar="TOKEN")
@click.option("--channel", help="Also check that it covers this channel.")
@click.option("--socket-id", help="Also check that it admits this connection.")
def check(grant: str, channel: str | None, socket_id: str | None) -> None:
    """
    Say what TOKEN admits to and until when, or why it does not.

    TOKEN may have the app key in front, as in 'auth'. Exit code 1 when it is not good.
    """
    app = load_settings().require_app()
    key, colon, text = grant.strip().rpartition(":")
    if colon and key != app.key:
        raise InvalidToken(
            f"the part before the colon is not this app's key ({app.key})", code="auth_wrong_key"
        )
    now = time.time()
    found = tokens.verify(text, _keys(app), app_id=app.id, now=now)
    if channel is not None:
        parse_channel(channel)
        tokens.check_use(
            found, channel=channel, socket_id=check_socket_id(socket_id or found.socket_id or "0.0")
        )
    elif socket_id is not None and found.socket_id not in (None, check_socket_id(socket_id)):
        raise InvalidToken(
            f"the grant is for the connection {found.socket_id}, not for {socket_id}",
            code="token_wrong_socket",
        )
    click.echo(_described(found, now=now))


@token.command("revoke")
@click.option("--user", required=True, help="The user's id: 'sub' of grants.")
@click.option("--channel", help="Full channel name, '*' as in grants. Default: all channels.")
def revoke_tokens(user: str, channel: str | None) -> None:
    """
    Revoke the grants and signatures made for a user until now.

    The user's subscriptions end on every gateway; what is made afterwards is good again.
    """
    revoke(user=user, channel=channel)
    click.echo(f"revoked what user {user} was authorized for on {channel or 'all channels'}")


def _described(grant: Grant, *, now: float) -> str:
    until = datetime.fromtimestamp(grant.exp, tz=UTC).isoformat(" ", "seconds")
    lines = [
        f"good until {until} ({grant.exp - now:.0f} s from now)",
        f"user       {grant.sub}",
        f"channels   {', '.join(grant.channels)}",
    ]
    if grant.socket_id is not None:
        lines.append(f"connection {grant.socket_id} only")
    info = bytes(grant.info).decode()
    if info:
        lines.append(f"info       {info}")
    return "\n".join(lines)


def _keys(app: App) -> tuple[GrantKey, ...]:
    keys = tokens.load_keys(app)
    if not keys:
        raise NotConfigured(
            "this app has no grant key: set BROADCASTER_APP_GRANT_KEY to 32 random bytes or more "
            "(python -c 'import secrets; print(secrets.token_urlsafe(32))'), not the app's secret"
        )
    return keys


def _choose(keys: tuple[GrantKey, ...], kid: str | None) -> GrantKey:
    if kid is None:
        return keys[0]
    for key in keys:
        if key.kid == kid:
            return key
    raise click.BadParameter(f"no grant key {kid!r}; there are: {', '.join(k.kid for k in keys)}")


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"--info is not JSON: {error}") from error
