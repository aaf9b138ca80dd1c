from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import InvalidJob
from broadcaster.jobs.after_commit import after_commit
from broadcaster.jobs.chain import Chain, chain
from broadcaster.jobs.job import Job
from broadcaster.protocol.ids import derived_id
from broadcaster.protocol.payload import MAX_LINKS

if TYPE_CHECKING:
    from broadcaster.jobs.bus import PreparedJob
    from tests.jobs.application import JobsApplication


class Step(Job, name="chain.Step", tries=3):
    number: int

    def handle(self) -> None: ...


class Slow(Job, name="chain.Slow", queue="slow", delay=5, retry_until=60):
    def handle(self) -> None: ...


class Undo(Job, name="chain.Undo"):
    def handle(self) -> None: ...


class Long(Job, name="chain.Long", connection="long"):
    def handle(self) -> None: ...


def test_row_18_the_first_link_is_queued_and_carries_the_rest(app: JobsApplication) -> None:
    chain_id = chain([Step(1), Slow(), Step(3)]).catch(Undo()).dispatch()

    ((new,), (payload,)) = app.recorded.pushed, app.recorded.payloads
    assert payload.chain is not None
    assert (new.id, new.queue) == (derived_id("chain", chain_id, 0), "default")
    assert (payload.job, payload.data, payload.tries) == ("chain.Step", {"number": 1}, 3)
    assert [(link.payload.job, link.queue, link.delay) for link in payload.chain.next] == [
        ("chain.Slow", "slow", 5.0),
        ("chain.Step", "default", 0.0),
    ]
    assert [link.payload.job for link in payload.chain.catch] == ["chain.Undo"]


async def test_adispatch_does_the_same(app: JobsApplication) -> None:
    chain_id = await chain([Step(1)]).adispatch()

    assert app.recorded.payloads[0].id == derived_id("chain", chain_id, 0)


def test_the_time_for_tries_of_a_later_link_does_not_begin_yet(app: JobsApplication) -> None:
    chain([Step(1), Slow()]).dispatch()

    place = app.recorded.payloads[0].chain
    assert place is not None
    assert (place.next[0].payload.retry_for, place.next[0].payload.retry_until) == (60.0, None)


def test_the_queue_of_a_chain_is_for_links_that_name_none(app: JobsApplication) -> None:
    """A link may have options of its own."""
    links: list[Job | PreparedJob] = [
        Step(1),
        Slow(),
        Step(3).with_options(queue="own", delay=2, tries=9),
    ]

    chain(links).on_queue("orders").dispatch()

    place = app.recorded.payloads[0].chain
    assert place is not None
    assert app.recorded.pushed[0].queue == "orders"
    assert [link.queue for link in place.next] == ["slow", "own"]
    assert (place.next[1].delay, place.next[1].payload.tries) == (2.0, 9)


def test_a_chain_goes_to_the_connection_of_its_links(app: JobsApplication) -> None:
    class Other(Job, name="chain.Other", connection="other"):
        def handle(self) -> None: ...

    chain([Step(1), Long()]).dispatch()
    chain([Long(), Other()]).on_connection("third").dispatch()

    assert app.connections == ["long", "third"]
    with pytest.raises(ValueError, match="long, other, and one queue hands them on"):
        chain([Long(), Other()]).dispatch()


def test_row_20_a_chain_is_put_together_from_a_list(app: JobsApplication) -> None:
    steps: list[Job] = [Step(1)]
    steps += [Slow()]

    made = chain(steps)

    assert isinstance(made, Chain)
    assert [one.job for one in made.involved] == steps
    assert made.catch(Undo()) is not made
    assert made.catches == ()


@pytest.mark.parametrize("count", [0, MAX_LINKS + 1])
def test_a_chain_has_a_number_of_links(count: int) -> None:
    with pytest.raises(ValueError, match="a chain has 1 to 1,000 jobs"):
        chain([Step(1)] * count)


def test_a_chain_that_is_too_large_is_refused_at_the_call(app: JobsApplication) -> None:
    class Big(Job, name="chain.Big"):
        text: str

        def handle(self) -> None: ...

    with pytest.raises(InvalidJob, match="pass a reference"):
        chain([Big("x" * 600_000), Big("x" * 600_000)]).dispatch()

    assert app.recorded.pushed == []


def test_a_chain_can_wait_for_the_commit(app: JobsApplication) -> None:
    with after_commit():
        chain([Step(1)]).dispatch(after_commit=True)
        assert app.recorded.pushed == []

    assert len(app.recorded.pushed) == 1


def test_links_take_no_unique_lock(app: JobsApplication) -> None:
    class Only(Job, name="chain.Only", unique=True):
        def handle(self) -> None: ...

    chain([Only(), Only()]).dispatch()

    assert app.recorded.pushed[0].unique is None
