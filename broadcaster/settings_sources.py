"""
Where settings come from: names in the environment, files, and the running ``dev``.

What each source holds becomes a `Layer`: raw values by path, and the sets of
credentials it names, in order of preference. Nothing is converted here.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import quote

from dotenv import dotenv_values

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.channels import shown
from broadcaster.protocol.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


PREFIX = "BROADCASTER_"
CREDENTIALS = ("app.id", "app.key", "app.secret")
# Keys that count only beside credentials of the same source.
COMPANIONS = ("app.grant_key", "app.encryption_key")
DEV = "dev.json"

# Whose credentials are read, in order; the first complete set wins.
VENDORS: Mapping[str, str] = {
    "BROADCASTER": "BROADCASTER_APP_",
    "REVERB": "REVERB_APP_",
    "PUSHER": "PUSHER_APP_",
    "SOKETI": "SOKETI_DEFAULT_APP_",
}

# Names of Laravel, Reverb and soketi for settings of ours.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "redis_url": ("REDIS_URL",),
    "broadcast.driver": ("BROADCAST_CONNECTION", "BROADCAST_DRIVER"),
    "queue.driver": ("QUEUE_CONNECTION",),
    "gateway.host": ("REVERB_SERVER_HOST",),
    "gateway.port": ("REVERB_SERVER_PORT", "SOKETI_PORT"),
    "gateway.drain_seconds": ("SOKETI_SHUTDOWN_GRACE_PERIOD",),
    "app.limits.max_connections": ("REVERB_APP_MAX_CONNECTIONS", "SOKETI_DEFAULT_APP_MAX_CONNS"),
    "app.limits.max_frame_bytes": ("REVERB_APP_MAX_MESSAGE_SIZE",),
    "app.limits.activity_timeout": ("REVERB_APP_ACTIVITY_TIMEOUT",),
    "app.limits.client_events": (
        "REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM",
        "SOKETI_DEFAULT_APP_ENABLE_CLIENT_MESSAGES",
    ),
}

# What Kubernetes and Docker put into the environment for a service called "broadcaster".
_SERVICE_LINK = re.compile(r"BROADCASTER_(SERVICE_(HOST|PORT).*|PORT(_\d+_(TCP|UDP).*)?)")
_LINK_PORT = re.compile(r"tcp://.*:(\d+)")


class Found(NamedTuple):
    """A raw value and the words that say where it is from."""

    value: object
    source: str


@dataclass(frozen=True, slots=True)
class Layer:
    """
    What one source says.

    Attributes:
        where: names the source in messages.
        values: raw values by path.
        credentials: sets by the name of their origin; a set may be incomplete.
    """

    where: str
    values: Mapping[str, Found] = field(default_factory=dict[str, Found])
    credentials: Mapping[str, Mapping[str, Found]] = field(
        default_factory=dict[str, "Mapping[str, Found]"]
    )

    @classmethod
    def of(cls, where: str, values: Mapping[str, Found]) -> Layer:
        """Make the layer of a source with at most one set of credentials."""
        own = {path: values[path] for path in CREDENTIALS if path in values}
        return cls(where, values, {where: own} if own else {})


def wants_colours() -> bool:
    """Return whether the environment leaves a terminal its colours; see https://no-color.org."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def environment_name(path: str) -> str:
    """Return the native environment name of a setting."""
    if path in (*CREDENTIALS, *COMPANIONS, "app.jwks_url"):
        return PREFIX + path.replace(".", "_").upper()
    return PREFIX + path.replace(".", "__").upper()


def environment_layers(
    env: Mapping[str, str], dotenv: Mapping[str, str], paths: Iterable[str]
) -> list[Layer]:
    """
    Return the layers of the environment and of ``.env``.

    Credentials are looked up in both together, so that a secret may live in one and the
    rest in the other. An empty value counts as not set.

    Raises:
        ConfigurationError: a name that begins with ``BROADCASTER_`` and means nothing.
    """
    names = {environment_name(path): path for path in paths}
    names |= {PREFIX + path.replace(".", "__").upper(): path for path in CREDENTIALS}
    both = {name: Found(value, f".env {name}") for name, value in dotenv.items() if value}
    both |= {name: Found(value, f"environment {name}") for name, value in env.items() if value}
    for name, item in both.items():
        if name.startswith(PREFIX) and name not in names and not _SERVICE_LINK.fullmatch(name):
            raise ConfigurationError(
                f"{item.source} is no setting{did_you_mean(name, names)}; "
                "`broadcaster config show` lists every setting"
            )
    credentials = _credential_sets(both)
    vendor = next(
        (name for name, owned in credentials.items() if len(owned) == len(CREDENTIALS)), ""
    )
    layers = [
        Layer("the environment", _values(env, "environment", names, vendor), credentials),
        Layer(".env", _values(dotenv, ".env", names, vendor)),
    ]
    named = {path: both.get(environment_name(path)) for path in COMPANIONS}
    beside = {path: item for path, item in named.items() if item is not None}
    layers[0] = Layer(layers[0].where, {**layers[0].values, **beside}, credentials)
    return layers


def read_dotenv(cwd: Path) -> dict[str, str]:
    """Return what ``.env`` in `cwd` says; nothing if there is none."""
    path = cwd / ".env"
    if not path.is_file():
        return {}
    try:
        return {name: value for name, value in dotenv_values(path).items() if value}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error


def file_layer(cwd: Path, paths: Iterable[str]) -> Layer:
    """
    Read the nearest ``broadcaster.toml``, or ``pyproject.toml`` with ``[tool.broadcaster]``.

    Args:
        cwd: the search goes from here upward.

    Raises:
        ConfigurationError: the file is no TOML, or has an unknown name.
    """
    for folder in (cwd, *cwd.parents):
        path = folder / "broadcaster.toml"
        if path.is_file():
            return Layer.of(str(path), flatten(_toml(path), "broadcaster.toml", paths))
        path = folder / "pyproject.toml"
        if path.is_file():
            tool = _toml(path).get("tool")
            own = tool.get("broadcaster") if isinstance(tool, dict) else None
            if isinstance(own, dict):
                tree = cast("dict[str, object]", own)
                return Layer.of(str(path), flatten(tree, "pyproject.toml", paths))
    return Layer("broadcaster.toml")


def flatten(tree: Mapping[str, object], source: str, paths: Iterable[str]) -> dict[str, Found]:
    """Return the values of nested tables by path; unknown names raise `ConfigurationError`."""
    known = set(paths)
    tables = {path[:end] for path in known for end in _dots(path)}
    found: dict[str, Found] = {}

    def walk(table: Mapping[str, object], above: str) -> None:
        for name, value in table.items():
            path = above + name
            if path in known:
                found[path] = Found(value, source)
            elif path in tables and isinstance(value, dict):
                walk(cast("dict[str, object]", value), path + ".")
            else:
                hint = did_you_mean(path, known | tables)
                raise ConfigurationError(f"unknown setting {shown(path)} in {source}{hint}")

    walk(tree, "")
    return found


def dev_layer(cwd: Path) -> Layer:
    """
    Return what a running ``broadcaster dev`` wrote into ``.broadcaster/dev.json``.

    The file is searched upward from `cwd` and holds ``{"pid": int, "mark"?: str, "socket": path,
    "redis_url": str, "app": {"id", "key", "secret", "grant_key"?}, "gateway": {"host",
    "port"}, "debug": bool}``. It counts only if it is this user's own, its process lives and its socket exists:
    anything else is a leftover, or somebody else's.
    """
    for folder in (cwd, *cwd.parents):
        path = folder / ".broadcaster" / "dev.json"
        if path.is_file():
            state = _dev_state(path)
            if state is not None:
                return Layer.of(DEV, _dev_values(state))
    return Layer(DEV)


def _credential_sets(names: Mapping[str, Found]) -> dict[str, dict[str, Found]]:
    sets: dict[str, dict[str, Found]] = {}
    for vendor, prefix in VENDORS.items():
        nested = "BROADCASTER_APP__" if vendor == "BROADCASTER" else prefix
        owned: dict[str, Found] = {}
        for path in CREDENTIALS:
            word = path.removeprefix("app.").upper()
            item = names.get(prefix + word) or names.get(nested + word)
            if item is not None:
                owned[path] = item
        if owned:
            sets[vendor] = owned
    return sets


def _values(
    env: Mapping[str, str], where: str, names: Mapping[str, str], vendor: str
) -> dict[str, Found]:
    found = _redis_from_parts(env, where) | _endpoint(env, where, vendor)
    for path, aliases in ALIASES.items():
        for name in reversed(aliases):
            if env.get(name):
                found[path] = Found(_translate(name, env[name]), f"{where} {name}")
    for name, path in names.items():
        if env.get(name) and path not in (*CREDENTIALS, *COMPANIONS):
            found[path] = Found(env[name], f"{where} {name}")
    return found


def _translate(name: str, value: str) -> object:
    translate = _TRANSLATIONS.get(name)
    return value if translate is None else translate(value)


def _unlimited(value: str) -> str:
    return "0" if value == "-1" else value


def _milliseconds(value: str) -> object:
    return int(value) / 1000 if value.isascii() and value.isdigit() else value


_TRANSLATIONS: Mapping[str, Callable[[str], object]] = {
    "REVERB_APP_ACCEPT_CLIENT_EVENTS_FROM": lambda value: value.lower() != "none",
    "SOKETI_DEFAULT_APP_MAX_CONNS": _unlimited,
    "SOKETI_SHUTDOWN_GRACE_PERIOD": _milliseconds,
}


def _redis_from_parts(env: Mapping[str, str], where: str) -> dict[str, Found]:
    host = env.get("REDIS_HOST", "")
    if not host:
        return {}
    said = {
        name: "" if env.get(name, "").lower() == "null" else env.get(name, "")
        for name in ("REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_PORT", "REDIS_DB")
    }
    user, password = quote(said["REDIS_USERNAME"], safe=""), quote(said["REDIS_PASSWORD"], safe="")
    login = f"{user}:{password}@" if user or password else ""
    database = said["REDIS_DB"] or "0"
    if host.startswith("/"):
        return {"redis_url": Found(f"unix://{login}{host}?db={database}", f"{where} REDIS_HOST")}
    scheme = "rediss" if host.startswith("tls://") else "redis"
    host = host.removeprefix("tls://").removeprefix("tcp://")
    link = _LINK_PORT.fullmatch(said["REDIS_PORT"])
    port = link[1] if link else said["REDIS_PORT"] or "6379"
    return {
        "redis_url": Found(f"{scheme}://{login}{host}:{port}/{database}", f"{where} REDIS_HOST")
    }


def _endpoint(env: Mapping[str, str], where: str, vendor: str) -> dict[str, Found]:
    """Host, port and scheme of one vendor: the one whose credentials won, else the first with a host."""
    candidates = (vendor,) if vendor in {"REVERB", "PUSHER"} else ("REVERB", "PUSHER")
    for name in candidates:
        found = {
            f"endpoint.{part.lower()}": Found(env[f"{name}_{part}"], f"{where} {name}_{part}")
            for part in ("HOST", "PORT", "SCHEME")
            if env.get(f"{name}_{part}")
        }
        cluster = env.get("PUSHER_APP_CLUSTER") or env.get("PUSHER_CLUSTER")
        if name == vendor == "PUSHER" and cluster and "endpoint.host" not in found:
            found = {
                "endpoint.host": Found(f"api-{cluster}.pusher.com", f"{where} PUSHER_APP_CLUSTER"),
                "endpoint.scheme": Found("https", f"{where} PUSHER_APP_CLUSTER"),
            }
        if "endpoint.host" in found:
            return found
    return {}


def _dots(path: str) -> list[int]:
    return [index for index, char in enumerate(path) if char == "."]


def _toml(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error


def _dev_state(path: Path) -> dict[str, object] | None:
    if not hasattr(os, "getuid"):  # Windows, where signal 0 would not be harmless either
        return None
    try:
        if path.stat().st_uid != os.getuid():
            return None
        state: object = json.loads(path.read_text(encoding="utf-8"))
        match state:
            case {"pid": int(pid), "socket": str(socket)} if pid > 0 and Path(socket).exists():
                os.kill(pid, 0)
                found = cast("dict[str, object]", state)
                if found.get("mark", "") not in ("", process_mark(pid)):
                    return None  # its number is somebody else's by now
                return found
            case _:
                return None
    except (OSError, ValueError, RecursionError):
        return None


def process_mark(pid: int) -> str:
    """Return what tells a process from all that have its number later; empty if nothing does."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no such system, or no such process
        return ""
    return f"{boot}/{stat.rpartition(')')[2].split()[19]}"  # when it started, since the boot


def _dev_values(state: Mapping[str, object]) -> dict[str, Found]:
    found: dict[str, Found] = {}
    match state:
        case {"redis_url": str(url)}:
            found["redis_url"] = Found(url, DEV)
        case _:
            pass
    if isinstance(state.get("debug"), bool):
        found["debug"] = Found(state["debug"], DEV)
    # Whoever runs `dev` has receivers of webhooks on the same machine.
    found["webhooks.allow_private"] = Found(value=True, source=DEV)
    app, gateway = state.get("app"), state.get("gateway")
    if isinstance(app, dict):
        known = cast("dict[str, object]", app)
        for name in ("id", "key", "secret", "grant_key", "encryption_key"):
            if isinstance(known.get(name), str):
                found[f"app.{name}"] = Found(known[name], DEV)
    if isinstance(gateway, dict):
        known = cast("dict[str, object]", gateway)
        for name in ("host", "port"):
            if name in known:
                found[f"endpoint.{name}"] = Found(known[name], DEV)
    return found
