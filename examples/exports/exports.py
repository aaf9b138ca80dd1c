"""
Export with progress: 202 Accepted, a status to ask for, and the same on a private channel.

The web process (`app`) and the worker import this module. See README.md for how to run it.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from broadcaster_auth import Authorizer, bearer, broadcasting_auth
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from broadcaster import JobFailed, PrivateChannel, TrackedJob, credentials
from broadcaster.integrations.starlette import accepted, status_endpoint

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger("exports")

FOLDER = Path(os.environ.get("EXPORT_FOLDER", "exported"))
FOLDER.mkdir(exist_ok=True)

USERS = {"ada-token": 1, "grace-token": 2}
ATTENDEES = {7: ["Ada", "Grace", "Hedy", "Radia"], 8: []}  # your database in earnest
current_user = bearer(USERS.get)  # Authorization: Bearer <token>


class ExportAttendees(TrackedJob, queue="exports", tries=2, timeout=600):
    event_id: int
    requested_by: int

    def handle(self) -> None:
        attendees = ATTENDEES[self.event_id]
        if not attendees:
            raise JobFailed("nobody attends this event")
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(["name"])
        for number, name in enumerate(attendees, start=1):
            rows.writerow([name])
            self.progress(100 * number // len(attendees), f"{number} of {len(attendees)} rows")
        name = f"event-{self.event_id}.csv"
        (FOLDER / name).write_text(text.getvalue(), encoding="utf-8")
        self.result(f"/exported/{name}")

    def failed(self, error: BaseException) -> None:
        log.error("the export of event %d failed: %s", self.event_id, error)

    def tracked_for(self) -> str:
        return str(self.requested_by)  # nobody else may ask

    def broadcast_progress_on(self) -> PrivateChannel:
        return PrivateChannel(f"users.{self.requested_by}")


async def export(request: Request) -> Response:
    user = current_user(request)
    event_id = request.path_params["event_id"]
    if not isinstance(user, int):
        return JSONResponse({"error": "who are you?"}, 401)
    if event_id not in ATTENDEES:
        return JSONResponse({"error": "there is no such event"}, 404)
    job_id = await ExportAttendees(event_id=event_id, requested_by=user).adispatch()
    return accepted(job_id, f"/jobs/{job_id}")


rules = Authorizer()


@rules.channel("users.{user_id}")
def own_channel(user: int, user_id: int) -> bool:
    return user == user_id


app = Starlette(
    routes=[
        Route("/events/{event_id:int}/export", export, methods=["POST"]),
        Route("/jobs/{job_id}", status_endpoint(user=current_user)),
        Mount("/exported", StaticFiles(directory=FOLDER)),
        Mount("/broadcasting", broadcasting_auth(credentials, user=current_user, authorizer=rules)),
    ]
)
