"""
Every exception of broadcaster.

::

    BroadcasterError
    ├── ConfigurationError          settings are missing or wrong (exit code 78)
    │   ├── NotConfigured           no credentials or no Redis were found
    │   └── UnknownDriver           a driver name nobody registered
    ├── DriverError                 the world outside failed
    │   ├── DriverUnavailable       cannot be reached, or answered too late (exit code 69)
    │   ├── DriverRefused           answered and refused; repeating does not help
    │   ├── LeaseLost               Redis refused a write of a node whose lease ended
    │   ├── NotReplicated           jobs are queued, on fewer servers than was asked for
    │   ├── AddressRefused          a webhook's host is not one that requests may go to
    │   └── PublishRefused          a remote server answered, and said no
    ├── ProtocolError               what a client, a backend or a node sent is not acceptable
    │   ├── MalformedMessage        not the documented shape
    │   ├── MessageTooLarge         over a size limit
    │   ├── InvalidChannel          a channel name outside the grammar
    │   ├── InvalidSocketId         not two runs of digits around a dot
    │   ├── InvalidSignature        wrong, malformed, stale or missing credentials
    │   ├── WebSocketViolation      broken RFC 6455 framing; carries a close code
    │   └── RequestRefused          an HTTP API request that cannot be served; carries a status
    ├── PublicationError            an event cannot be broadcast as it is
    │   ├── PayloadTooLarge         data over the limit, naming the fattest field
    │   └── InvalidPayload          NaN, lone surrogates, or a type that has no JSON form
    ├── AuthorizationError
    │   ├── AuthorizationPending    cannot be decided yet
    │   ├── Denied                  this user may not enter this channel
    │   └── InvalidToken            a grant that is expired, forged, or not for this
    └── JobError
        ├── UnknownJob              a name that is in no registry
        ├── InvalidJob              a body that does not fit its job class
        ├── JobFailed               raised by a job that gives up on purpose
        ├── JobTimedOut             ran longer than its ``timeout``
        ├── ModelMissing            a model that a job refers to is gone
        ├── NotRunning              asked of a job that no worker runs
        └── Unsupported             a connection cannot keep what a job asks for

Leaves name a state. Each error carries its data as attributes; the message says
what was wrong, with what value, and what to do. `code` is stable and documented in
docs/errors.md.
"""

from __future__ import annotations

from typing import ClassVar


class BroadcasterError(Exception):
    """Base of everything raised on purpose."""

    code: str = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class ConfigurationError(BroadcasterError):
    """Settings are missing or wrong."""

    code = "bad_configuration"
    exit_code: ClassVar[int] = 78


class NotConfigured(ConfigurationError):
    """No credentials, or no Redis server, could be found."""

    code = "not_configured"


class UnknownDriver(ConfigurationError):
    """A driver was asked for by a name that nobody registered."""

    code = "unknown_driver"


class DriverError(BroadcasterError):
    """Something outside this process failed."""

    code = "driver_error"


class DriverUnavailable(DriverError):
    """The server behind a driver cannot be reached, or answered too late."""

    code = "driver_unavailable"
    exit_code: ClassVar[int] = 69


class DriverRefused(DriverError):
    """The server behind a driver answered and refused; repeating does not help."""

    code = "driver_refused"


class LeaseLost(DriverError):
    """Redis refused a write because this node's lease had ended."""

    code = "lease_lost"


class NotReplicated(DriverError):
    """
    Jobs are queued, but too few replicas had them in time (``queue.replicas``).

    They run, unless the server is lost before it has copied them: dispatching them again would
    run them twice.

    Attributes:
        replicas: how many had them.
    """

    code = "not_replicated"

    def __init__(self, message: str, *, replicas: int) -> None:
        super().__init__(message)
        self.replicas = replicas


class AddressRefused(DriverError):
    """A host has no address that requests may be sent to; see `broadcaster.protocol.addresses`."""

    code = "address_refused"


class PublishRefused(DriverError):
    """
    A remote Pusher-compatible server answered and refused.

    Attributes:
        status: its HTTP status.
    """

    code = "publish_refused"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ProtocolError(BroadcasterError):
    """What came from a client, a backend or another node is not acceptable."""

    code = "protocol_error"


class MalformedMessage(ProtocolError):
    """A frame, body or envelope that does not have the documented shape."""

    code = "malformed_message"


class MessageTooLarge(ProtocolError):
    """A frame, body or field over its limit."""

    code = "message_too_large"


class InvalidChannel(ProtocolError):
    """A channel name outside the grammar."""

    code = "invalid_channel"


class InvalidSocketId(ProtocolError):
    """A socket id that is not two runs of digits around a dot."""

    code = "invalid_socket_id"


class InvalidSignature(ProtocolError):
    """Credentials that are wrong, malformed, stale or missing."""

    code = "invalid_signature"


class WebSocketViolation(ProtocolError):
    """
    Bytes that break RFC 6455.

    Attributes:
        close_code: the code to close the connection with (1002, 1003, 1007, 1009).
    """

    code = "websocket_violation"

    def __init__(self, message: str, *, close_code: int) -> None:
        super().__init__(message)
        self.close_code = close_code


class RequestRefused(ProtocolError):
    """
    An HTTP API request that cannot be served.

    Attributes:
        status: HTTP status to answer with.
        retry_after: whole seconds after which it can be served, or 0: not by waiting.
    """

    code = "bad_request"

    def __init__(
        self, message: str, *, status: int = 400, code: str | None = None, retry_after: int = 0
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.retry_after = retry_after


class PublicationError(BroadcasterError):
    """An event cannot be broadcast as it is."""

    code = "invalid_publication"


class PayloadTooLarge(PublicationError):
    """
    The event's data is over the limit.

    Attributes:
        size: bytes of the encoded data.
        limit: bytes allowed.
        field: name of the largest top-level field, or None if data has no fields.
    """

    code = "payload_too_large"

    def __init__(self, message: str, *, size: int, limit: int, field: str | None = None) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit
        self.field = field


class InvalidPayload(PublicationError):
    """The event's data has no JSON form."""

    code = "invalid_payload"


class AuthorizationError(BroadcasterError):
    """A request to enter a channel was refused."""

    code = "unauthorized"


class AuthorizationPending(AuthorizationError):
    """
    A subscription cannot be decided yet; it is held and asked about again.

    Attributes:
        since: Unix seconds when it was first asked about.
    """

    code = "authorization_pending"

    def __init__(self, message: str, *, since: float) -> None:
        super().__init__(message)
        self.since = since


class Denied(AuthorizationError):
    """This user may not enter this channel."""

    code = "denied"


class InvalidToken(AuthorizationError):
    """A grant that is expired, forged, or meant for something else."""

    code = "invalid_token"


class JobError(BroadcasterError):
    """A job could not be dispatched, decoded or finished."""

    code = "job_error"


class UnknownJob(JobError):
    """A payload names a job that is in no registry of this worker."""

    code = "unknown_job"


class InvalidJob(JobError):
    """A payload that does not fit its job class."""

    code = "invalid_job"


class JobFailed(JobError):
    """The job gave up on purpose; it is not tried again."""

    code = "job_failed"


class JobTimedOut(JobError):
    """The job ran longer than its `timeout`."""

    code = "job_timed_out"


class ModelMissing(JobError):
    """
    A model that a job refers to is gone.

    Attributes:
        model: registered name of its class.
        key: its primary key.
    """

    code = "missing_model"

    def __init__(self, message: str, *, model: str, key: object) -> None:
        super().__init__(message)
        self.model = model
        self.key = key


class NotRunning(JobError):
    """What only a running job can do was asked of one that no worker runs."""

    code = "not_running"


class Unsupported(JobError):
    """
    A queue connection cannot keep what a job asks for, so it was not dispatched there.

    Attributes:
        features: what it asks for, in words.
    """

    code = "unsupported"

    def __init__(self, message: str, *, features: tuple[str, ...]) -> None:
        super().__init__(message)
        self.features = features
