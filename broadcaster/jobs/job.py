"""
Jobs: typed classes that run later, somewhere else.

::

    class SendMail(Job, queue="mail", tries=3, backoff=[1, 5, 30], timeout=20):
        user_id: int
        template: str = "welcome"

        async def handle(self, mailer: Mailer) -> None: ...

    SendMail(user_id=7).dispatch(delay=minutes(5))

The fields are a frozen dataclass; their types are those that msgspec can write as JSON
(numbers, text, dates, UUIDs, enums, containers, dataclasses) and `Ref`, which refers to a row of
a database. `handle` may be sync (it runs in a thread, or with a `timeout` in a process of its
own) or async; its parameters are services (`broadcaster.jobs.injection`). Functions become jobs
in `broadcaster.jobs.function`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import KeysView  # noqa: TC003 - annotations of classes are evaluated
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast, dataclass_transform

import msgspec

from broadcaster.errors import InvalidJob, NotRunning
from broadcaster.jobs import bus, inline
from broadcaster.jobs.batch import Batch, afind_batch, find_batch
from broadcaster.jobs.bus import PreparedJob
from broadcaster.jobs.injection import check_handler
from broadcaster.jobs.options import WORDS, JobOptions, with_options
from broadcaster.jobs.references import decode_reference, encode_reference
from broadcaster.jobs.registry import registry
from broadcaster.jobs.running import current_job, require_current_job
from broadcaster.protocol.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from broadcaster.jobs.bus import Skipped
    from broadcaster.jobs.delay import Duration
    from broadcaster.jobs.middleware.contract import Middleware
    from broadcaster.jobs.options import ClassOptions, DispatchOptions

__all__ = ["Job", "JobOptions", "PreparedJob"]


@dataclass_transform(frozen_default=True)
class Job:
    """
    Base of all job classes; see the head of this module.

    Options are given in the class line (`broadcaster.jobs.options.ClassOptions`); a subclass has
    those of its base that it does not give itself, but for `name`. Unknown ones are refused
    there, and so is an option written as a class attribute, which would be ignored in silence,
    and a field that would hide what every job can do.
    """

    options: ClassVar[JobOptions]
    field_names: ClassVar[KeysView[str]]
    """Of its fields, in order."""

    def __init_subclass__(cls, **given: Unpack[ClassOptions]) -> None:
        """Make the class a frozen dataclass and register it."""
        super().__init_subclass__()
        _check_body(cls, given)
        name = given.get("name") or cls.__name__
        base: JobOptions | None = getattr(super(cls, cls), "options", None)
        options = JobOptions(name=name) if base is None else dataclasses.replace(base, name=name)
        cls.options = with_options(options, given)
        dataclasses.dataclass(frozen=True)(cls)
        fields = dataclasses.fields(cast("Any", cls))
        cls.field_names = dict.fromkeys(field.name for field in fields).keys()
        _check_options(cls)
        _check_hook(cls)
        check_handler(cls)
        registry.register(cls.options.name, cls)

    def handle(self, *services: Any, **by_name: Any) -> Any:
        """
        Do the work; sync or async. An exception means that it is tried again.

        Parameters are services, named by their types; see `broadcaster.jobs.injection`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no handle()")

    # What a class may decide itself

    def failed(self, error: BaseException) -> Any:
        """
        Clean up after this job has failed for good; sync or async.

        It is called once the failure is settled, on a job freshly made of the payload: its
        unique lock is free, its batch knows, the callbacks of its chain are queued. A worker
        that is killed just then does not call it.
        """

    def middleware(self) -> Sequence[Middleware]:
        """Return what its runs go through, inside of the class line's middleware."""
        return ()

    def unique_id(self) -> str:
        """Return what two jobs of this class must not have in common, if it is unique."""
        names = self.options.unique or tuple(self.field_names)
        data = self.encode_fields()
        return msgspec.json.encode([data[name] for name in names]).decode()

    # Sending it

    def dispatch(self, **options: Unpack[DispatchOptions]) -> str | Skipped:
        """
        Queue this job and return its id; blocks for at most one round trip.

        Args:
            options: for this dispatch, instead of those of the class.

        Returns:
            The id; `Skipped` for a unique job whose lock another one has. After a commit
            that is still to come it is the id in any case.

        Raises:
            InvalidJob: its fields have no JSON form, do not fit their types, or are too large.
            DriverUnavailable: the queue cannot be reached.
            NotConfigured: no queue was configured, or no connection of this name.
        """
        return bus.dispatch(self, **options)

    async def adispatch(self, **options: Unpack[DispatchOptions]) -> str | Skipped:
        """Queue this job from a coroutine; see `dispatch`."""
        return await bus.adispatch(self, **options)

    def with_options(self, **options: Unpack[DispatchOptions]) -> PreparedJob:
        """Return this job with options of its own, for a chain or a batch."""
        return bus.prepared(self, **options)

    def run_now(self) -> None:
        """
        Run this job here and now, without a queue, and raise what it raises.

        It goes through its middleware, and `failed` is called if it fails. One that puts itself
        back is not run again.

        Raises:
            RuntimeError: `handle` is async and an event loop is running; use `arun_now`.
        """
        inline.run(self)

    async def arun_now(self) -> None:
        """Run this job in this event loop, a sync one in a thread; see `run_now`."""
        await inline.arun(self)

    # While it runs

    @property
    def attempts(self) -> int:
        """Number of this try, from 1; 1 where no worker runs it."""
        running = current_job()
        return 1 if running is None else running.attempts

    def next_backoff(self) -> float:
        """Return the seconds that a retry of this try would wait."""
        return require_current_job("next_backoff()").next_backoff()

    def release(self, delay: Duration = 0.0, *, count: bool = True) -> None:
        """
        Have this job put back when this run has ended; what follows in `handle` still runs.

        Args:
            delay: seconds before it runs again; at least 1 without `count`.
            count: it uses up a try. Without, it may be put off 1,000 times.

        Raises:
            NotRunning: no job runs here.
        """
        require_current_job("release()").release(delay, count=count)

    def fail(self, error: BaseException | str = "the job gave itself up") -> None:
        """Have this job given up when this run has ended; see `release`."""
        require_current_job("fail()").fail(error)

    def delete(self) -> None:
        """Have this job forgotten when this run has ended, as if it were done; see `release`."""
        require_current_job("delete()").delete()

    def batch(self) -> Batch | None:
        """Return the batch that it is in, or that calls back, as it is now; blocking."""
        running = require_current_job("batch()")
        return None if running.batch_id is None else find_batch(running.batch_id)

    async def abatch(self) -> Batch | None:
        """See `batch`."""
        running = require_current_job("abatch()")
        return None if running.batch_id is None else await afind_batch(running.batch_id)

    def require_batch(self) -> Batch:
        """
        Return the batch that it is in, or that calls back; see `batch`.

        Raises:
            NotRunning: no job runs here, or it is in no batch, or in one that is forgotten.
        """
        return _found(self.batch())

    async def arequire_batch(self) -> Batch:
        """See `require_batch`."""
        return _found(await self.abatch())

    # Its fields

    def encode_fields(self) -> dict[str, Any]:
        """
        Return the fields in JSON types.

        Raises:
            InvalidJob: a field has no JSON form or does not fit its type, or there is no `handle`.
        """
        if type(self).handle is Job.handle:
            raise InvalidJob(f"{self.options.name} cannot be queued: it has no handle()")
        data: dict[str, Any] = {}
        for name in self.field_names:
            try:
                data[name] = msgspec.to_builtins(
                    getattr(self, name), str_keys=True, enc_hook=encode_reference
                )
            except (TypeError, ValueError, NotImplementedError, RecursionError) as error:
                raise InvalidJob(
                    f"{self.options.name}.{name} cannot be queued: {error}; "
                    "pass an id instead of the object, or a Ref"
                ) from error
        type(self).decode_fields(data)
        return data

    @classmethod
    def decode_fields(cls, data: Mapping[str, Any]) -> Self:
        """
        Return the job that has these fields.

        Raises:
            InvalidJob: a field is missing, unknown, or of another type.
        """
        if not data.keys() <= cls.field_names:
            unknown = min(data.keys() - cls.field_names)
            raise InvalidJob(f"{cls.options.name} has no field {unknown!r}")
        try:
            return msgspec.convert(dict(data), cls, str_keys=True, dec_hook=decode_reference)
        except (Exception, SystemExit) as error:  # also what a __post_init__ raises
            raise InvalidJob(f"{cls.options.name} does not fit its fields: {error}") from error


_METHODS = frozenset({"middleware", "unique_id"})
_HIDDEN = frozenset(word for word in dir(Job) if not word.startswith("_"))


def _check_body(job: type[Job], given: Mapping[str, Any]) -> None:
    """Refuse what would be ignored in silence, or would hide what every job can do."""
    unknown = [word for word in given if word not in WORDS]
    if unknown:
        hint = did_you_mean(unknown[0], WORDS) or f"; there are {', '.join(WORDS)}"
        raise TypeError(f"{job.__name__} has no option {unknown[0]!r}{hint}")
    annotated = inspect.get_annotations(job)
    stray = [word for word in WORDS if word in job.__dict__ and word not in annotated]
    stray = [word for word in stray if word not in _METHODS or not callable(job.__dict__[word])]
    if stray:
        raise TypeError(
            f"{job.__name__} sets {stray[0]} as a class attribute; write "
            f"class {job.__name__}(Job, {stray[0]}=...) instead"
        )
    if "__dataclass_fields__" in job.__dict__:  # made anew by dataclass(slots=True), options lost
        raise TypeError(f"{job.__name__} is a dataclass by itself: take @dataclass(...) away")
    if "__init__" in job.__dict__:
        raise TypeError(
            f"{job.__name__} defines __init__(), which no worker would call: annotate its fields "
            "in the class (order_id: int), and they make one"
        )
    hiding = sorted(_HIDDEN & set(annotated))
    if hiding:
        raise TypeError(
            f"{job.__name__}.{hiding[0]} hides what every job has under this name: "
            "call the field something else"
        )


def _check_hook(job: type[Job]) -> None:
    failed = job.__dict__.get("failed")
    if not inspect.isfunction(failed):
        return
    try:
        inspect.signature(failed).bind(None, None)
    except TypeError as error:
        raise TypeError(
            f"{job.__name__}.failed is called with the error: def failed(self, error: "
            f"BaseException), not failed{inspect.signature(failed)}"
        ) from error


def _check_options(job: type[Job]) -> None:
    options, names = job.options, job.field_names
    wanted = [*(options.unique or ()), *([options.ordered_by] if options.ordered_by else ())]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise TypeError(f"{job.__name__} has no field {missing[0]!r}, which its options name")
    if options.unique and options.ordered_by and options.ordered_by not in options.unique:
        raise TypeError(
            f"{job.__name__} is unique by {', '.join(options.unique)}, and its order by "
            f"{options.ordered_by} spreads it over lanes, each with locks of its own: name "
            f"{options.ordered_by} in unique, too"
        )
    if options.unique is None and "unique_id" in job.__dict__:
        raise TypeError(
            f"{job.__name__} defines unique_id(), and is not unique: add unique=True to its class line"
        )


def _found(batch: Batch | None) -> Batch:
    if batch is None:
        running = require_current_job("require_batch()")
        known = (
            f"batch {running.batch_id} is forgotten" if running.batch_id else "it is in no batch"
        )
        raise NotRunning(f"{running.name} asks for its batch, but {known}; batch() is None then")
    return batch
