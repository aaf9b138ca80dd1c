"""Which of several apps a backend works for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest

from broadcaster import context, current
from broadcaster.context import using_app
from broadcaster.contracts.apps import App, AppLimits
from broadcaster.current import credentials
from broadcaster.drivers.redis.apps import RedisApps
from broadcaster.errors import ConfigurationError, DriverUnavailable, NotConfigured
from broadcaster.events.anonymous import on
from broadcaster.settings import BroadcastSettings, GatewaySettings, QueueSettings, Settings
from broadcaster.wiring.backend import Backend
from broadcaster.wiring.backend_apps import BackendApps
from broadcaster.worker.broadcasts import read_publication
from tests.events.recording import RecordingApplication

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.protocol.app_table import AppTable
    from tests.faults import FaultyServer

SHOP = App(id="shop", key="shop-key", secret="s")
BLOG = App(id="blog", key="blog-key", secret="b")
NEWS: AppTable = {"id": "news", "key": "news-key", "secret": "n"}


@pytest.fixture(autouse=True)
def nothing_configured() -> Iterator[None]:
    yield
    current.reset()


def backend(**said: Any) -> Backend:
    options: dict[str, Any] = {"app": SHOP, "listed": (SHOP, BLOG), **said}
    made = Backend(Settings(**options))
    current.use(made)
    return made


def test_the_app_of_the_settings_is_meant_unless_another_is_chosen() -> None:
    made = backend()

    with using_app("blog"):
        inside = (made.app, made.app_id, credentials())
    outside = (made.app, made.app_id, credentials())

    assert inside == (BLOG, "blog", BLOG)
    assert outside == (SHOP, "shop", SHOP)


@pytest.mark.parametrize("driver", ["log", "null"])
def test_a_driver_that_sends_nothing_needs_no_credentials(driver: Literal["log", "null"]) -> None:
    """As in a test run; what would be sent with a broken configuration is still refused."""
    broadcasts = BroadcastSettings(driver=driver)
    backend(app=None, listed=(), broadcast=broadcasts, queue=QueueSettings(driver="sync"))

    on("news").as_("Published").send()

    backend(app=None, listed=(), broadcast=BroadcastSettings(driver="redis"))
    with pytest.raises(NotConfigured, match="no app credentials were found"):
        on("news").as_("Published").send()


def test_blocks_nest_and_end_with_an_error_too() -> None:
    made = backend()

    with using_app("blog"):
        with pytest.raises(ZeroDivisionError), using_app("shop"):
            _ = made.app_id, 1 / 0
        assert made.app_id == "blog"
    assert context.app_id.get() is None


async def test_each_task_has_its_own() -> None:
    made = backend()

    async def ask(app_id: str) -> str:
        with using_app(app_id):
            await asyncio.sleep(0)
            return made.app_id

    answers = await asyncio.gather(ask("shop"), ask("blog"), ask("shop"))

    assert answers == ["shop", "blog", "shop"]  # type: ignore[comparison-overlap] # a list, whatever the stub says


def test_an_endpoint_may_sign_for_one_app_always() -> None:
    backend()

    with using_app("shop"):
        assert credentials.of("blog")() is BLOG


def test_several_apps_and_no_choice_is_an_error_that_says_how_to_choose() -> None:
    problem = "several apps are configured (shop, blog) and none is chosen: set broadcast.app"
    made = backend(app=None, app_problem=problem)

    with pytest.raises(NotConfigured, match="none is chosen"):
        _ = made.app_id
    with using_app("blog"):
        assert made.app is BLOG


@pytest.mark.parametrize("wrong", ["", "a b", "q", "a/b"])
def test_what_cannot_be_an_id_is_refused_at_once(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="id of an app must be letters"), using_app(wrong):
        pass


def test_an_id_of_nobody_is_named_with_those_there_are() -> None:
    made = backend(gateway=GatewaySettings(dynamic_apps=False))

    with using_app("blogg"):
        for ask in (lambda: made.app, lambda: made.app_id):
            with pytest.raises(NotConfigured, match=r"did you mean 'blog'.*have: shop, blog\."):
                ask()


def test_events_are_those_of_the_chosen_app() -> None:
    """Shaped at the call, so a worker needs to know nothing of it."""

    class Recording(RecordingApplication):
        @property
        def app_id(self) -> str:
            return context.app_id.get() or "shop"

        @app_id.setter
        def app_id(self, value: str) -> None:
            del value

    application = Recording()
    current.use(application)

    on("a").send()
    with using_app("blog"):
        on("a").send()

    sent = [read_publication(payload).app_id for payload in application.payloads()]
    assert sent == ["shop", "blog"]


@pytest.mark.redis
async def test_apps_that_redis_holds_are_found(clients: RedisClients) -> None:
    store = RedisApps(clients)
    await store.put({**NEWS, "limits": {"max_channels": 3}}, replacing=None)
    made = backend(
        redis_url=clients.url, prefix=clients.prefix, limits=AppLimits(presence_members=7)
    )

    with using_app("news"):
        news = made.app
    with pytest.raises(NotConfigured, match="and Redis holds none"):
        made.find_app("nobody")
    made.close()

    assert (news.id, news.secret) == ("news", "n")
    assert news.limits == AppLimits(max_channels=3, presence_members=7)


@pytest.mark.redis
async def test_a_new_secret_is_seen_after_a_moment(clients: RedisClients) -> None:
    store = RedisApps(clients)
    await store.put(NEWS, replacing=None)
    now = [0.0]
    settings = Settings(app=SHOP, redis_url=clients.url, prefix=clients.prefix)
    apps = BackendApps(settings, lambda: clients, lambda: now[0])

    secrets = [apps.find("news").secret]
    await store.put({**NEWS, "secret": "another"}, replacing=NEWS)
    secrets.append(apps.find("news").secret)
    now[0] = 6.0
    secrets.append(apps.find("news").secret)

    assert secrets == ["n", "n", "another"]


@pytest.mark.redis
async def test_publishing_does_not_ask_redis_who_an_app_is(redis_server: FaultyServer) -> None:
    made = backend(redis_url=redis_server.url)
    redis_server.stop()

    with using_app("news"):
        assert made.app_id == "news"
        with pytest.raises(DriverUnavailable):
            _ = made.app
    made.close()


def test_the_http_driver_signs_as_the_app_of_each_event() -> None:
    publisher: Any = backend().driver("pusher")

    with publisher._used("shop") as shop, publisher._used("blog") as blog:
        assert (shop.driver._app, blog.driver._app) == (SHOP, BLOG)
    with publisher._used("shop") as again:
        assert again is shop
