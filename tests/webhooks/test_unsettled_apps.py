"""What happened in an app that is not known yet waits until the list of apps is read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from broadcaster.contracts.queue import Done, Release, Reserved, Retry
from broadcaster.gateway.apps import AppDirectory
from broadcaster.protocol.fact_jobs import Delivery, encode_delivery
from broadcaster.protocol.facts import FACT_JOB, FACT_QUEUE
from broadcaster.protocol.payload import Payload, encode_payload
from broadcaster.webhooks.deliveries import Chances, DeliveryRunner
from broadcaster.webhooks.facts import FactRunner
from tests.webhooks.webhook_world import fact

if TYPE_CHECKING:
    from broadcaster.contracts.apps import AppStore

NOBODY = cast("Any", None)
CHANCES = Chances(time.time, time.monotonic, lambda: 0.5)


def directory(*, read: bool) -> AppDirectory:
    """Apps of a gateway that has read its list, or not yet."""
    return AppDirectory([]) if read else AppDirectory([], cast("AppStore", object()))


@pytest.mark.parametrize(
    ("read", "age", "outcome"), [(False, 400, Release), (True, 0, Retry), (True, 400, Done)]
)
async def test_nothing_is_dropped_before_the_apps_are_known(
    *, read: bool, age: int, outcome: type[object]
) -> None:
    """A gateway that has just started drains queues before it has read the apps of Redis."""
    happened = fact("orders", time_ms=int((time.time() - age) * 1000))
    body = encode_payload(Payload(id=happened.id, job=FACT_JOB, data=msgspec.to_builtins(happened)))
    delivery = encode_delivery(Delivery(url="https://shop.example/hooks", fact=happened))
    facts = FactRunner(directory(read=read), NOBODY, events="default")
    deliveries = DeliveryRunner(
        directory(read=read), NOBODY, CHANCES, places=9, at_once=1, gather=0.0
    )

    settlements = [
        await facts.run(FACT_QUEUE, Reserved("1", body, 1, 0, alone=False), None),
        await deliveries.run(FACT_QUEUE, Reserved("1", delivery, 1, 0, alone=False), None),
    ]

    assert [type(one) for one in settlements] == [outcome, outcome]
