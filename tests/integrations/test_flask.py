"""What docs/integrations.md says of Flask: plain verbs, 202, a status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, abort

from broadcaster import PrivateChannel, TrackedJob, current, job_status, on
from broadcaster.events.tracked_job import status_body
from broadcaster.integrations.wsgi import SocketIdMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.events.recording import RecordingApplication


class Export(TrackedJob, name="tests.flask.Export"):
    user_id: int

    def handle(self) -> None: ...

    def tracked_for(self) -> str:
        return str(self.user_id)


def make_app() -> Flask:
    app = Flask("shop")

    @app.post("/exports/<int:user_id>")
    def export(user_id: int) -> Any:
        on(PrivateChannel("exports")).to_others().send()
        job_id = Export(user_id=user_id).dispatch()
        return {"job_id": job_id}, 202, {"Location": f"/jobs/{user_id}/{job_id}"}

    @app.get("/jobs/<user_id>/<job_id>")
    def status(user_id: str, job_id: str) -> Any:
        found = job_status(job_id)
        if found is None or found.owner != user_id:
            abort(404)
        return status_body(found)

    app.wsgi_app = SocketIdMiddleware(app.wsgi_app)  # type: ignore[method-assign]
    return app


@pytest.fixture
def recorded() -> Iterator[RecordingApplication]:
    from tests.events.recording import RecordingApplication

    made = RecordingApplication()
    current.use(made)
    yield made
    current.reset()


def test_a_view_answers_202_and_says_how_far_the_job_is(recorded: RecordingApplication) -> None:
    client = make_app().test_client()

    answer = client.post("/exports/7", headers={"X-Socket-ID": "1.2"})
    status = client.get(answer.headers["Location"])

    assert answer.status_code == 202
    assert status.get_json()["status"] == "pending"
    assert client.get(f"/jobs/8/{answer.get_json()['job_id']}").status_code == 404
    assert recorded.payloads()[0].data["socket_id"] == "1.2"
