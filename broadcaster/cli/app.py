"""
``broadcaster app``: the apps that gateways serve.

Those of the settings can be listed and shown; those that Redis holds can be added, changed
and removed too, and every gateway follows within the second.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

import click

from broadcaster.cli.config import shown_app
from broadcaster.drivers.redis.apps import RedisApps
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.errors import ConfigurationError, DriverError
from broadcaster.protocol.app_table import LIMIT_TYPES, parse_app
from broadcaster.protocol.suggestion import did_you_mean
from broadcaster.settings import load_settings
from broadcaster.settings_sources import Found
from broadcaster.settings_values import convert

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broadcaster.contracts.apps import App
    from broadcaster.protocol.app_table import AppTable
    from broadcaster.settings import Settings

_FLAGS = ("enabled", "server_events")
_TEXTS = ("key", "jwks_url", "grant_key", "encryption_key")
_SETTABLE = (*_FLAGS, *_TEXTS, "webhooks", *(f"limits.{name}" for name in LIMIT_TYPES))


Result = TypeVar("Result")


class Listed(NamedTuple):
    """An app and where it is kept."""

    app: App
    source: str


@click.group("app")
def app_group() -> None:
    """Add, change and remove apps while gateways run."""


@app_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def list_apps(*, as_json: bool) -> None:
    """List every app, those of the settings first."""
    settings = load_settings()
    found = _everything(settings)
    if as_json:
        table = [{**shown_app(app), "source": source} for app, source in found]
        click.echo(json.dumps(table, indent=2))
        return
    if not found:
        click.echo("no apps; `broadcaster app add` makes one")
    for app, source in found:
        state = "enabled " if app.enabled else "disabled"
        click.echo(f"{app.id:<20} {app.key:<28} {state}  {source}")


@app_group.command()
@click.argument("app_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def show(app_id: str, *, as_json: bool) -> None:
    """Show one app, its secrets masked. Exit code 1 if there is none."""
    settings = load_settings()
    found = _everything(settings)
    one = next((item for item in found if item.app.id == app_id), None)
    if one is None:
        raise _nobody(app_id, [item.app.id for item in found])
    details = {**shown_app(one.app), "source": one.source}
    if as_json:
        click.echo(json.dumps(details, indent=2))
        return
    for name, value in details.items():
        text = value if isinstance(value, str) else json.dumps(value)
        click.echo(f"{name:<15} {text}")


@app_group.command()
@click.argument("app_id", metavar="[ID]", required=False)
@click.option("--key", help="Its public key. Default: 20 random digits and letters.")
@click.option("--secret", help="Its secret. Default, and better: 40 random digits and letters.")
@click.option("--set", "said", multiple=True, metavar="NAME=VALUE", help="As in `app set`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def add(
    app_id: str | None, key: str | None, secret: str | None, said: tuple[str, ...], *, as_json: bool
) -> None:
    """
    Add an app and print its credentials, this once.

    Without ID it gets six random digits, which every Pusher library accepts.
    """
    settings = load_settings()
    table: AppTable = {
        "id": app_id or str(100_000 + secrets.randbelow(900_000)),
        "key": key or secrets.token_hex(10),
        "secret": secret or secrets.token_hex(20),
    }
    table = changed(table, said)
    app = _checked(settings, table)
    for static in settings.apps:
        if static.id == app.id or static.key == app.key:
            field = "id" if static.id == app.id else "key"
            raise click.ClickException(
                f"the settings have an app with this {field} ({static.id}), and they win"
            )
    _run(settings, lambda store: store.put(table, replacing=None))
    _print_credentials(settings, app, as_json=as_json)


@app_group.command("set", short_help="Change an app, as by enabled=false.")
@click.argument("app_id", metavar="ID")
@click.argument("said", metavar="NAME=VALUE...", nargs=-1, required=True)
def set_fields(app_id: str, said: tuple[str, ...]) -> None:
    """
    Change an app: limits.max_connections=500, enabled=false, webhooks='[{"url": ...}]'.

    Lists are separated by commas. NAME= without a value goes back to the default.
    """
    settings = load_settings()
    before, app = _change(settings, app_id, lambda table: changed(table, said))
    if before == app:
        click.echo(f"{app.id} is that already")
        return
    click.echo(f"changed {app.id}: {', '.join(item.partition('=')[0] for item in said)}")


@app_group.command(short_help="Close an app's connections and refuse new ones.")
@click.argument("app_id", metavar="ID")
def disable(app_id: str) -> None:
    """Close an app's connections (4003), refuse new ones, answer its requests with 403."""
    _change(load_settings(), app_id, lambda table: {**table, "enabled": False})
    click.echo(f"disabled {app_id}")


@app_group.command()
@click.argument("app_id", metavar="ID")
def enable(app_id: str) -> None:
    """
    Serve an app again.

    Pages that were closed with 4003 come back when they are loaded again.
    """
    _change(load_settings(), app_id, lambda table: {**table, "enabled": True})
    click.echo(f"enabled {app_id}")


@app_group.command()
@click.argument("app_id", metavar="ID")
@click.option("--key", "new_key", is_flag=True, help="A new key too: pages need it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def rotate(app_id: str, *, new_key: bool, as_json: bool) -> None:
    """
    Give an app a new secret and print it, this once.

    The old one is good for nothing from then on. Connections stay.
    """
    settings = load_settings()
    fresh: AppTable = {"secret": secrets.token_hex(20)}
    if new_key:
        fresh["key"] = secrets.token_hex(10)
    _, app = _change(settings, app_id, lambda table: {**table, **fresh})
    _print_credentials(settings, app, as_json=as_json)


@app_group.command()
@click.argument("app_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(app_id: str, *, yes: bool) -> None:
    """Remove an app and close its connections (4001). Its pages give up for good."""
    settings = load_settings()
    _refuse_listed(settings, app_id)
    if not _run(settings, lambda store: store.get(app_id)):
        raise _nobody_of_redis(settings, app_id, [])
    if not yes:
        click.confirm(f"Remove the app {app_id} and close its connections?", abort=True)
    if not _run(settings, lambda store: store.delete(app_id)):
        raise _nobody(app_id, [])
    click.echo(f"removed {app_id}")
    _note_credentials(settings, app_id)


def changed(table: AppTable, said: Sequence[str]) -> AppTable:
    """
    Return `table` with what ``NAME=VALUE`` words say.

    Raises:
        ConfigurationError: an unknown name, or a value of the wrong type.
    """
    new: AppTable = dict(table)
    limits: AppTable = dict(_limits(table))
    for word in said:
        name, equals, text = word.partition("=")
        if not equals or name not in _SETTABLE:
            raise ConfigurationError(
                f"{name!r} is nothing that can be set{did_you_mean(name, _SETTABLE)}; write "
                f"NAME=VALUE with one of {', '.join(_SETTABLE)}"
            )
        into, field = (limits, name.removeprefix("limits.")) if "." in name else (new, name)
        if text == "" and name != "key":
            into.pop(field, None)
        else:
            into[field] = _value(name, text)
    new.pop("limits", None)
    return {**new, "limits": limits} if limits else new


def _limits(table: AppTable) -> AppTable:
    match table.get("limits"):
        case dict() as limits:
            return cast("AppTable", limits)
        case _:
            return {}


def _value(name: str, text: str) -> object:
    found = Found(text, "the command line")
    if name in _FLAGS:
        return convert(name, found, bool)
    if name == "webhooks":
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                'webhooks must be a JSON array: [{"url": "https://..."}]'
            ) from error
    if name in _TEXTS:
        return text
    value = convert(f"app.{name}", found, LIMIT_TYPES[name.removeprefix("limits.")])
    return list(value) if isinstance(value, tuple) else value


def _checked(settings: Settings, table: AppTable) -> App:
    return parse_app(table, where="the app", base=settings.limits)


def _change(
    settings: Settings, app_id: str, change: Callable[[AppTable], AppTable]
) -> tuple[App | None, App]:
    """Return an app as it was, None if that cannot be read, and as it is."""
    _refuse_listed(settings, app_id)

    async def work(store: RedisApps) -> tuple[App | None, App]:
        before = await store.get(app_id)
        if before is None:
            raise _nobody_of_redis(settings, app_id, list((await store.read()).tables))
        after = change(before)
        app = _checked(settings, after)
        for static in settings.apps:
            if static.key == app.key and static.id != app.id:
                raise DriverError(
                    f"the app {static.id} of the settings has this key", code="app_key_taken"
                )
        await store.put(after, replacing=before)
        return _readable(settings, before), app

    done = _run(settings, work)
    _note_credentials(settings, app_id)
    return done


def _readable(settings: Settings, table: AppTable) -> App | None:
    try:
        return _checked(settings, table)
    except ConfigurationError:
        return None


def _refuse_listed(settings: Settings, app_id: str) -> None:
    if any(app.id == app_id for app in settings.listed):
        raise _static(settings, app_id)


def _nobody_of_redis(settings: Settings, app_id: str, known: Sequence[str]) -> click.ClickException:
    """Return what is said of an app that Redis has not: the settings may have it."""
    if any(app.id == app_id for app in settings.apps):
        return _static(settings, app_id)
    return _nobody(app_id, known)


def _static(settings: Settings, app_id: str) -> click.ClickException:
    return click.ClickException(
        f"the app {app_id} is one of the settings ({_source(settings, app_id)}): change it "
        "there, and restart"
    )


def _note_credentials(settings: Settings, app_id: str) -> None:
    """
    Say what it means that the settings name an app of Redis as the one that is published for.

    A tenant's backend has its credentials there, and no gateway of its own.
    """
    if settings.app is not None and settings.app.id == app_id:
        click.echo(
            f"credentials of {app_id} are set here ({_source(settings, app_id)}) too: a gateway "
            "that is started with them serves those, not the app of Redis",
            err=True,
        )


def _everything(settings: Settings) -> list[Listed]:
    """
    Return the apps of the settings, then those of Redis, if there is one.

    An app of Redis whose credentials are set here is the one of Redis.
    """
    found = [Listed(app, _source(settings, app.id)) for app in settings.apps]
    taken = {app.id for app in settings.listed}
    served = "Redis" if settings.gateway.dynamic_apps else "Redis (not served)"
    if settings.redis_url is None:
        return found
    for app_id, table in sorted(_run(settings, RedisApps.read).tables.items()):
        try:
            app = _checked(settings, table)
        except ConfigurationError as error:
            click.echo(f"passed over an app of Redis: {error.message}", err=True)
            continue
        found = [item for item in found if item.app.id != app_id or app_id in taken]
        found.append(Listed(app, "Redis (the settings win)" if app_id in taken else served))
    return found


def _source(settings: Settings, app_id: str) -> str:
    if any(app.id == app_id for app in settings.listed):
        return settings.sources.get("apps", "settings")
    return settings.sources.get("app.id", "settings")


def _nobody(app_id: str, known: Sequence[str]) -> click.ClickException:
    return click.ClickException(
        f"no app has the id {app_id!r}{did_you_mean(app_id, known)}; "
        "`broadcaster app list` shows them"
    )


def _run(settings: Settings, work: Callable[[RedisApps], Awaitable[Result]]) -> Result:
    async def connected() -> Result:
        clients = RedisClients(settings.require_redis(), settings.prefix)
        try:
            return await work(RedisApps(clients))
        finally:
            await clients.aclose()

    return asyncio.run(connected())


def _print_credentials(settings: Settings, app: App, *, as_json: bool) -> None:
    if as_json:
        shown = {"id": app.id, "key": app.key, "secret": app.secret}
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(
            f"BROADCASTER_APP_ID={app.id}\n"
            f"BROADCASTER_APP_KEY={app.key}\n"
            f"BROADCASTER_APP_SECRET={app.secret}\n"
        )
        endpoint = settings.endpoint
        tls = endpoint.scheme == "https"
        click.echo(
            "new Echo({\n"
            "  broadcaster: 'pusher', cluster: 'self', key: "
            f"'{app.key}',\n"
            f"  wsHost: '{endpoint.host}', wsPort: {endpoint.port}, wssPort: {endpoint.port}, "
            f"forceTLS: {'true' if tls else 'false'},\n"
            "  enabledTransports: ['ws', 'wss'],\n"
            "})\n"
        )
    click.echo("the secret is shown this once: keep it where your backend finds it", err=True)
    if not settings.gateway.dynamic_apps:
        click.echo("gateway.dynamic_apps is off: gateways do not serve this app", err=True)
