"""The Django example: its own tests, and its jobs in a worker on SQLite."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.worker_process import environment
from tests.examples.example_world import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process


class Site:
    """The folder of the example, and commands that are run there to their end."""

    def __init__(self, data: Path, env: dict[str, str]) -> None:
        self.data = data
        self._env = env | {
            "CONFERENCE_DATA": str(data),
            "DJANGO_SETTINGS_MODULE": "conference.settings",
        }

    def run(self, *args: str) -> str:
        ran = subprocess.run(
            [sys.executable, *args],
            cwd=EXAMPLES / "conference",
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def shell(self, code: str) -> Any:
        """Run Python in the site; what it prints last is JSON."""
        return json.loads(self.run("manage.py", "shell", "-v0", "-c", code).splitlines()[-1])

    def work(self, *queues: str) -> str:
        return self.run(
            "-m", "broadcaster", "work", "--connection=long", "--stop-when-empty",
            f"--queue={','.join(queues)}",
        )  # fmt: skip

    @property
    def mails(self) -> str:
        return "".join(file.read_text() for file in sorted(self.data.glob("mails/*")))


SETUP = """
import json
from django.contrib.auth.models import User
from django.test import Client
from conference.models import Event
ada, _ = User.objects.get_or_create(username="ada", email="ada@example.com")
client = Client(); client.force_login(ada)
"""


@pytest.fixture
def site(redis_url: str, prefix: str, tmp_path: Path) -> Site:
    site = Site(tmp_path, environment(redis_url, prefix))
    site.run("manage.py", "migrate", "--run-syncdb", "-v0")
    return site


def test_the_tests_of_the_example_pass(tmp_path: Path) -> None:
    site = Site(tmp_path, {})

    assert "Ran 3 tests" in site.run("manage.py", "test", "-v0")


@pytest.mark.redis
def test_rows_1_to_36_an_event_is_processed_with_all_options_of_a_job(site: Site) -> None:
    made = site.shell(
        SETUP
        + "print(client.post('/events', {'name': 'PyCon', 'attendee': ['Ada', 'Grace']}).content.decode())"
    )
    site.work("processing")

    event = site.shell(
        SETUP
        + f"e = Event.objects.get(pk={made['id']}); print(json.dumps([e.processed, e.statistics]))"
    )
    assert event == [True, {"attendees": 2, "domains": ["example.com"]}]


@pytest.mark.redis
def test_row_36_an_event_that_is_rolled_back_is_not_processed(site: Site) -> None:
    left = site.shell(
        SETUP
        + """
from broadcaster import Ref, current
from conference.jobs import ProcessEventData
from django.db import transaction
try:
    with transaction.atomic():
        event = Event.objects.create(name="never")
        ProcessEventData(event=Ref(event)).dispatch(after_commit=True)
        raise LookupError
except LookupError:
    pass
print(json.dumps(current.application().connection("long").queue.sizes("processing").ready))
"""
    )

    assert left == 0


@pytest.mark.redis
def test_row_35_an_event_that_is_gone_is_forgotten(site: Site) -> None:
    site.shell(
        SETUP
        + """
from broadcaster import Ref
from conference.jobs import ProcessEventData
event = Event.objects.create(name="gone")
ProcessEventData(event=Ref(event)).dispatch()
event.delete()
print(0)
"""
    )

    site.work("processing")

    assert "[]" in site.run("-m", "broadcaster", "failed", "list", "--json")


@pytest.mark.redis
@pytest.mark.parametrize(
    ("format_", "status", "mail"),
    [("json", "completed", "Your export is ready"), ("xml", "failed", "Your export has failed")],
)
def test_row_54_an_export_ends_with_a_mail(
    site: Site, format_: str, status: str, mail: str
) -> None:
    job = site.shell(
        SETUP
        + f"""
event = Event.objects.create(name="PyCon")
event.attendees.create(name="Ada", email="ada@example.com")
print(client.post(f"/events/{{event.pk}}/export", {{"format": "{format_}"}}).content.decode())
"""
    )
    site.work("exports")

    after = site.shell(SETUP + f"print(client.get('{job['status_url']}').content.decode())")
    assert (job["status"], after["status"]) == ("pending", status)
    assert f"Subject: {mail}" in site.mails
    if status == "completed":
        file = site.data / after["result_url"].lstrip("/")
        assert json.loads(file.read_text()) == [{"name": "Ada", "email": "ada@example.com"}]
    else:
        assert after["error"] == "there is no format xml: take csv or json"
