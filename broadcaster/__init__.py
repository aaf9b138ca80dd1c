"""
Real-time broadcasting for Python backends.

::

    from broadcaster import PrivateChannel, ShouldBroadcast, broadcast

The names below are imported when they are first used, so that ``import broadcaster``
costs nothing and needs neither Redis nor a web framework. Who may listen is decided with
``from broadcaster_auth import channel``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broadcaster.context import using_app
    from broadcaster.contracts.job_status import JobStatus
    from broadcaster.current import configure, credentials
    from broadcaster.errors import (
        BroadcasterError,
        ConfigurationError,
        DriverError,
        DriverRefused,
        DriverUnavailable,
        InvalidChannel,
        InvalidJob,
        InvalidPayload,
        InvalidSocketId,
        JobFailed,
        NotConfigured,
        NotReplicated,
        PayloadTooLarge,
        PublicationError,
        PublishRefused,
    )
    from broadcaster.events.anonymous import on, presence, private
    from broadcaster.events.broadcast import (
        abroadcast,
        abroadcast_if,
        abroadcast_unless,
        broadcast,
        broadcast_if,
        broadcast_unless,
    )
    from broadcaster.events.channels import (
        Channel,
        EncryptedPrivateChannel,
        PresenceChannel,
        PrivateChannel,
        UserChannel,
    )
    from broadcaster.events.discovery import discover
    from broadcaster.events.dispatcher import ShouldEmitAfterCommit, aemit, emit
    from broadcaster.events.event import ShouldBroadcast, ShouldBroadcastNow, ShouldRescue
    from broadcaster.events.facts import (
        CacheMissed,
        ChannelOccupied,
        ChannelVacated,
        ClientEventReceived,
        MemberAdded,
        MemberRemoved,
        SubscriptionCountChanged,
    )
    from broadcaster.events.listening import listen, listen_to, listeners, queued, subscribe
    from broadcaster.events.naming import event
    from broadcaster.events.revocation import arevoke, revoke
    from broadcaster.events.tracked_job import TrackedJob, ajob_status, job_status, status_body
    from broadcaster.events.users import (
        aonline,
        aonline_many,
        aterminate_connections,
        online,
        online_many,
        terminate_connections,
    )
    from broadcaster.jobs.after_commit import after_commit
    from broadcaster.jobs.batch import Batch, afind_batch, find_batch
    from broadcaster.jobs.bus import Skipped
    from broadcaster.jobs.cancelling import acancel_job, cancel_job
    from broadcaster.jobs.chain import Chain, chain
    from broadcaster.jobs.delay import hours, minutes, seconds
    from broadcaster.jobs.function import job
    from broadcaster.jobs.injection import provide, provided
    from broadcaster.jobs.job import Job
    from broadcaster.jobs.pausing import apause_queue, aresume_queue, pause_queue, resume_queue
    from broadcaster.jobs.pending_batch import PendingBatch, batch
    from broadcaster.jobs.references import Ref
    from broadcaster.jobs.running import CurrentJob, current_job, require_current_job
    from broadcaster.scheduling.entries import ScheduledJob, schedule

# Grouped by noun: events, channels, sending, listening, jobs, the process, errors.
__all__ = [  # noqa: RUF022 - grouped for the reader
    "ShouldBroadcast",
    "ShouldBroadcastNow",
    "ShouldRescue",
    "Channel",
    "PrivateChannel",
    "PresenceChannel",
    "EncryptedPrivateChannel",
    "UserChannel",
    "broadcast",
    "abroadcast",
    "broadcast_if",
    "abroadcast_if",
    "broadcast_unless",
    "abroadcast_unless",
    "on",
    "private",
    "presence",
    "revoke",
    "arevoke",
    "terminate_connections",
    "aterminate_connections",
    "online",
    "aonline",
    "online_many",
    "aonline_many",
    "emit",
    "aemit",
    "ShouldEmitAfterCommit",
    "event",
    "listen",
    "listen_to",
    "listeners",
    "queued",
    "subscribe",
    "discover",
    "ChannelOccupied",
    "ChannelVacated",
    "MemberAdded",
    "MemberRemoved",
    "ClientEventReceived",
    "CacheMissed",
    "SubscriptionCountChanged",
    "Job",
    "job",
    "chain",
    "Chain",
    "batch",
    "PendingBatch",
    "find_batch",
    "afind_batch",
    "Batch",
    "Skipped",
    "Ref",
    "after_commit",
    "cancel_job",
    "acancel_job",
    "pause_queue",
    "apause_queue",
    "resume_queue",
    "aresume_queue",
    "TrackedJob",
    "job_status",
    "ajob_status",
    "JobStatus",
    "status_body",
    "schedule",
    "ScheduledJob",
    "provide",
    "provided",
    "current_job",
    "CurrentJob",
    "require_current_job",
    "seconds",
    "minutes",
    "hours",
    "configure",
    "credentials",
    "using_app",
    "BroadcasterError",
    "ConfigurationError",
    "NotConfigured",
    "DriverError",
    "DriverRefused",
    "DriverUnavailable",
    "NotReplicated",
    "PublishRefused",
    "PublicationError",
    "PayloadTooLarge",
    "InvalidPayload",
    "InvalidChannel",
    "InvalidSocketId",
    "InvalidJob",
    "JobFailed",
]

_HOMES = {
    "broadcaster.events.event": ("ShouldBroadcast", "ShouldBroadcastNow", "ShouldRescue"),
    "broadcaster.events.channels": (
        "Channel",
        "PrivateChannel",
        "PresenceChannel",
        "EncryptedPrivateChannel",
        "UserChannel",
    ),
    "broadcaster.events.broadcast": (
        "broadcast",
        "abroadcast",
        "broadcast_if",
        "abroadcast_if",
        "broadcast_unless",
        "abroadcast_unless",
    ),
    "broadcaster.events.anonymous": ("on", "private", "presence"),
    "broadcaster.events.revocation": ("revoke", "arevoke"),
    "broadcaster.events.users": (
        "terminate_connections",
        "aterminate_connections",
        "online",
        "aonline",
        "online_many",
        "aonline_many",
    ),
    "broadcaster.events.dispatcher": ("emit", "aemit", "ShouldEmitAfterCommit"),
    "broadcaster.events.naming": ("event",),
    "broadcaster.events.listening": ("listen", "listen_to", "listeners", "queued", "subscribe"),
    "broadcaster.events.discovery": ("discover",),
    "broadcaster.events.facts": (
        "ChannelOccupied",
        "ChannelVacated",
        "MemberAdded",
        "MemberRemoved",
        "ClientEventReceived",
        "CacheMissed",
        "SubscriptionCountChanged",
    ),
    "broadcaster.jobs.job": ("Job",),
    "broadcaster.jobs.function": ("job",),
    "broadcaster.jobs.chain": ("chain", "Chain"),
    "broadcaster.jobs.batch": ("find_batch", "afind_batch", "Batch"),
    "broadcaster.jobs.pending_batch": ("batch", "PendingBatch"),
    "broadcaster.jobs.cancelling": ("cancel_job", "acancel_job"),
    "broadcaster.jobs.pausing": ("pause_queue", "apause_queue", "resume_queue", "aresume_queue"),
    "broadcaster.jobs.bus": ("Skipped",),
    "broadcaster.jobs.references": ("Ref",),
    "broadcaster.jobs.after_commit": ("after_commit",),
    "broadcaster.events.tracked_job": ("TrackedJob", "job_status", "ajob_status", "status_body"),
    "broadcaster.jobs.injection": ("provide", "provided"),
    "broadcaster.jobs.running": ("current_job", "CurrentJob", "require_current_job"),
    "broadcaster.scheduling.entries": ("schedule", "ScheduledJob"),
    "broadcaster.contracts.job_status": ("JobStatus",),
    "broadcaster.jobs.delay": ("seconds", "minutes", "hours"),
    "broadcaster.context": ("using_app",),
    "broadcaster.current": ("configure", "credentials"),
    "broadcaster.errors": (
        "BroadcasterError",
        "ConfigurationError",
        "NotConfigured",
        "DriverError",
        "DriverRefused",
        "DriverUnavailable",
        "NotReplicated",
        "PublishRefused",
        "PublicationError",
        "PayloadTooLarge",
        "InvalidPayload",
        "InvalidChannel",
        "InvalidSocketId",
        "InvalidJob",
        "JobFailed",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # type checkers would take any name for granted

    def __getattr__(name: str) -> object:
        module = _HOME_OF.get(name)
        if module is None:
            raise AttributeError(f"module 'broadcaster' has no attribute {name!r}")
        value: object = getattr(importlib.import_module(module), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
