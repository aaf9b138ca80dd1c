"""
`transaction`: the whole run in one transaction of a database.

::

    class Pay(Job, middleware=[transaction(atomic)]): ...                # Django
    class Pay(Job, middleware=[transaction(SessionLocal.begin)]): ...    # SQLAlchemy
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from broadcaster.jobs.job import Job

Factory = Callable[[], "AbstractContextManager[Any] | AbstractAsyncContextManager[Any]"]


def transaction(factory: Factory) -> Transaction:
    """
    Put a context manager around a job, entered in its thread, process or task.

    An exception of the job leaves it by that exception, so a transaction is rolled back; what
    a job says of itself (`release`, `fail`) is no exception. Models are read and services made
    inside of it. Jobs that are dispatched in it should wait for its end (``after_commit=True``).

    Args:
        factory: returns the context manager; for sync jobs a sync one.
    """
    return Transaction(factory)


class Transaction:
    """See `transaction`; a `broadcaster.jobs.middleware.contract.Surrounding`."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def around(self, job: Job) -> AbstractContextManager[Any] | AbstractAsyncContextManager[Any]:
        """Return what to enter around `job`."""
        del job
        return self._factory()
