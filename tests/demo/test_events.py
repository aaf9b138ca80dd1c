from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from broadcaster.demo.events import PackOrder

if TYPE_CHECKING:
    from tests.events.recording import RecordingApplication


async def test_packing_tells_the_customer_which_process_did_it(
    queue: RecordingApplication,
) -> None:
    await PackOrder(7, "ada").arun_now()

    (told,) = queue.published
    assert told.channels == ("private-orders.ada",)
    assert told.name == "App\\Events\\OrderPacked"
    assert json.loads(told.data) == {"order_id": 7, "pid": os.getpid()}
    assert queue.jobs == []
