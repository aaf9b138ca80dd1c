"""Row 57: the fixtures are known to pytest by themselves, in every style of test."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

INI = """
    [pytest]
    filterwarnings = error
    asyncio_mode = auto
    asyncio_default_fixture_loop_scope = function
"""
SHOP = """
    from dataclasses import dataclass
    from broadcaster import Job, PrivateChannel, ShouldBroadcast, emit, listen

    sent = []

    class SendMail(Job, queue="mail"):
        order_id: int

        def handle(self):
            sent.append(self.order_id)

    @dataclass
    class OrderPlaced(ShouldBroadcast):
        order_id: int

        def broadcast_on(self):
            return PrivateChannel("orders")

    @listen(OrderPlaced)
    def confirm(event):
        SendMail(event.order_id).dispatch(delay=60)

    def place_order(order_id):
        emit(OrderPlaced(order_id))
"""
PYTEST_STYLE = """
    from shop import OrderPlaced, SendMail, place_order, sent

    def test_sync(queue_fake, broadcast_fake):
        place_order(7)
        queue_fake.assert_pushed_on("mail", SendMail, lambda job: job.order_id == 7)
        broadcast_fake.assert_broadcast(OrderPlaced, on="private-orders", payload={"order_id": 7})

    def test_events(event_fake, bus_fake):
        place_order(7)
        event_fake.assert_emitted(OrderPlaced)
        bus_fake.assert_nothing_dispatched()

    async def test_async(queue_fake):
        await SendMail(8).adispatch()
        queue_fake.assert_pushed_once(SendMail)

    async def test_live_async(live_queue):
        await SendMail(8).adispatch()
        assert await live_queue.awork_once() == 1

    def test_live(live_queue, fake_clock, broadcast_fake):
        place_order(7)
        assert live_queue.drain() == 0
        fake_clock.advance(60)
        assert live_queue.drain() == 1
        assert sent[-1] == 7
        live_queue.assert_nothing_failed()
"""
UNITTEST_STYLE = """
    import unittest
    from broadcaster.testing import BroadcastFake, QueueFake
    from shop import OrderPlaced, SendMail, place_order

    class OrderTests(unittest.TestCase):
        def setUp(self):
            self.queue = self.enterContext(QueueFake())
            self.broadcasts = self.enterContext(BroadcastFake())

        def test_order(self):
            place_order(7)
            self.queue.assert_pushed(SendMail)
            self.broadcasts.assert_broadcast(OrderPlaced)
"""
DJANGO_STYLE = """
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    )
    django.setup()

    import broadcaster.integrations.django
    from django.db import transaction
    from django.test import TestCase
    from broadcaster.testing import QueueFake
    from shop import SendMail

    class OrderTests(TestCase):
        def setUp(self):
            self.queue = self.enterContext(QueueFake())

        def test_order(self):
            SendMail(7).dispatch()
            self.queue.assert_pushed(SendMail)

        def test_after_commit(self):
            with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
                SendMail(7).dispatch(after_commit=True)
                self.queue.assert_nothing_pushed()
            self.queue.assert_pushed_once(SendMail)
"""


def run_suite(folder: Path, **files: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a project that has these files, and broadcaster installed."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    (folder / "pytest.ini").write_text(textwrap.dedent(INI), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:schemathesis",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(  # the tests of an application, in a process of their own
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=100
    )


@pytest.mark.process
@pytest.mark.redis
def test_row_57_tests_of_an_application_use_the_fixtures(tmp_path: Path) -> None:
    ran = run_suite(tmp_path, shop=SHOP, test_orders=PYTEST_STYLE, test_unittest=UNITTEST_STYLE)

    assert "6 passed" in ran.stdout, ran.stdout


@pytest.mark.process
def test_row_57_tests_of_a_django_application_use_the_fakes(tmp_path: Path) -> None:
    ran = run_suite(tmp_path, shop=SHOP, test_django=DJANGO_STYLE)

    assert "2 passed" in ran.stdout, ran.stdout


@pytest.mark.process
def test_a_failed_assertion_points_to_the_test(tmp_path: Path) -> None:
    """Not into the fake: its frames are hidden."""
    failing = """
        from shop import SendMail

        def test_it(queue_fake):
            SendMail(7).dispatch()
            queue_fake.assert_pushed(SendMail, lambda job: job.order_id == 8)
    """

    ran = run_suite(tmp_path, shop=SHOP, test_failing=failing)

    assert "no SendMail that was pushed fulfils the predicate:" in ran.stdout
    assert "SendMail(order_id=7) on mail" in ran.stdout
    assert "test_failing.py:6: AssertionError" in ran.stdout
    assert "queue_fake.py" not in ran.stdout


def test_a_suite_that_uses_nothing_pays_for_nothing() -> None:
    """The plugin is loaded into every suite of every project that has broadcaster installed."""
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import broadcaster.testing.plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout.split() == [
        "broadcaster",
        "broadcaster.testing",
        "broadcaster.testing.plugin",
    ]
