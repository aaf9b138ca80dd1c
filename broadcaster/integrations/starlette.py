"""
Starlette and FastAPI: 202 Accepted, and an endpoint that says how far a job is.

::

    @app.post("/exports")
    async def export(user: Annotated[User, Depends(current_user)]) -> Response:
        job_id = await ExportUsers(user_id=user.id).adispatch()
        return accepted(job_id, f"/jobs/{job_id}")

    app.add_route("/jobs/{job_id}", status_endpoint(user=user_id_of))
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from broadcaster.events.tracked_job import ajob_status, status_body
from broadcaster.jobs.bus import Skipped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

POLL_SECONDS = 1


def accepted(
    job_id: str | Skipped, status_url: str, *, retry_after: int = POLL_SECONDS
) -> Response:
    """
    Return 202 Accepted, with where the status of a job is found.

    Args:
        job_id: what `dispatch` returned; of a unique job that was skipped it is the one that
            is in its way.
        status_url: what ``Location`` says; `status_endpoint` answers there.
        retry_after: seconds that the client should wait before it asks.

    Source: RFC 9110, 15.3.3: the answer should point at a monitor of the request's status.
    """
    job = job_id.owner if isinstance(job_id, Skipped) else job_id
    body = {"job_id": job, "status": "pending", "status_url": status_url}
    headers = {"Location": status_url, "Retry-After": str(retry_after)}
    return JSONResponse(body, status_code=202, headers=headers)


def status_endpoint(
    *,
    user: Callable[[Request], object] | None = None,
    retry_after: int = POLL_SECONDS,
) -> Callable[[Request], Awaitable[Response]]:
    """
    Return an endpoint for a path with ``{job_id}`` that answers with the status of a job.

    A status that is for somebody (`TrackedJob.tracked_for`) is shown to nobody else: others
    get the 404 of a job that there is not. One that is for nobody is shown to whoever knows
    the id of the job.

    Args:
        user: returns the id of who asks, or None; a coroutine may. Without it only statuses
            for nobody are shown.
        retry_after: seconds that the client should wait before it asks again, while the job
            is neither completed nor failed.
    """

    async def show(request: Request) -> Response:
        status = await ajob_status(str(request.path_params["job_id"]))
        if status is None or not await _may_see(status.owner, request, user):
            return JSONResponse({"error": "there is no such job"}, status_code=404)
        headers = {"Cache-Control": "no-store"}
        if status.status in ("pending", "processing"):
            headers["Retry-After"] = str(retry_after)
        return JSONResponse(status_body(status), headers=headers)

    return show


async def _may_see(owner: str, request: Request, user: Callable[[Request], object] | None) -> bool:
    if not owner:
        return True
    found = user(request) if user is not None else None
    if inspect.isawaitable(found):
        found = await found
    return found is not None and str(found) == owner
