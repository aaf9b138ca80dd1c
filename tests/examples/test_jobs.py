"""Row 53 and the seeds' examples: jobs, run by a worker on a real server."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from broadcaster import current
from broadcaster.jobs.bus import Skipped
from tests.examples.example_world import import_example, work, work_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broadcaster.settings import Settings


def broadcasts() -> int:
    """Return how many events wait to be published, in all lanes."""
    queue = current.application().queue
    names = [name for name in queue.queues() if name.startswith("broadcasts")]
    return sum(queue.sizes(name).ready for name in names)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    url = f"sqlite:///{tmp_path}/checkout.sqlite3"
    monkeypatch.setenv("DATABASE_URL", url)
    module = import_example("checkout", "checkout")
    module.setup(models=module.Base, sessions=module.sessions)
    module.connect(url)
    module.stock("book", 10)
    module.SENT.clear()
    module.SALES.clear()
    yield module
    module.sessions.kw["bind"].dispose()


def history(checkout: Any, order_id: int) -> str:
    with checkout.sessions() as session:
        return str(session.get(checkout.Order, order_id).history)


def left(checkout: Any) -> int:
    with checkout.sessions() as session:
        return int(session.get(checkout.Product, "book").stock)


@pytest.mark.parametrize(
    ("ships", "steps"),
    [(True, "reserved paid labelled confirmed"), (False, "reserved paid confirmed")],
)
async def test_an_order_goes_through_its_chain(
    checkout: Any, settings: Settings, *, ships: bool, steps: str
) -> None:
    order_id = checkout.place_order(1, "book", 4_200, quantity=2, ships=ships)

    await work_until(
        lambda: "confirmed" in history(checkout, order_id), settings, "default", "mail"
    )

    assert (history(checkout, order_id), left(checkout)) == (steps, 8)


async def test_row_53_a_confirmed_order_is_told_by_mail_text_and_on_two_channels(
    checkout: Any, settings: Settings
) -> None:
    order_id = checkout.place_order(7, "book", 4_200, phone="+20 100")
    assert broadcasts() == 2  # one for each channel's lane

    await work_until(
        lambda: len(checkout.SENT) == 2 and checkout.SALES,
        settings, "default", "mail", "sms", "analytics",
    )  # fmt: skip

    mail, text = checkout.SENT
    assert mail == f"mail to user 7: order {order_id} is confirmed"
    assert text == f"text to +20 100: Your order #{order_id} is confirmed!"
    assert checkout.SALES == {"book": 4_200}


async def test_a_payment_that_fails_cancels_the_order(checkout: Any, settings: Settings) -> None:
    order_id = checkout.place_order(1, "book", 4_200_000)

    await work_until(
        lambda: "cancelled" in history(checkout, order_id), settings, "default", "mail"
    )

    assert (history(checkout, order_id), left(checkout)) == ("reserved cancelled", 10)


async def test_an_order_of_more_than_there_is_is_cancelled_at_once(
    checkout: Any, settings: Settings
) -> None:
    order_id = checkout.place_order(1, "book", 4_200, quantity=11)

    await work_until(lambda: history(checkout, order_id), settings, "default", "mail")

    (failed,) = current.application().failed_jobs.find()
    assert (history(checkout, order_id), failed.attempts) == ("cancelled", 1)
    assert "only 10 of book are left" in failed.error


async def test_an_order_that_is_rolled_back_queues_nothing(
    checkout: Any, settings: Settings
) -> None:
    with suppress(ZeroDivisionError), checkout.sessions() as session, session.begin():
        order = checkout.Order(user_id=1, sku="book", amount=1)
        session.add(order)
        session.flush()
        checkout.ProcessPayment(order=checkout.Ref(order)).dispatch(after_commit=True)
        checkout.emit(checkout.OrderPlaced(order.id, 1, "book", 1), after_commit=True)
        raise ZeroDivisionError

    assert current.application().queue.sizes("default").ready == 0
    assert current.application().queue.sizes("analytics").ready == 0
    assert broadcasts() == 0


@pytest.fixture
def videos() -> Any:
    module = import_example("videos", "videos")
    module.VIDEOS.clear()
    module.MAILS.clear()
    return module


async def test_a_video_is_processed_and_its_owner_told(
    videos: Any, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "cat.mov").write_bytes(b"x" * 5_000)

    await videos.upload(1, 7, tmp_path / "cat.mov")
    await work_until(lambda: videos.MAILS, settings, "videos", "mail")

    assert videos.VIDEOS[1].log == ["processing", "completed"]
    assert videos.VIDEOS[1].seconds == 5
    assert videos.MAILS == ["to 7: your video is at https://cdn.example.com/cat.mp4"]
    assert broadcasts() == 1


async def test_a_video_that_cannot_be_processed_is_tried_again_and_then_told(
    videos: Any, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "empty.mov").touch()
    videos.VIDEOS[1] = videos.Video(1, 7, tmp_path / "empty.mov")

    await videos.ProcessVideo(video_id=1).adispatch(backoff=0, tries=3)
    await work_until(lambda: videos.MAILS, settings, "videos", "mail")

    assert videos.VIDEOS[1].log == ["processing"] * 3 + ["failed"]
    assert videos.MAILS == ["to 7: empty.mov could not be processed"]


@pytest.fixture
def imports() -> Any:
    module = import_example("imports", "imports")
    module.USERS.clear()
    module.NOTES.clear()
    return module


def people(tmp_path: Path, *emails: str) -> Path:
    rows = "".join(f"{email.partition('@')[0]},{email}\n" for email in emails)
    (tmp_path / "users.csv").write_text(f"name,email\n{rows}", encoding="utf-8")
    return tmp_path / "users.csv"


async def test_an_import_runs_in_chunks_and_tells_when_it_is_done(
    imports: Any, settings: Settings, tmp_path: Path
) -> None:
    path = people(tmp_path, "a@x", "b@x", "c@x", "d@x", "e@x")

    made = imports.import_users(path, "Ada")
    await work_until(lambda: len(imports.NOTES) == 2, settings, "imports")

    assert sorted(imports.USERS) == ["a@x", "b@x", "c@x", "d@x", "e@x"]
    assert sorted(imports.NOTES) == ["Ada: 3 chunks imported", "finished at 100 %"]
    done = made.fresh()
    assert (done.total_jobs, done.pending_jobs, done.failed_jobs) == (3, 0, 0)


async def test_rows_24_to_26_an_import_is_looked_at_added_to_and_cancelled(
    imports: Any, settings: Settings, tmp_path: Path
) -> None:
    path = people(tmp_path, "a@x", "b@x", "c@x")
    made = imports.import_users(path, "Ada")

    imports.add_file(made.id, path)
    before = imports.how_far(made.id)
    imports.cancel(made.id)
    await work(settings, "imports")

    assert (before["progress"], before["total"], before["pending"]) == (0, 4, 4)
    after = imports.how_far(made.id)
    assert (after["cancelled"], after["failed"]) == (True, 0)
    assert imports.USERS == {}
    assert imports.how_far("nonsense") == {"error": "there is no such import"}


async def test_an_import_with_a_bad_row_goes_on_and_is_retried_when_it_is_mended(
    imports: Any, settings: Settings, tmp_path: Path
) -> None:
    path = people(tmp_path, "a@x", "nonsense", "c@x", "d@x")

    made = imports.import_users(path, "Ada")
    await work_until(lambda: len(imports.NOTES) == 2, settings, "imports")
    assert sorted(imports.USERS) == ["a@x", "c@x", "d@x"]
    assert sorted(imports.NOTES) == ["Ada: an import has errors", "finished at 50 %"]

    people(tmp_path, "a@x", "b@x", "c@x", "d@x")
    made.retry_failed()
    await work_until(lambda: len(imports.NOTES) > 2, settings, "imports")

    assert "b@x" in imports.USERS
    assert "Ada: 2 chunks imported" in imports.NOTES


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EXPORT_FOLDER", str(tmp_path))
    return import_example("exports", "exports")


async def test_an_export_is_accepted_and_tells_how_far_it_is(
    exports: Any, settings: Settings
) -> None:
    transport = httpx.ASGITransport(app=exports.app)
    ada, grace = ({"Authorization": f"Bearer {name}-token"} for name in ("ada", "grace"))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/events/7/export", headers=ada)
        status_url = answer.headers["location"]
        before = await client.get(status_url, headers=ada)
        await work(settings, "exports")
        after = await client.get(status_url, headers=ada)
        others = await client.get(status_url, headers=grace)
        file = await client.get(after.json()["result_url"])

    assert (answer.status_code, before.json()["status"]) == (202, "pending")
    assert (after.json()["status"], after.json()["progress"]) == ("completed", 100)
    assert others.status_code == 404
    assert file.text.split() == ["name", "Ada", "Grace", "Hedy", "Radia"]
    # processing, four rows, the result, completed
    assert broadcasts() >= 6


async def test_an_export_of_nothing_says_why_it_failed(exports: Any, settings: Settings) -> None:
    transport = httpx.ASGITransport(app=exports.app)
    ada = {"Authorization": "Bearer ada-token"}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post("/events/8/export", headers=ada)
        await work(settings, "exports")
        status = (await client.get(answer.headers["location"], headers=ada)).json()
        nobody = await client.post("/events/7/export")
        nothing = await client.post("/events/9/export", headers=ada)

    assert (status["status"], status["error"]) == ("failed", "nobody attends this event")
    assert (nobody.status_code, nothing.status_code) == (401, 404)


@pytest.fixture
def deliveries(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = import_example("deliveries", "deliveries")
    module.LOG.clear()
    return module


def answers(
    deliveries: Any, monkeypatch: pytest.MonkeyPatch, *responses: httpx.Response
) -> list[str]:
    asked: list[str] = []
    waiting = list(responses)

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.content.decode())
        return waiting.pop(0)

    monkeypatch.setattr(deliveries.Http, "transport", httpx.MockTransport(handle))
    return asked


def webhook(deliveries: Any) -> Any:
    return deliveries.SendWebhook(url="http://hooks.test/", payload={"id": 1}, headers={})


async def test_row_60_a_webhook_is_sent_again_after_a_server_error(
    deliveries: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(deliveries, monkeypatch, httpx.Response(503), httpx.Response(204))

    await webhook(deliveries).adispatch(backoff=0)
    await work_until(lambda: deliveries.LOG, settings, "webhooks")

    assert asked == ['{"id":1}'] * 2
    assert deliveries.LOG == [("http://hooks.test/", 204)]


async def test_row_60_a_webhook_waits_as_long_as_its_backoff_says(
    deliveries: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(deliveries, monkeypatch, httpx.Response(503))

    await webhook(deliveries).adispatch()
    await work(settings, "webhooks")

    assert current.application().queue.sizes("webhooks").delayed == 1


@pytest.mark.parametrize("status", [400, 410])
async def test_row_60_a_webhook_that_is_refused_is_given_up(
    deliveries: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    asked = answers(deliveries, monkeypatch, httpx.Response(status))

    await webhook(deliveries).adispatch()
    await work(settings, "webhooks")

    (failed,) = current.application().failed_jobs.find()
    assert len(asked) == 1
    assert f"the receiver answered {status}" in failed.error


async def test_a_webhook_waits_for_whom_is_asked_too_much(
    deliveries: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = httpx.Response(429, headers={"Retry-After": "1"})
    asked = answers(deliveries, monkeypatch, slow, httpx.Response(200))

    await webhook(deliveries).adispatch(tries=1)
    await work(settings, "webhooks")
    assert current.application().queue.sizes("webhooks").delayed == 1
    await work_until(lambda: len(asked) == 2, settings, "webhooks")

    assert len(asked) == 2
    assert deliveries.patience(httpx.Response(429)) == 60
    assert deliveries.patience(httpx.Response(429, headers={"Retry-After": "99999"})) == 3_600


async def test_the_same_webhook_is_not_queued_twice(deliveries: Any, settings: Settings) -> None:
    first = await webhook(deliveries).adispatch()

    assert await webhook(deliveries).adispatch() == Skipped(str(first))


@pytest.fixture
def mails() -> Any:
    module = import_example("mail", "mails")
    module.SENT.clear()
    return module


async def test_rows_30_31_and_53_no_user_gets_more_mails_than_the_limit(
    mails: Any, settings: Settings
) -> None:
    for number in range(12):
        await mails.SendMail(user_id=1, template=f"t{number}", data={}).adispatch()
    await mails.SendMail(user_id=2, template="welcome", data={}).adispatch()

    await work(settings, "mail")

    assert sum(user_id == 1 for user_id, _ in mails.SENT) == 10
    assert (2, "welcome") in mails.SENT
    sizes = current.application().queue.sizes("mail")
    assert (sizes.delayed, sizes.failed) == (2, 0)


async def test_the_provider_gets_no_more_mails_than_it_takes(
    mails: Any, settings: Settings
) -> None:
    for user_id in range(33):
        await mails.SendMail(user_id=user_id, template="news", data={}).adispatch()

    await work(settings, "mail")

    assert len(mails.SENT) == 30
    assert current.application().queue.sizes("mail").delayed == 3


def test_payloads_of_examples_hold_no_rows(checkout: Any, settings: Settings) -> None:
    """What is queued refers to rows; a worker reads them again."""
    with checkout.sessions() as session, session.begin():
        order = checkout.Order(user_id=1, sku="book", amount=4_200)
        session.add(order)
        session.flush()
        payload = checkout.ProcessPayment(order=checkout.Ref(order)).encode_fields()

        assert payload == {"order": {"model": "sqlalchemy:Order", "key": order.id}}
