"""Functions that listen become jobs with names, queues and tries of their own."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import pytest

from broadcaster.events.facts import ChannelOccupied, FactEvent, MemberAdded, MemberRemoved
from broadcaster.events.listeners import listeners
from broadcaster.events.listening import listen, listener_jobs
from broadcaster.jobs.registry import registry
from broadcaster.protocol.facts import Fact, fact_id
from broadcaster.protocol.payload import decode_payload

HEARD: list[FactEvent] = []


@listen(MemberAdded)
def heard(event: MemberAdded) -> None:
    HEARD.append(event)


@listen(MemberAdded, MemberRemoved, queue="stats", tries=5, backoff=[1, 10], timeout=30)
async def counted(event: MemberAdded | MemberRemoved) -> None:
    await asyncio.sleep(0)
    HEARD.append(event)


def added(user_id: str = "7") -> Fact:
    return Fact(
        id=fact_id(uuid.uuid4().hex),
        app_id="1",
        name="member_added",
        channel="presence-a",
        time_ms=int(time.time() * 1000),
        user_id=user_id,
    )


def own_jobs(fact: Fact) -> dict[str, Any]:
    jobs = {decode_payload(job.body).job: job for job in listener_jobs(fact, default_queue="d")}
    return {name: job for name, job in jobs.items() if name.startswith(__name__)}


def test_a_listener_stays_the_function_that_it_was() -> None:
    event = MemberAdded(id="0" * 32, app_id="1", channel="presence-a", time_ms=0, user_id="7")

    heard(event)

    assert HEARD.pop() is event


def test_each_listener_is_a_job_of_its_own_with_its_options() -> None:
    jobs = own_jobs(added())

    assert set(jobs) == {f"{__name__}.heard", f"{__name__}.counted"}
    assert jobs[f"{__name__}.heard"].queue == "d"
    assert jobs[f"{__name__}.counted"].queue == "stats"
    payload = decode_payload(jobs[f"{__name__}.counted"].body)
    assert (payload.tries, payload.backoff, payload.timeout) == (5, (1, 10), 30)


def test_jobs_of_one_fact_have_the_same_ids_each_time() -> None:
    one = added()

    assert [j.id for j in own_jobs(one).values()] == [j.id for j in own_jobs(one).values()]
    assert {j.id for j in own_jobs(one).values()}.isdisjoint(
        j.id for j in own_jobs(added()).values()
    )
    assert len({j.id for j in own_jobs(one).values()}) == 2


async def test_the_job_calls_the_function_with_the_event() -> None:
    fact = added("ada")

    for job in own_jobs(fact).values():
        payload = decode_payload(job.body)
        await registry.find(payload.job).decode_fields(payload.data).arun_now()

    first, second = HEARD
    HEARD.clear()
    assert first == second
    assert first == MemberAdded(
        id=fact.id, app_id="1", channel="presence-a", time_ms=fact.time_ms, user_id="ada"
    )


def test_a_listener_can_be_given_a_name() -> None:
    @listen(ChannelOccupied, name="opened")
    def anything(event: ChannelOccupied) -> None:
        del event

    assert "opened" in [listener.name for listener in listeners.of(ChannelOccupied)]
    assert registry.find("opened").__name__ == "anything"


@pytest.mark.parametrize("events", [(), (int,), (MemberAdded, "member_added")])
def test_what_is_no_event_is_refused(events: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match=r"listen\(\)"):
        listen(*events)


def test_an_unknown_option_is_refused_where_it_is_written() -> None:
    given: dict[str, Any] = {"retries": 3}
    with pytest.raises(TypeError, match="retries"):

        @listen(MemberAdded, **given)
        def anything(event: MemberAdded) -> None:
            del event


def nothing() -> None: ...


def two(event: MemberAdded, more: int) -> None:
    del event, more


def named_only(*, event: MemberAdded) -> None:
    del event


@pytest.mark.parametrize("function", [nothing, named_only])
def test_a_function_that_cannot_take_the_event_is_refused(function: Any) -> None:
    with pytest.raises(TypeError) as caught:
        listen(MemberAdded, MemberRemoved)(function)

    said = str(caught.value)
    assert said.startswith(f"{function.__name__}(")
    assert "called with the event, as in" in said
    assert f"def {function.__name__}(event: MemberAdded | MemberRemoved)" in said
    assert f"{__name__}.{function.__name__}" not in [one.name for one in listeners.of(MemberAdded)]


def test_a_further_parameter_that_is_no_service_is_refused() -> None:
    with pytest.raises(TypeError, match="more is int, which nobody provides"):
        listen(MemberAdded)(two)


def test_further_parameters_may_have_defaults() -> None:
    @listen(ChannelOccupied, name="with_defaults")
    def anything(event: ChannelOccupied, more: int = 0) -> None:
        del event, more

    assert "with_defaults" in [one.name for one in listeners.of(ChannelOccupied)]
