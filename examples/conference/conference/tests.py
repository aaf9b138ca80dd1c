"""Tests of the site: `python manage.py test`."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.test import TestCase

from broadcaster import Ref
from broadcaster.testing import QueueFake
from conference.jobs import ExportEventAttendees, ProcessEventData
from conference.models import Event


class EventTests(TestCase):
    def setUp(self) -> None:
        self.queue = self.enterContext(QueueFake())
        self.ada = User.objects.create_user("ada", "ada@example.com")
        self.client.force_login(self.ada)

    def test_an_event_is_processed_when_it_is_stored(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            answer = self.client.post("/events", {"name": "PyCon", "attendee": ["Ada", "Grace"]})
            self.queue.assert_nothing_pushed()

        event = Event.objects.get(pk=answer.json()["id"])
        self.queue.assert_pushed_on(
            "processing", ProcessEventData, lambda job: job.event.key == event.pk
        )
        self.queue.assert_pushed_on_connection("long", ProcessEventData)

    def test_a_job_processes_an_event(self) -> None:
        event = Event.objects.create(name="PyCon")
        event.attendees.create(name="Ada", email="ada@example.com")

        ProcessEventData(event=Ref(event)).handle()

        event.refresh_from_db()
        assert event.processed
        assert event.statistics == {"attendees": 1, "domains": ["example.com"]}

    def test_an_export_is_accepted_and_shown_to_nobody_else(self) -> None:
        event = Event.objects.create(name="PyCon")

        answer = self.client.post(f"/events/{event.pk}/export", {"format": "json"})

        assert answer.status_code == 202
        self.queue.assert_pushed(ExportEventAttendees, lambda job: job.format == "json")
        assert self.client.get(answer["Location"]).json()["status"] == "pending"
        self.client.force_login(User.objects.create_user("eve"))
        assert self.client.get(answer["Location"]).status_code == 404
