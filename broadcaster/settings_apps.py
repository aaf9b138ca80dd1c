"""
Apps out of settings: the single one of ``[app]``, those of ``[[apps]]``, and which is meant.

``[[apps]]`` is a list of tables (`broadcaster.protocol.app_table`); in the environment
``BROADCASTER_APPS`` holds it as JSON. A secret need not stand in the file: ``secret_env``
names the variable that holds it, and so do ``grant_key_env`` and ``encryption_key_env``.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, NamedTuple, cast

from broadcaster.contracts.apps import App
from broadcaster.errors import ConfigurationError
from broadcaster.protocol.app_table import (
    FIELDS,
    SECRETS,
    check_names,
    encryption_key_problem,
    grant_key_problem,
    id_problem,
    key_problem,
    parse_app,
    parse_webhooks,
    secret_problem,
)
from broadcaster.protocol.channels import shown
from broadcaster.protocol.jwks import check_jwks_url
from broadcaster.protocol.suggestion import did_you_mean
from broadcaster.settings_values import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broadcaster.contracts.apps import AppLimits
    from broadcaster.settings_sources import Found

MAX_APPS = 1_000

_FROM_ENVIRONMENT = {f"{name}_env": name for name in sorted(SECRETS)}


class Choice(NamedTuple):
    """The app of this process, or why there is none."""

    app: App | None
    problem: str = ""


def read_apps(
    found: Found | None, *, base: AppLimits, variable: Callable[[str], str | None]
) -> tuple[App, ...]:
    """
    Return the apps of ``[[apps]]``.

    Args:
        found: the list, as TOML has it, or as JSON.
        base: limits that an app does not name.
        variable: returns what an environment variable holds, or None.

    Raises:
        ConfigurationError: it names the source, the app and the field.
    """
    if found is None:
        return ()
    apps: list[App] = []
    for number, item in enumerate(_tables(found), start=1):
        where = f"[[apps]] #{number} in {found.source}"
        if not isinstance(item, dict):
            raise ConfigurationError(f"{where} must be a table")
        table = _with_variables(cast("dict[str, object]", item), where, variable)
        apps.append(parse_app(table, where=where, base=base))
    _check_unique(apps, found.source)
    return tuple(apps)


def single_app(found: Mapping[str, Found], values: Mapping[str, object], limits: AppLimits) -> App:
    """
    Return the app of a complete set of credentials and what else ``[app]`` says.

    Args:
        found: raw values by path, with ``app.id``, ``app.key`` and ``app.secret``.
        values: converted ones, for what is no text.

    Raises:
        ConfigurationError: an id, key or secret that could not work, or a grant key that
            is too short for HS256 or the same as the secret.
    """
    app_id, key, secret = (str(found[f"app.{name}"].value) for name in ("id", "key", "secret"))
    _check("app.id", found, id_problem(app_id))
    _check("app.key", found, key_problem(key))
    _check("app.secret", found, secret_problem(secret))
    return App(
        id=app_id,
        key=key,
        secret=secret,
        grant_keys=_grant_keys(found, secret),
        jwks_url=_jwks_url(found),
        encryption_key=_encryption_key(found),
        enabled=bool(values.get("app.enabled", True)),
        server_events=bool(values.get("app.server_events", False)),
        webhooks=parse_webhooks(_list(found["app.webhooks"]), _place(found["app.webhooks"]))
        if "app.webhooks" in found
        else (),
        limits=limits,
    )


def choose(
    own: App | None, listed: Sequence[App], *, wanted: Found | None, borrowed: bool, problem: str
) -> Choice:
    """
    Return the app that this process publishes for.

    Args:
        own: the one of a set of credentials, if there is one.
        listed: those of ``[[apps]]``.
        wanted: the id that ``broadcast.app`` or a lone ``app.id`` says.
        borrowed: whether `own` is the one of a running ``broadcaster dev``.
        problem: why there is no set of credentials.

    Raises:
        ConfigurationError: no app has the wanted id.
    """
    known = {app.id: app for app in (*([own] if own else []), *listed)}
    if wanted is not None:
        app = known.get(str(wanted.value))
        if app is None:
            hint = did_you_mean(str(wanted.value), known)
            raise ConfigurationError(
                f"no app has the id {shown(str(wanted.value))} (from {wanted.source}){hint}; "
                f"there are: {', '.join(known) or 'none'}"
            )
        return Choice(app)
    if own is not None and not (borrowed and len(listed) == 1):
        return Choice(own)
    if len(listed) == 1:
        return Choice(listed[0])
    if listed:
        return Choice(
            None,
            f"several apps are configured ({', '.join(known)}) and none is chosen: set "
            "broadcast.app or BROADCASTER_APP_ID to one of them",
        )
    return Choice(None, problem)


def same_app(own: App, listed: Sequence[App], source: str) -> App:
    """
    Return the entry of ``[[apps]]`` that a set of credentials means, or the app itself.

    Raises:
        ConfigurationError: an entry has its id and another key or secret, or its key.
    """
    for app in listed:
        if app.id == own.id and (app.key, app.secret) == (own.key, own.secret):
            return app
        if app.id == own.id or app.key == own.key:
            field = "id" if app.id == own.id else "key"
            raise ConfigurationError(
                f"the app of {source} has the {field} of one in [[apps]] ({shown(app.id)}), but "
                "not the same credentials: leave one of them out"
            )
    return own


def _tables(found: Found) -> list[object]:
    value = _list(found)
    if not isinstance(value, list):
        raise ConfigurationError(
            f"apps (from {found.source}) must be a list of tables: [[apps]] in a file, "
            "a JSON array in the environment"
        )
    tables = cast("list[object]", value)
    if len(tables) > MAX_APPS:
        raise ConfigurationError(
            f"{len(tables)} apps are in {found.source}; {MAX_APPS} are the most: add more with "
            "`broadcaster app add`"
        )
    return tables


def _list(found: Found) -> object:
    """Return a list of tables; the environment holds it as JSON."""
    if not isinstance(found.value, str):
        return found.value
    try:
        value: object = json.loads(found.value)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, list) else None


def _with_variables(
    table: Mapping[str, object], where: str, variable: Callable[[str], str | None]
) -> dict[str, object]:
    check_names(table, (*FIELDS, *_FROM_ENVIRONMENT), where)
    said = dict(table)
    for name, field in _FROM_ENVIRONMENT.items():
        if name not in said:
            continue
        source = said.pop(name)
        if field in said:
            raise ConfigurationError(f"{where} has both {field} and {name}: leave one of them out")
        if not isinstance(source, str) or not source:
            raise ConfigurationError(f"{where}: {name} must be the name of an environment variable")
        value = variable(source)
        if not value:
            raise ConfigurationError(
                f"{where}: {name} names {shown(source)}, which is not set in the environment or .env"
            )
        said[field] = value
    return said


def _check_unique(apps: Sequence[App], source: str) -> None:
    for field in ("id", "key"):
        first: dict[str, int] = {}
        for number, app in enumerate(apps, start=1):
            value = getattr(app, field)
            if value in first:
                raise ConfigurationError(
                    f"[[apps]] #{number} in {source} has the {field} {shown(value)} of "
                    f"#{first[value]}: every app needs its own"
                )
            first[value] = number


def _place(found: Found) -> str:
    return f"[app] in {found.source}"


def _check(path: str, found: Mapping[str, Found], problem: str) -> None:
    if problem:
        raise refusal(path, found[path], problem)


def _grant_keys(found: Mapping[str, Found], secret: str) -> tuple[tuple[str, str, str], ...]:
    if "app.grant_key" not in found:
        return ()
    text = str(found["app.grant_key"].value)
    _check("app.grant_key", found, grant_key_problem(text, secret))
    return (("1", "HS256", text),)


def _encryption_key(found: Mapping[str, Found]) -> bytes | None:
    if "app.encryption_key" not in found:
        return None
    text = str(found["app.encryption_key"].value)
    _check("app.encryption_key", found, encryption_key_problem(text))
    return base64.b64decode(text)


def _jwks_url(found: Mapping[str, Found]) -> str | None:
    item = found.get("app.jwks_url")
    if item is None:
        return None
    try:
        return check_jwks_url(str(item.value))
    except ConfigurationError as error:
        raise ConfigurationError(f"app.jwks_url (from {item.source}): {error.message}") from error
