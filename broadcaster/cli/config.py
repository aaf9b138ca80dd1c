"""``broadcaster config``: what the settings are, and who said so."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit, urlunsplit

import click

from broadcaster.contracts.apps import AppLimits
from broadcaster.errors import ConfigurationError
from broadcaster.protocol.webhooks import shown_url
from broadcaster.settings import Settings, load_settings, setting_types
from broadcaster.settings_sources import environment_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.contracts.apps import App

_MASK = "********"
_OPTIONS = re.compile(r"(?<=[?&])((?:sentinel_)?password=)[^&]*")
_SECRET = frozenset({"app.secret", "app.encryption_key"})
_URLS = frozenset({"redis_url", "failed.url"})


@click.group()
def config() -> None:
    """Show settings and where they come from."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def show(*, as_json: bool) -> None:
    """Show every setting, its value and its source. Secrets are masked."""
    try:
        settings = load_settings()
    except ConfigurationError:  # it may be a wrong name: the right ones are here all the same
        for path in setting_types():
            click.echo(f"{path:<36}  {environment_name(path)}", err=as_json)
        raise
    rows = list(rows_of(settings))
    if as_json:
        table: dict[str, dict[str, object]] = {
            path: {"value": value, "source": source} for path, value, source in rows
        }
        table["apps"]["value"] = [shown_app(app) for app in settings.listed]
        click.echo(json.dumps(table, indent=2, ensure_ascii=False))
        return
    width = max(len(path) for path, _, _ in rows)
    for path, value, source in rows:
        click.echo(f"{path:<{width}}  {_readable(value):<32}  {source}")
    if settings.app is None and settings.app_problem:
        click.echo(f"no app: {settings.app_problem}", err=True)
    for text in settings.warnings:
        click.echo(f"note: {text}", err=True)
    for number, app in enumerate(settings.listed, start=1):
        click.echo(f"apps #{number}")
        for name, value in shown_app(app).items():
            click.echo(f"  {name:<{width - 2}}  {_readable(value)}")


def rows_of(settings: Settings) -> Iterator[tuple[str, object, str]]:
    """Yield path, value and source of every setting; secrets masked, None for not set."""
    for path in setting_types():
        yield path, _value(settings, path), settings.sources.get(path, "default")


def _value(settings: Settings, path: str) -> object:
    if path == "app.grant_key":
        return _MASK if settings.app is not None and settings.app.grant_keys else None
    if path == "app.webhooks":
        return (
            [shown_url(hook.url) for hook in settings.app.webhooks]
            if settings.app is not None
            else []
        )
    if path == "apps":
        return [app.id for app in settings.listed]
    if path in ("queues", "workers", "supervisors"):
        return sorted(getattr(settings, path))
    value: object = settings
    for name in path.replace("app.limits.", "limits.").split("."):
        value = getattr(value, name) if value is not None else None
    if value is not None and path in _SECRET:
        return _MASK
    if path in _URLS and isinstance(value, str):
        return mask_password(value)
    return list(value) if isinstance(value, tuple) else value


def shown_app(app: App) -> dict[str, object]:
    """Return an app as it may be shown: secrets masked, limits only where they differ."""
    limits, usual = asdict(app.limits), asdict(AppLimits())
    return {
        "id": app.id,
        "key": app.key,
        "secret": _MASK,
        "grant_key": _MASK if app.grant_keys else None,
        "jwks_url": app.jwks_url,
        "encryption_key": _MASK if app.encryption_key else None,
        "enabled": app.enabled,
        "server_events": app.server_events,
        "webhooks": [shown_url(hook.url) for hook in app.webhooks],
        "limits": {name: value for name, value in limits.items() if value != usual[name]},
    }


def mask_password(url: str) -> str:
    """Return `url` with its passwords, if any, replaced: that of sentinels is an option."""
    url = _OPTIONS.sub(rf"\1{_MASK}", url)
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    login, _, host = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:{_MASK}@{host}"))


def _readable(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return ", ".join(f"{name} = {_readable(item)}" for name, item in table.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in cast("list[object]", value)) or "-"
    return str(value)
