from __future__ import annotations

import pytest

from broadcaster.errors import UnknownJob
from broadcaster.jobs.job import Job
from broadcaster.jobs.registry import Registry


class Mail(Job, name="registry.Mail"):
    def handle(self) -> None: ...


class Post(Job, name="registry.Post"):
    def handle(self) -> None: ...


def test_a_job_is_found_by_its_name() -> None:
    table = Registry()
    table.register("mail", Mail)

    assert table.find("mail") is Mail
    assert table.names() == ["mail"]


def test_an_unknown_name_says_what_to_do() -> None:
    table = Registry()
    table.register("mail", Mail)

    with pytest.raises(UnknownJob, match=r"no job is called 'mial' \(is it 'mail'\?\): name the"):
        table.find("mial")


def test_nothing_is_imported_for_a_name() -> None:
    with pytest.raises(UnknownJob):
        Registry().find("os.system")


def test_hostile_names_are_shown_in_ascii_and_cut() -> None:
    with pytest.raises(UnknownJob) as caught:
        Registry().find("\x1b[2J" + "é" * 1000)

    assert caught.value.message.isascii()
    assert len(caught.value.message) < 1_200


def test_two_jobs_of_one_name_are_refused() -> None:
    table = Registry()
    table.register("mail", Mail)
    table.register("mail", Mail)

    with pytest.raises(ValueError, match="two jobs are called 'mail'"):
        table.register("mail", Post)


@pytest.mark.parametrize("name", ["", "broadcaster.broadcast", "broadcaster.x"])
def test_reserved_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        Registry().register(name, Mail)


def test_the_queues_that_jobs_of_a_connection_name() -> None:
    class Elsewhere(Job, name="registry.Elsewhere", queue="far", connection="billing"):
        def handle(self) -> None: ...

    class Near(Job, name="registry.Near", queue="near"):
        def handle(self) -> None: ...

    table = Registry()
    for one in (Mail, Elsewhere, Near):
        table.register(one.options.name, one)

    assert table.queues("default") == ["near"]
    assert table.queues("billing") == ["far"]
