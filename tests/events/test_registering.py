"""Row 50: the ways to say who listens to what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from broadcaster.errors import InvalidJob, JobFailed
from broadcaster.events.dispatcher import emit
from broadcaster.events.facts import MemberAdded
from broadcaster.events.listeners import listeners as table
from broadcaster.events.listening import (
    Registrar,
    hears_facts,
    listen,
    listen_to,
    listeners,
    queued,
    subscribe,
)
from broadcaster.events.naming import event
from broadcaster.jobs.announcing import lifecycle_listeners
from broadcaster.jobs.job import Job
from broadcaster.jobs.lifecycle import JobProcessed, QueuePaused
from broadcaster.jobs.registry import registry
from broadcaster.protocol.payload import decode_payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.events.recording import RecordingApplication

pytestmark = pytest.mark.usefixtures("app", "own_listeners")

heard: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_heard() -> None:
    heard.clear()


@dataclass
class SignedIn:
    user_id: int


@dataclass
class SignedOut:
    user_id: int


@dataclass
class OrderEvent:
    order_id: int


@dataclass
class OrderPlaced(OrderEvent):
    pass


@event("order.item.added")
@dataclass
class ItemAdded:
    order_id: int


def note(event: Any) -> None:
    heard.append(("note", event))


class Audit:
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        Audit.made += 1

    def handle(self, event: SignedIn) -> None:
        heard.append(("audit", event))

    def signed_out(self, event: SignedOut) -> None:
        heard.append(("audit.signed_out", event))


class Called:
    def __call__(self, event: SignedIn) -> None:
        heard.append(("called", event))


class Nothing:
    pass


@queued(queue="mail", tries=3)
class SendWelcome:
    async def handle(self, event: SignedIn) -> None:
        heard.append(("welcome", event))


def run_queued(app: RecordingApplication) -> None:
    for payload in app.payloads():
        registry.find(payload.job).decode_fields(payload.data).run_now()
    app.jobs.clear()


def test_row_50_a_map_says_who_listens(app: RecordingApplication) -> None:
    listeners({SignedIn: [note, Audit, SendWelcome], SignedOut: (Audit, "signed_out")})

    emit(SignedIn(7))
    emit(SignedOut(7))

    assert heard == [
        ("note", SignedIn(7)),
        ("audit", SignedIn(7)),
        ("audit.signed_out", SignedOut(7)),
    ]
    [payload] = app.payloads()
    assert (app.jobs[0].queue, payload.tries) == ("mail", 3)


def test_a_map_has_patterns_and_single_listeners_too() -> None:
    listeners({"order.*": note, SignedIn: {note}})

    emit(OrderPlaced(1))
    emit(ItemAdded(1))
    emit(SignedIn(7))

    assert heard == [("note", OrderPlaced(1)), ("note", ItemAdded(1)), ("note", SignedIn(7))]


def test_a_class_is_made_anew_for_each_event() -> None:
    listen(SignedIn)(Audit)
    before = Audit.made

    emit(SignedIn(7))
    emit(SignedIn(8))

    assert Audit.made == before + 2


def test_a_class_that_can_be_called_listens_too() -> None:
    listen(SignedIn)(Called)

    emit(SignedIn(7))

    assert heard == [("called", SignedIn(7))]


def test_a_listener_is_returned_as_it_was() -> None:
    assert listen(SignedIn)(Audit) is Audit
    assert listen(SignedIn)(note) is note
    assert queued(queue="mail")(Called) is Called
    del Called.__queued_listener__  # type: ignore[attr-defined]


def test_who_listens_to_a_class_hears_what_derives_from_it(app: RecordingApplication) -> None:
    listen(OrderEvent)(note)
    listen(OrderEvent, queue=True)(Audit)

    emit(OrderPlaced(3))
    run_queued(app)

    assert heard == [("note", OrderPlaced(3)), ("audit", OrderPlaced(3))]


def test_an_event_reaches_a_listener_once_however_often_it_listens() -> None:
    listen(OrderEvent, OrderPlaced)(note)
    listen_to("order.*")(note)

    emit(OrderPlaced(3))

    assert heard == [("note", OrderPlaced(3))]


def test_row_50_a_queued_wildcard_gets_events_that_have_a_name(app: RecordingApplication) -> None:
    listen_to("order.*", queue="stats")(note)

    emit(ItemAdded(3))
    run_queued(app)

    assert heard == [("note", ItemAdded(3))]


def test_a_queued_wildcard_refuses_events_that_a_worker_could_not_find() -> None:
    listen_to("order.*", queue="stats")(note)

    with pytest.raises(InvalidJob, match=r"give it a name with @event"):
        emit(OrderPlaced(3))


def test_who_queues_everything_gets_events_that_have_a_name(app: RecordingApplication) -> None:
    """Else a payload could name any class of the process."""
    listen(object, queue="stats")(note)

    emit(ItemAdded(3))
    run_queued(app)
    assert heard == [("note", ItemAdded(3))]

    with pytest.raises(InvalidJob, match=r"give it a name with @event"):
        emit(OrderPlaced(3))
    job = registry.find(f"{__name__}.note")
    with pytest.raises(InvalidJob, match="listens to no event"):
        job.decode_fields({"event": "signed.in", "data": {"user_id": 1}}).run_now()


def test_a_payload_finds_no_event_that_its_listener_does_not_listen_to() -> None:
    """A payload names an event; what it may name is decided by the code, not by the payload."""
    listen(SignedIn, queue=True)(note)
    job = registry.find(f"{__name__}.note")

    for name in ("order.item.added", "signed.out", "builtins.object"):
        with pytest.raises(InvalidJob, match="listens to no event"):
            job.decode_fields({"event": name, "data": {"order_id": 1}}).run_now()


# Subscribers.


class UserSubscriber:
    def signed_in(self, event: SignedIn) -> None:
        heard.append(("in", event))

    def signed_out(self, event: SignedOut) -> None:
        heard.append(("out", event))

    def either(self, event: SignedIn | SignedOut) -> None:
        heard.append(("either", event))

    def subscribe(self, events: Registrar) -> Mapping[type | str, str | Iterable[str]]:
        events.listen(SignedIn, self.signed_in)
        events.listen("signed.i*", self.either)
        return {SignedOut: ["signed_out", "either"]}


@pytest.mark.parametrize("subscriber", [UserSubscriber, UserSubscriber()])
def test_row_50_a_subscriber_adds_its_methods(subscriber: Any, app: RecordingApplication) -> None:
    subscribe(subscriber)

    emit(SignedOut(8))

    assert heard == [("out", SignedOut(8)), ("either", SignedOut(8))]


def test_a_subscriber_may_return_nothing_and_queue_its_methods(app: RecordingApplication) -> None:
    class Quiet:
        def heard(self, event: SignedIn) -> None:
            heard.append(("quiet", event))

        def subscribe(self, events: Registrar) -> None:
            events.listen(SignedIn, self.heard, queue="audit", tries=2)

    subscribe(Quiet)
    emit(SignedIn(7))

    assert app.jobs[0].queue == "audit"
    run_queued(app)
    assert heard == [("quiet", SignedIn(7))]


# Facts and the lifecycle are events as well.


def test_listeners_to_facts_are_queued_and_count_as_such() -> None:
    assert not hears_facts()
    listen(SignedIn, MemberAdded)(note)

    assert hears_facts()
    assert [listener.job is not None for listener in table.of(MemberAdded)] == [True]
    assert [listener.job is not None for listener in table.of(SignedIn)] == [False]


def test_the_lifecycle_is_listened_to_in_the_same_way() -> None:
    listen(QueuePaused, SignedIn)(note)
    paused = QueuePaused(connection_name="redis", queue="mail")

    lifecycle_listeners.announce(paused)
    emit(SignedIn(7))

    assert heard == [("note", paused), ("note", SignedIn(7))]


# What would have no effect is refused where it is written.


async def _async(event: Any) -> None: ...


class Needy:
    def __init__(self, name: str) -> None:
        self.name = name

    def handle(self, event: SignedIn) -> None: ...


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda: listen(SignedIn, tries=3)(note), "tries has an effect on queued listeners only"),
        (lambda: listen(SignedIn, queue=False)(SendWelcome), "tries has an effect"),
        (lambda: listen(MemberAdded, queue=False)(note), "happens elsewhere"),
        (lambda: listen(JobProcessed, queue="mail")(note), "told in the middle of it"),
        (lambda: listen(JobProcessed)(_async), "is async"),
        (lambda: listen(SignedIn)(Nothing), "no method handle"),
        (lambda: listen(SignedIn)(Needy), "Needy cannot listen: it needs arguments"),
        (lambda: listeners({SignedIn: (Needy, "handle")}), "without any"),
        (lambda: listen("signed.in"), r"say listen_to\('signed.in'\)"),  # type: ignore[call-overload]
        (lambda: listen(SignedIn, quue="mail"), "no option 'quue' - did you mean 'queue'"),  # type: ignore[call-overload]
        (lambda: listen(SignedIn)(7), "no function and no class"),  # type: ignore[call-overload]
        (lambda: listeners({SignedIn: (Audit, "nothing")}), "no method 'nothing'"),
        (listen_to, "names of events"),
        (lambda: listen_to(""), "names of events"),
        (lambda: listen(SignedIn, retries=3), "no option 'retries'"),  # type: ignore[call-overload]
        (lambda: listen(Job), "is a job"),
        (
            lambda: listen(JobFailed),
            "is an error; the event is broadcaster.jobs.lifecycle.JobFailed",
        ),
        (lambda: listen(InvalidJob), "InvalidJob is an error$"),
        (lambda: listen(int), "not <class 'int'>"),
    ],
)
def test_what_would_have_no_effect_is_refused(add: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        add()


def test_row_51_an_event_that_is_marked_as_queued_is_refused() -> None:
    """Marking the event does nothing in Laravel, and nobody tells: its listeners are queued."""
    with pytest.raises(TypeError, match="put it on those who listen"):

        @queued(queue="mail")
        class OrderLost:
            pass


def test_functions_inside_functions_all_listen() -> None:
    for number in (1, 2):

        def inner(event: SignedIn, number: int = number) -> None:
            heard.append(number)

        listen(SignedIn)(inner)

    emit(SignedIn(7))

    assert heard == [1, 2]


# Hooks of queued listeners.


class Failing:
    def handle(self, event: SignedIn) -> None:
        raise LookupError

    def failed(self, event: SignedIn, error: BaseException) -> None:
        heard.append((event, error))


class FailingLater(Failing):
    async def failed(self, event: SignedIn, error: BaseException) -> None:  # type: ignore[override]
        heard.append((event, error))


def test_row_51_a_listener_that_was_given_up_is_told(app: RecordingApplication) -> None:
    listen(SignedIn, queue=True)(Failing)
    emit(SignedIn(7))
    payload = decode_payload(app.jobs[0].body)
    error = LookupError()

    made: Any = registry.find(payload.job).decode_fields(payload.data)
    made.failed(error)

    assert heard == [(SignedIn(7), error)]


async def test_the_hook_may_be_async(app: RecordingApplication) -> None:
    listen(SignedIn, queue=True)(FailingLater)
    emit(SignedIn(7))
    payload = decode_payload(app.jobs[0].body)
    error = LookupError()

    made: Any = registry.find(payload.job).decode_fields(payload.data)
    await made.failed(error)

    assert heard == [(SignedIn(7), error)]
