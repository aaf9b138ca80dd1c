"""
Every setting, where it may come from, and the only reader of the environment.

For each setting the first source that has it wins::

    command line > environment > .env > broadcaster.toml or [tool.broadcaster] >
    .broadcaster/dev.json of a running ``broadcaster dev`` > default

Settings are named by their path (``gateway.port``). The environment name of a path is
``BROADCASTER_`` and the path in capitals with ``__`` for the dot
(``BROADCASTER_GATEWAY__PORT``); names of Laravel, Reverb, Pusher and soketi are read
too (`broadcaster.settings_sources`). App id, key and secret count as one set: sets of
different origin are never mixed. ``[[apps]]`` lists further apps (`broadcaster.settings_apps`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from broadcaster.contracts.apps import App, AppLimits, Webhook
from broadcaster.contracts.history import HistoryLimits
from broadcaster.errors import ConfigurationError, NotConfigured
from broadcaster.protocol.suggestion import did_you_mean
from broadcaster.settings_apps import choose, read_apps, same_app, single_app
from broadcaster.settings_credentials import passed_over, pick_app
from broadcaster.settings_endpoint import EndpointSettings, endpoint_port
from broadcaster.settings_queues import ConnectionSettings, read_connections
from broadcaster.settings_sources import (
    DEV,
    Found,
    Layer,
    dev_layer,
    environment_layers,
    file_layer,
    read_dotenv,
)
from broadcaster.settings_supervise import SupervisorSettings, read_supervisors
from broadcaster.settings_values import convert
from broadcaster.settings_work import FailedSettings, QueueSettings, WorkerSettings, read_pools

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "BroadcastSettings",
    "ConnectionSettings",
    "EndpointSettings",
    "FailedSettings",
    "GatewaySettings",
    "QueueSettings",
    "Settings",
    "WebhookSettings",
    "WorkerSettings",
    "load_settings",
    "setting_types",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastSettings:
    """
    How `broadcast()` sends.

    Attributes:
        app: id of the app that events go to, where there are several.
        driver: brings publications to subscribers.
        event_namespace: put before the class name of an event, dots becoming
            backslashes; Echo's ``namespace`` option must say the same. Empty for none.
        queue: name of the queue that queued broadcasts wait in.
        max_data_bytes: longest data of one event, encoded.
    """

    app: str = ""
    driver: Literal["redis", "pusher", "log", "null"] = "redis"
    event_namespace: str = "App.Events"
    queue: str = "broadcasts"
    max_data_bytes: int = 10_240


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """
    What ``serve`` does.

    Attributes:
        workers: processes sharing the port; each is a node of its own.
        drain_seconds: over how long connections are closed at a graceful stop.
        lease_seconds: after how long a silent node's members count as gone.
        presence_grace: seconds a member may be away (a page reload) unannounced.
        vacate_grace: seconds a channel may be empty before it is told to be vacated.
        max_connections: sockets of one process; 0 is what the system's limit of open files
            leaves room for.
        dynamic_apps: whether apps of ``broadcaster app add`` are served, beside those of the
            settings.
        log_format: ``auto`` is ``human`` on a terminal and ``json`` elsewhere.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    drain_seconds: float = 10.0
    lease_seconds: float = 15.0
    presence_grace: float = 3.0
    vacate_grace: float = 3.0
    max_connections: int = 0
    dynamic_apps: bool = True
    log_format: Literal["auto", "human", "json"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """
    How webhooks are sent; which there are is said per app.

    Attributes:
        drain: whether ``serve`` sends what waits; other gateways do if this one does not.
        allow_private: whether receivers may be on this machine and in private networks.
        allowed: hosts, addresses and networks that are allowed whatever they are.
        timeout: seconds that one request may take in all.
        concurrency: requests to one receiver at once, per gateway process.
        batch_seconds: how long events are gathered for a receiver that takes batches.
    """

    drain: bool = True
    allow_private: bool = False
    allowed: tuple[str, ...] = ()
    timeout: float = 10.0
    concurrency: int = 10
    batch_seconds: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    Everything a process was told.

    Attributes:
        app: the tenant this process publishes for, or None if no complete set of credentials
            was found, or several apps and nothing that chooses; use `require_app` where one
            is needed.
        listed: the tenants of ``[[apps]]``; see `apps`.
        redis_url: ``redis://``, ``rediss://`` or ``unix:///path?db=0``, or None.
        prefix: begins every Redis key.
        debug: answers explain refusals; for development only.
        limits: what clients of an app may do that has no limits of its own; apps carry
            theirs.
        imports: modules that a worker imports to find jobs and listeners.
        queues: further queue connections by name.
        workers: pools of workers by name.
        environment: which of the tables of supervisors count, such as ``production``.
        supervisors: groups of workers that ``broadcaster supervise`` keeps in it, by name.
        environments: all that tables of supervisors name.
        sources: where each setting came from, by path.
        app_problem: why `app` is None, as one sentence.
        warnings: sentences on what was set and does not count.
    """

    app: App | None = None
    listed: tuple[App, ...] = ()
    redis_url: str | None = None
    prefix: str = "broadcaster"
    debug: bool = False
    broadcast: BroadcastSettings = BroadcastSettings()
    endpoint: EndpointSettings = field(default_factory=EndpointSettings)
    history: HistoryLimits = field(default_factory=HistoryLimits)
    gateway: GatewaySettings = GatewaySettings()
    queue: QueueSettings = field(default_factory=QueueSettings)
    queues: Mapping[str, ConnectionSettings] = field(default_factory=dict[str, ConnectionSettings])
    failed: FailedSettings = field(default_factory=FailedSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    workers: Mapping[str, WorkerSettings] = field(default_factory=dict[str, WorkerSettings])
    environment: str = ""
    supervisors: Mapping[str, SupervisorSettings] = field(
        default_factory=dict[str, SupervisorSettings]
    )
    environments: frozenset[str] = frozenset()
    webhooks: WebhookSettings = WebhookSettings()
    imports: tuple[str, ...] = ()
    limits: AppLimits = field(default_factory=AppLimits)
    sources: Mapping[str, str] = field(default_factory=dict[str, str])
    app_problem: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def apps(self) -> tuple[App, ...]:
        """Every tenant: the chosen one first."""
        own = () if self.app is None else (self.app,)
        return (*own, *(app for app in self.listed if app not in own))

    def require_app(self) -> App:
        """Return the app that is published for; `NotConfigured` says what to set."""
        if self.app is None and self.listed:
            raise NotConfigured(self.app_problem)
        if self.app is None:
            problem = f" ({self.app_problem})" if self.app_problem else ""
            raise NotConfigured(
                f"no app credentials were found{problem}: set BROADCASTER_APP_ID, "
                "BROADCASTER_APP_KEY and BROADCASTER_APP_SECRET, or start `broadcaster dev` "
                "in this folder or one above it"
            )
        return self.app

    def require_apps(self) -> tuple[App, ...]:
        """
        Return every app of the settings.

        There may be none if they say that ``gateway.dynamic_apps`` is on: then Redis has them.

        Raises:
            NotConfigured: there is none.
        """
        said = self.sources.get("gateway.dynamic_apps", "default") != "default"
        if not self.apps and not (said and self.gateway.dynamic_apps):
            self.require_app()
        return self.apps

    def require_redis(self) -> str:
        """Return the Redis URL; `NotConfigured` says what to set."""
        if self.redis_url is None:
            raise NotConfigured(
                "no Redis server was found: set REDIS_URL (for example "
                "redis://127.0.0.1:6379/0), or start `broadcaster dev` in this folder or one "
                "above it"
            )
        return self.redis_url


_SECTIONS: Mapping[str, type] = MappingProxyType(
    {
        "app.limits": AppLimits,
        "broadcast": BroadcastSettings,
        "endpoint": EndpointSettings,
        "history": HistoryLimits,
        "gateway": GatewaySettings,
        "queue": QueueSettings,
        "failed": FailedSettings,
        "worker": WorkerSettings,
        "webhooks": WebhookSettings,
    }
)
# Texts that are one set, and come from one source.
_CREDENTIALS = ("app.id", "app.key", "app.secret", "app.grant_key", "app.encryption_key")
_OF_APP: Mapping[str, object] = MappingProxyType(
    {"app.jwks_url": str, "app.enabled": bool, "app.server_events": bool}
)
# Tables of their own, read by `broadcaster.settings_apps` and `broadcaster.settings_work`.
_TABLES: Mapping[str, object] = MappingProxyType(
    {
        "app.webhooks": tuple[Webhook, ...],
        "apps": tuple[App, ...],
        "queues": dict[str, ConnectionSettings],
        "workers": dict[str, WorkerSettings],
        "supervisors": dict[str, SupervisorSettings],
    }
)
_TOP: Mapping[str, object] = MappingProxyType(
    {
        "redis_url": str,
        "prefix": str,
        "debug": bool,
        "environment": str,
        "imports": tuple[str, ...],
    }
)


def setting_types() -> dict[str, object]:
    """Return the type of every setting by path."""
    types: dict[str, object] = {**dict.fromkeys(_CREDENTIALS, str), **_OF_APP, **_TABLES, **_TOP}
    for section, cls in _SECTIONS.items():
        types |= {f"{section}.{name}": hint for name, hint in get_type_hints(cls).items()}
    return types


def load_settings(
    overrides: Mapping[str, object] | None = None,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """
    Read all sources.

    Args:
        overrides: what the command line said, by path (``{"gateway.port": 9000}``);
            None values count as not said.
        cwd: where ``.env`` is and the upward search for files begins; default is the
            working directory.
        environ: instead of this process's environment.

    Raises:
        ConfigurationError: an unknown name, or a value of the wrong type or out of
            range; the message names the source and what is allowed.
    """
    here = Path.cwd() if cwd is None else cwd
    types = setting_types()
    env = os.environ if environ is None else environ
    dotenv = read_dotenv(here)
    layers = [
        _overrides_layer(overrides or {}, types),
        *environment_layers(env, dotenv, types),
        file_layer(here, types),
        dev_layer(here),
    ]
    found: dict[str, Found] = {}
    for layer in reversed(layers):
        found |= {path: item for path, item in layer.values.items() if path not in _CREDENTIALS}
    values = {
        path: convert(path, item, types[path])
        for path, item in found.items()
        if path not in _TABLES
    }
    sources = dict.fromkeys(types, "default")
    sources |= {path: item.source for path, item in found.items()}
    sections = _sections(values, sources)
    limits = sections.pop("app.limits")
    listed = read_apps(
        found.get("apps"), base=limits, variable=lambda name: env.get(name) or dotenv.get(name)
    )
    credentials, problem = pick_app(layers, {app.id for app in listed})
    sources |= {path: item.source for path, item in credentials.items()}
    supervisors = read_supervisors(
        found.get("supervisors"), sections["worker"], values.get("environment", "")
    )
    app, problem = _choose({**found, **credentials}, values, limits, listed, problem)
    return Settings(
        app=app,
        listed=listed,
        sources=MappingProxyType(sources),
        app_problem=problem,
        warnings=passed_over(layers, credentials, found["apps"].source if listed else ""),
        limits=limits,
        queues=read_connections(found.get("queues"), sections["queue"]),
        workers=read_pools(found.get("workers"), sections["worker"]),
        supervisors=supervisors.chosen,
        environments=supervisors.environments,
        **{name: values[name] for name in _TOP if name in values},
        **sections,
    )


def _overrides_layer(overrides: Mapping[str, object], paths: Iterable[str]) -> Layer:
    known = set(paths)
    for path in overrides:
        if path not in known:
            raise ConfigurationError(f"unknown setting {path!r}{did_you_mean(path, known)}")
    said = {path: value for path, value in overrides.items() if value is not None}
    return Layer.of(
        "the command line", {path: Found(value, "command line") for path, value in said.items()}
    )


def _sections(values: dict[str, Any], sources: dict[str, str]) -> dict[str, Any]:
    if "endpoint.port" not in values:
        values["endpoint.port"], sources["endpoint.port"] = endpoint_port(values)
    return {
        name: cls(
            **{
                path.removeprefix(f"{name}."): value
                for path, value in values.items()
                if path.rpartition(".")[0] == name
            }
        )
        for name, cls in _SECTIONS.items()
    }


def _choose(
    found: Mapping[str, Found],
    values: Mapping[str, Any],
    limits: AppLimits,
    listed: tuple[App, ...],
    problem: str,
) -> tuple[App | None, str]:
    """Return the app that this process publishes for, or why there is none."""
    own = None
    wanted = found.get("broadcast.app") if values.get("broadcast.app") else None
    if "app.secret" in found:
        own = same_app(single_app(found, values, limits), listed, found["app.id"].source)
    elif wanted is None:
        wanted = found.get("app.id")
    borrowed = own is not None and found["app.id"].source == DEV
    return choose(own, listed, wanted=wanted, borrowed=borrowed, problem=problem)
