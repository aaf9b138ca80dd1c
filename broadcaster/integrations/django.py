"""
Django: transactions that `after_commit` waits for, models as `Ref`, and jobs in transactions.

::

    INSTALLED_APPS = [..., "broadcaster.integrations.django.BroadcasterConfig"]

    class ShipOrder(Job, after_commit=True, middleware=[transaction()]):
        order: Ref[Order]

        def handle(self) -> None: ...

Importing this module is what sets it up; the entry in INSTALLED_APPS does no more.

A worker imports ``broadcaster.integrations.django_setup`` before the modules with jobs.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import close_old_connections, connections
from django.db import transaction as database
from django.db.models import Model

from broadcaster.errors import ConfigurationError, InvalidJob
from broadcaster.jobs.after_commit import register_transactions, run_all
from broadcaster.jobs.references import Reference, models
from broadcaster.protocol.channels import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from broadcaster.jobs.after_commit import Action
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.references import Key

_log = logging.getLogger("broadcaster.integrations")

PREFIX = "django"

_DEFAULT = "default"


class BroadcasterConfig(AppConfig):  # type: ignore[misc] # Django has no types
    """The entry in INSTALLED_APPS."""

    name = "broadcaster.integrations.django"
    label = "broadcaster"


class DjangoModels:
    """
    Django's models as what a `Ref` refers to; see `broadcaster.jobs.references.ModelAdapter`.

    A model is called ``django:app_label.Model``, and is looked up among the installed ones.
    A row is read from the database that it came from, past a default manager that hides some.
    """

    def name_of(self, model: type) -> str | None:
        """See `ModelAdapter.name_of`."""
        return f"{PREFIX}:{_meta(model).label}" if issubclass(model, Model) else None

    def reference(self, instance: object) -> Reference | None:
        """See `ModelAdapter.reference`."""
        if not isinstance(instance, Model):
            return None
        meta = _meta(instance.__class__)  # of a lazy one too, as request.user is
        if instance.pk is None or instance._state.adding:  # noqa: SLF001 - Django's documented name
            raise InvalidJob(f"Ref: this {meta.label} was never saved; save it before it is queued")
        using = instance._state.db or _DEFAULT  # noqa: SLF001 - as above
        key = _key_of(instance)
        return Reference(f"{PREFIX}:{meta.label}", key, "" if using == _DEFAULT else using)

    def load(self, reference: Reference) -> object | None:
        """See `ModelAdapter.load`."""
        row: object | None = _rows(reference).first()
        return row

    async def aload(self, reference: Reference) -> object | None:
        """See `ModelAdapter.aload`."""
        row: object | None = await _rows(reference).afirst()
        return row


def open_transactions() -> list[OpenAtomic]:
    """Return the ``atomic`` blocks of this thread, one per database."""
    if not settings.configured:  # imported, and not in use: asking would raise
        return []
    return [
        OpenAtomic(connection.alias)
        for connection in connections.all(initialized_only=True)
        if connection.in_atomic_block
    ]


class OpenAtomic:
    """
    An ``atomic`` block; see `broadcaster.jobs.after_commit.Transaction`.

    Args:
        using: alias of its database.
    """

    def __init__(self, using: str) -> None:
        self.using = using

    def on_commit(self, action: Action) -> None:
        """See `Transaction.on_commit`."""
        database.on_commit(_Hook(action, database.get_connection(self.using)), using=self.using)


class _Hook:
    """
    What Django calls after a commit: an action, and those behind it if it fails.

    Django calls none any more after one that raises. Which of ours it would have called is
    known by who still holds them: it lets go of what was called, or rolled back.
    """

    def __init__(self, action: Action, connection: object) -> None:
        self._action: Action | None = action
        self.number = next(_numbers)
        self._all = _hooks.setdefault(connection, weakref.WeakSet())
        self._all.add(self)

    def __call__(self) -> None:
        try:
            self.run()
        except Exception:
            self._run_those_behind()
            raise

    def run(self) -> None:
        """Do it, unless that was done."""
        action, self._action = self._action, None
        if action is not None:
            action.run()

    async def arun(self) -> None:
        """See `Action.arun`; Django never awaits it."""
        self.run()

    def _run_those_behind(self) -> None:
        behind = {hook.number: hook for hook in self._all if hook.number > self.number}
        try:
            run_all([behind[number] for number in sorted(behind)])
        except Exception:  # noqa: BLE001 - it is the first one that is raised
            _log.exception(
                "a further job or event was not sent after a commit",
                extra={"event": "after_commit_failed"},
            )


_numbers = itertools.count()
_hooks: weakref.WeakKeyDictionary[object, weakref.WeakSet[_Hook]] = weakref.WeakKeyDictionary()


class transaction:  # noqa: N801 - reads as a statement in a class line
    """
    Middleware: `handle` runs in an ``atomic`` block, and an exception of it rolls back.

    For sync jobs: Django's transactions know no coroutines.

    Args:
        using: alias of the database.
        durable: refuse to be in another block.
    """

    def __init__(self, *, using: str = _DEFAULT, durable: bool = False) -> None:
        self._using = using
        self._durable = durable

    @contextmanager
    def around(self, job: Job) -> Generator[None]:
        """See `broadcaster.jobs.middleware.contract.Surrounding`."""
        if inspect.iscoroutinefunction(job.handle):
            raise ConfigurationError(
                f"{type(job).__name__}.handle is async, and Django has transactions for sync code "
                "only: make it a plain def, or wrap the part in sync_to_async"
            )
        block: Any = database.atomic(using=self._using, durable=self._durable)
        with fresh_connections(), block:
            yield


@contextmanager
def fresh_connections() -> Generator[None]:
    """
    Drop the thread's connections that are broken or older than CONN_MAX_AGE, before and after.

    What Django does around a request. `transaction` does it too.
    """
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


def on_commit(action: Callable[[], object], *, using: str | None = None) -> None:
    """Have `action` done after the commit: Django's own function, for symmetry."""
    database.on_commit(action, using=using)


def _meta(model: type) -> Any:
    return model._meta  # type: ignore[attr-defined] # noqa: SLF001 - Django's documented name


def _key_of(instance: Any) -> Key:
    parts: list[int | str] = []
    for field in _meta(instance.__class__).pk_fields:
        value = getattr(instance, field.attname)
        parts.append(value if isinstance(value, int | str) else field.value_to_string(instance))
    return parts[0] if len(parts) == 1 else list(parts)


def _rows(reference: Reference) -> Any:
    label = reference.model.partition(":")[2]
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError) as error:
        raise InvalidJob(f"no model {shown(label)} is installed here: {error}") from error
    using = reference.using or _DEFAULT
    if using not in connections:
        raise InvalidJob(f"a job refers to database {shown(using)}, which DATABASES does not have")
    return model._base_manager.using(using).filter(pk=_primary_key(model, reference.key))  # noqa: SLF001 - Django's documented name


def _primary_key(model: type, key: Key) -> object:
    fields = _meta(model).pk_fields
    given = key if isinstance(key, list) else [key]
    try:
        parts = [field.to_python(part) for field, part in zip(fields, given, strict=True)]
    except (ValidationError, ValueError, TypeError) as error:
        raise InvalidJob(
            f"{_meta(model).label} cannot have the primary key {shown(str(key))}"
        ) from error
    return parts[0] if len(parts) == 1 else tuple(parts)


models.add(PREFIX, DjangoModels())
register_transactions(PREFIX, open_transactions)
