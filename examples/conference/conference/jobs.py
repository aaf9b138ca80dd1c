"""What workers do: statistics of an event, and exports of who attends it."""

from __future__ import annotations

import csv
import io
import json
import logging

from django.conf import settings
from django.contrib.auth.models import User  # noqa: TC002 - fields of jobs are read
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.mail import mail_admins, send_mail
from django.db.models import Count

from broadcaster import Job, JobFailed, PrivateChannel, Ref, TrackedJob, hours
from broadcaster.integrations.django import transaction
from broadcaster.jobs.middleware import Limit, Middleware, RateLimited, WithoutOverlapping, limit
from conference.models import Event  # noqa: TC001 - fields of jobs are read

log = logging.getLogger(__name__)

limit("event-processing", lambda _job: Limit(allow=60, every=60))


class ProcessEventData(
    Job,
    queue="processing",
    connection="long",
    retry_until=hours(2),  # tries would mean nothing beside it
    max_exceptions=3,
    timeout=120,
    backoff=[10, 30, 60],
    unique=["event"],  # one of each event waits or runs
    delete_when_missing_models=True,
):
    event: Ref[Event]

    def middleware(self) -> list[Middleware]:
        return [
            WithoutOverlapping(f"event:{self.event.key}"),
            RateLimited("event-processing"),
            transaction(),
        ]

    def handle(self) -> None:
        event = self.event.value
        domains = event.attendees.values_list("email", flat=True)
        event.statistics = {
            "attendees": event.attendees.aggregate(number=Count("id"))["number"],
            "domains": sorted({email.partition("@")[2] for email in domains}),
        }
        event.processed = True
        event.save()

    def failed(self, error: BaseException) -> None:
        mail_admins("An event could not be processed", f"{self.event!r}: {error}")


class ExportEventAttendees(TrackedJob, queue="exports", connection="long", tries=2, timeout=600):
    event: Ref[Event]
    requested_by: Ref[User]
    format: str = "csv"

    def handle(self) -> None:
        event, exporter = self.event.value, EXPORTERS.get(self.format)
        if exporter is None:
            raise JobFailed(f"there is no format {self.format}: take {' or '.join(EXPORTERS)}")
        rows = []
        total = event.attendees.count()
        for number, attendee in enumerate(event.attendees.order_by("id"), start=1):
            rows.append((attendee.name, attendee.email))
            self.progress(90 * number // total, f"{number} of {total}")
        path = default_storage.save(
            f"exports/event_{event.pk}_attendees.{self.format}", ContentFile(exporter(rows))
        )
        url = default_storage.url(path)
        self.result(url)
        self._tell("Your export is ready", url)

    def failed(self, error: BaseException) -> None:
        self._tell("Your export has failed", str(error))

    def tracked_for(self) -> str:
        return str(self.requested_by.key)  # nobody else may ask

    def broadcast_progress_on(self) -> PrivateChannel:
        return PrivateChannel(f"users.{self.requested_by.key}")

    def _tell(self, subject: str, text: str) -> None:
        user = self.requested_by.load()
        send_mail(subject, text, settings.DEFAULT_FROM_EMAIL, [user.email])


def as_csv(rows: list[tuple[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["name", "email"])
    writer.writerows(rows)
    return text.getvalue().encode()


def as_json(rows: list[tuple[str, str]]) -> bytes:
    return json.dumps([{"name": name, "email": email} for name, email in rows]).encode()


EXPORTERS = {"csv": as_csv, "json": as_json}  # xlsx and pdf in earnest
