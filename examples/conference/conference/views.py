"""The site: it answers at once, and workers do the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from broadcaster import Ref, job_status, status_body
from conference.jobs import ExportEventAttendees, ProcessEventData
from conference.models import Event

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@require_POST
@login_required
def create_event(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        event = Event.objects.create(name=request.POST["name"])
        for name in request.POST.getlist("attendee"):
            event.attendees.create(name=name, email=f"{name.lower()}@example.com")
        # Queued when this is committed, and never if it is not.
        ProcessEventData(event=Ref(event)).dispatch(after_commit=True)
    return JsonResponse({"id": event.pk}, status=201)


@require_POST
@login_required
def export(request: HttpRequest, event_id: int) -> HttpResponse:
    event = get_object_or_404(Event, pk=event_id)
    job = ExportEventAttendees(
        event=Ref(event),
        requested_by=Ref(request.user),
        format=request.POST.get("format", "csv"),
    )
    job_id = str(job.dispatch())
    status_url = f"/jobs/{job_id}"
    body = {"job_id": job_id, "status": "pending", "status_url": status_url}
    return JsonResponse(body, status=202, headers={"Location": status_url})


@login_required
def job(request: HttpRequest, job_id: str) -> HttpResponse:
    status = job_status(job_id)
    if status is None or status.owner != str(request.user.pk):
        raise Http404
    return JsonResponse(status_body(status), headers={"Cache-Control": "no-store"})
