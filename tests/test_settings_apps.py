"""Several apps in the settings: read, checked, and one of them chosen."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.contracts.apps import Webhook
from broadcaster.errors import ConfigurationError, NotConfigured
from broadcaster.settings import Settings, load_settings
from tests.test_settings import write_dev

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SHOP = '[[apps]]\nid = "shop"\nkey = "shop-key"\nsecret = "shop-hunter2"\n'
BLOG = '[[apps]]\nid = "blog"\nkey = "blog-key"\nsecret = "blog-hunter2"\n'
SINGLE = '[app]\nid = "one"\nkey = "one-key"\nsecret = "one-hunter2"\n'
ENV = {"BROADCASTER_APP_ID": "env", "BROADCASTER_APP_KEY": "env-key", "BROADCASTER_APP_SECRET": "x"}
KEY = "bW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW0="


def load(tmp_path: Path, text: str, env: Mapping[str, str] | None = None) -> Settings:
    (tmp_path / "broadcaster.toml").write_text(text)
    return load_settings({}, cwd=tmp_path, environ=env or {})


def refused(tmp_path: Path, text: str, env: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text, env)
    assert "hunter2" not in caught.value.message
    return caught.value.message


def ids(settings: Settings) -> list[str]:
    return [app.id for app in settings.apps]


# -- reading --------------------------------------------------------------------------


def test_apps_are_read_in_order_with_all_they_say(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        f'{SHOP}enabled = false\nserver_events = true\njwks_url = "https://id.example/keys"\n'
        f'encryption_key = "{KEY}"\n'
        '[apps.limits]\nmax_connections = 5\nallowed_origins = ["shop.example"]\n'
        '[[apps.webhooks]]\nurl = "https://shop.example/a"\n'
        f'[[apps.webhooks]]\nurl = "https://shop.example/b"\nbatch = true\n{BLOG}',
    )
    shop, blog = settings.listed

    assert (shop.id, shop.key, shop.secret) == ("shop", "shop-key", "shop-hunter2")
    assert (shop.enabled, shop.server_events) == (False, True)
    assert shop.jwks_url == "https://id.example/keys"
    assert shop.encryption_key == b"m" * 32
    assert shop.limits.max_connections == 5
    assert shop.limits.allowed_origins == ("shop.example",)
    assert [hook.url for hook in shop.webhooks] == [
        "https://shop.example/a",
        "https://shop.example/b",
    ]
    assert (blog.enabled, blog.webhooks, blog.limits) == (True, (), settings.limits)


def test_they_are_read_from_pyproject_too(tmp_path: Path) -> None:
    text = SHOP.replace("[[apps]]", "[[tool.broadcaster.apps]]")
    (tmp_path / "pyproject.toml").write_text(text)

    assert ids(load_settings({}, cwd=tmp_path, environ={})) == ["shop"]


def test_the_environment_may_hold_all_of_them(tmp_path: Path) -> None:
    """And wins over the file, as with every setting: lists are not mixed."""
    apps = [{"id": "json", "key": "json-key", "secret": "s", "limits": {"max_channels": 3}}]

    settings = load(tmp_path, SHOP, {"BROADCASTER_APPS": json.dumps(apps)})

    assert ids(settings) == ["json"]
    assert settings.apps[0].limits.max_channels == 3
    assert settings.sources["apps"] == "environment BROADCASTER_APPS"


def test_the_limits_of_the_single_app_are_the_base_of_all(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        f"[app.limits]\nmax_channels = 7\npresence_members = 9\n{SHOP}"
        "[apps.limits]\nmax_channels = 3\n",
        {"BROADCASTER_APP__LIMITS__MAX_EVENT_NAME": "50"},
    )
    [shop] = settings.listed

    assert shop.limits.max_channels == 3
    assert shop.limits.presence_members == 9
    assert shop.limits.max_event_name == 50
    assert settings.limits.max_channels == 7


def test_the_single_app_says_all_that_the_others_can(tmp_path: Path) -> None:
    app = load(
        tmp_path,
        f'{SINGLE}enabled = false\nserver_events = true\nencryption_key = "{KEY}"\n'
        '[[app.webhooks]]\nurl = "https://one.example"\nevents = ["client_event"]\n',
    ).require_app()

    assert (app.enabled, app.server_events, app.encryption_key) == (False, True, b"m" * 32)
    assert app.webhooks == (Webhook(url="https://one.example", events=("client_event",)),)


def test_so_does_the_environment(tmp_path: Path) -> None:
    app = load(
        tmp_path,
        "",
        {
            **ENV,
            "BROADCASTER_APP_ENCRYPTION_KEY": KEY,
            "BROADCASTER_APP__ENABLED": "no",
            "BROADCASTER_APP__SERVER_EVENTS": "yes",
            "BROADCASTER_APP__WEBHOOKS": '[{"url": "https://one.example"}]',
        },
    ).require_app()

    assert (app.enabled, app.server_events, app.encryption_key) == (False, True, b"m" * 32)
    assert app.webhooks == (Webhook(url="https://one.example"),)


def test_an_encryption_key_goes_only_with_the_credentials_of_its_source(tmp_path: Path) -> None:
    """A master key of one app must not encrypt for another."""
    text = f'{SINGLE}encryption_key = "{KEY}"\n'

    assert load(tmp_path, text).require_app().encryption_key
    assert load(tmp_path, text, ENV).require_app().encryption_key is None


# -- secrets elsewhere ----------------------------------------------------------------


def test_secrets_may_stay_in_the_environment(tmp_path: Path) -> None:
    text = (
        '[[apps]]\nid = "shop"\nkey = "k"\nsecret_env = "SHOP_SECRET"\n'
        'grant_key_env = "SHOP_GRANT"\nencryption_key_env = "SHOP_MASTER"\n'
    )
    env = {"SHOP_SECRET": "s", "SHOP_GRANT": "g" * 32, "SHOP_MASTER": KEY}

    [shop] = load(tmp_path, text, env).listed

    assert (shop.secret, shop.encryption_key) == ("s", b"m" * 32)
    assert shop.grant_keys[0][2] == "g" * 32


def test_or_in_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SHOP_SECRET=dotenv\n")
    text = '[[apps]]\nid = "shop"\nkey = "k"\nsecret_env = "SHOP_SECRET"\n'

    assert load(tmp_path, text).apps[0].secret == "dotenv"
    assert load(tmp_path, text, {"SHOP_SECRET": "env"}).apps[0].secret == "env"


@pytest.mark.parametrize(
    ("line", "env", "says"),
    [
        ('secret_env = "NO_SUCH"', {}, "secret_env names 'NO_SUCH', which is not set"),
        ('secret_env = "EMPTY"', {"EMPTY": ""}, "which is not set"),
        ('secret_env = "S"\nsecret = "hunter2"', {"S": "s"}, "has both secret and secret_env"),
        ("secret_env = 1", {}, "must be the name of an environment variable"),
        ('secret_env = "S"', {"S": "hunter2\n"}, "secret must be 1 to 256 characters without"),
        ('secrets_env = "S"', {}, "did you mean 'secret_env'?"),
    ],
)
def test_a_variable_that_does_not_help_is_explained(
    tmp_path: Path, line: str, env: dict[str, str], says: str
) -> None:
    message = refused(tmp_path, f'[[apps]]\nid = "shop"\nkey = "k"\n{line}\n', env)

    assert message.startswith("[[apps]] #1 in broadcaster.toml")
    assert says in message


# -- mistakes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SHOP + BLOG.replace("blog-key", "a b"), "[[apps]] #2 in broadcaster.toml (id 'blog'): key"),
        (SHOP + "secert = 1\n", "[[apps]] #1 in broadcaster.toml: unknown setting 'secert' - did"),
        (SHOP + "[apps.limits]\nmax_chanels = 1\n", "did you mean 'limits.max_channels'?"),
        (SHOP + "[apps.limits]\nmax_channels = 0\n", "(id 'shop'): limits.max_channels must be a"),
        (SHOP + '[[apps.webhooks]]\nurl = "x"\n', "(id 'shop'): webhooks #1: the webhook URL"),
        (SHOP + BLOG.replace('"blog"', '"shop"'), "#2 in broadcaster.toml has the id 'shop' of #1"),
        (SHOP + BLOG.replace("blog-key", "shop-key"), "has the key 'shop-key' of #1"),
        (SHOP.replace('"shop"', "1"), "id must be text in quotes"),
        ("[apps]\nid = 1\n", "apps (from broadcaster.toml) must be a list of tables"),
        ("apps = [1]\n", "[[apps]] #1 in broadcaster.toml must be a table"),
        ("apps = 'x'\n", "must be a list of tables"),
        (f"{SINGLE}[[app.webhooks]]\nurl = 'x'\n", "[app] in broadcaster.toml: webhooks #1"),
        (f"{SINGLE}webhooks = 1\n", "[app] in broadcaster.toml: webhooks must be a list"),
        (f"{SINGLE}encryption_key = 'hunter2'\n", "app.encryption_key must be 32 bytes in Base64"),
        (f"{SINGLE}[app.limits]\nallowed_origins = ['a:1']\n", "must name hosts only"),
        (f"{SINGLE}enabled = 3\n", "app.enabled must be true or false"),
        (SINGLE + BLOG.replace('"blog"', '"one"'), "has the id of one in [[apps]] ('one'), but not"),
        (SINGLE + BLOG.replace("blog-key", "one-key"), "has the key of one in [[apps]] ('blog')"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_file_the_app_and_the_field(
    tmp_path: Path, text: str, says: str
) -> None:
    assert says in refused(tmp_path, text)


@pytest.mark.parametrize("value", ["x", "{}", "1", "[", "[1]", "[" * 100_000])
def test_a_list_in_the_environment_must_be_json(tmp_path: Path, value: str) -> None:
    assert "environment BROADCASTER_APPS" in refused(tmp_path, "", {"BROADCASTER_APPS": value})


def test_more_than_a_file_should_hold_is_refused(tmp_path: Path) -> None:
    apps = [{"id": f"a{n}", "key": f"k{n}", "secret": "s"} for n in range(1_001)]

    message = refused(tmp_path, "", {"BROADCASTER_APPS": json.dumps(apps)})

    assert "1000 are the most: add more with `broadcaster app add`" in message


# -- choosing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "env", "chosen", "all_of_them"),
    [
        (SINGLE, {}, "one", ["one"]),
        (SHOP, {}, "shop", ["shop"]),
        (SINGLE + SHOP + BLOG, {}, "one", ["one", "shop", "blog"]),
        (SHOP + BLOG, ENV, "env", ["env", "shop", "blog"]),
        (SHOP + BLOG, {"BROADCASTER_APP_ID": "blog"}, "blog", ["blog", "shop"]),
        (SHOP + BLOG, {"REVERB_APP_ID": "blog"}, "blog", ["blog", "shop"]),
        (SHOP + BLOG + "[broadcast]\napp = 'blog'\n", {}, "blog", ["blog", "shop"]),
        (SINGLE + BLOG + "[broadcast]\napp = 'blog'\n", {}, "blog", ["blog"]),
        (SHOP + BLOG, {"BROADCASTER_BROADCAST__APP": "shop"}, "shop", ["shop", "blog"]),
        (
            SHOP + BLOG + "[broadcast]\napp = 'shop'\n",
            {"BROADCASTER_APP_ID": "blog"},
            "shop",
            ["shop", "blog"],
        ),
        ('[app]\nid = "blog"\n' + SHOP + BLOG, {}, "blog", ["blog", "shop"]),
        (
            SHOP + BLOG,
            {
                "BROADCASTER_APP_ID": "shop",
                "BROADCASTER_APP_KEY": "shop-key",
                "BROADCASTER_APP_SECRET": "shop-hunter2",
            },
            "shop",
            ["shop", "blog"],
        ),
    ],
)
def test_one_is_chosen_to_publish_for(
    tmp_path: Path, text: str, env: dict[str, str], chosen: str, all_of_them: list[str]
) -> None:
    settings = load(tmp_path, text, env)

    assert settings.require_app().id == chosen
    assert ids(settings) == all_of_them
    assert settings.require_apps() == settings.apps


def test_credentials_that_repeat_a_listed_app_mean_that_one(tmp_path: Path) -> None:
    """A backend has three variables; what else its app is stands in the shared file."""
    env = {
        "BROADCASTER_APP_ID": "shop",
        "BROADCASTER_APP_KEY": "shop-key",
        "BROADCASTER_APP_SECRET": "shop-hunter2",
    }

    settings = load(tmp_path, f"{SHOP}[apps.limits]\nmax_channels = 3\n", env)

    assert settings.require_app().limits.max_channels == 3


def test_several_without_a_choice_are_served_but_not_published_for(tmp_path: Path) -> None:
    settings = load(tmp_path, SHOP + BLOG)

    assert settings.app is None
    assert [app.id for app in settings.require_apps()] == ["shop", "blog"]
    with pytest.raises(NotConfigured) as caught:
        settings.require_app()
    assert str(caught.value) == (
        "several apps are configured (shop, blog) and none is chosen: set broadcast.app or "
        "BROADCASTER_APP_ID to one of them"
    )


def test_a_choice_of_nobody_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, SHOP + BLOG, {"BROADCASTER_BROADCAST__APP": "shpo"})

    assert message == (
        "no app has the id 'shpo' (from environment BROADCASTER_BROADCAST__APP) - did you mean "
        "'shop'?; there are: shop, blog"
    )


@pytest.mark.parametrize("text", [SHOP, SHOP + BLOG, SINGLE + SHOP])
def test_an_id_of_nobody_chooses_no_other_app(tmp_path: Path, text: str) -> None:
    write_dev(tmp_path)

    message = refused(tmp_path, text, {"BROADCASTER_APP_ID": "blgo"})

    assert message.startswith("no app has the id 'blgo' (from environment BROADCASTER_APP_ID)")


def test_an_id_alone_may_be_that_of_a_complete_set(tmp_path: Path) -> None:
    settings = load(tmp_path, SINGLE + SHOP, {"BROADCASTER_APP_ID": "one"})

    assert settings.require_app().key == "one-key"


def test_an_id_of_nobody_is_an_incomplete_set(tmp_path: Path) -> None:
    """As it is without [[apps]]: a set that lacks its key and secret."""
    settings = load(tmp_path, "", {"BROADCASTER_APP_ID": "7"})

    assert "lacks BROADCASTER_APP_KEY" in settings.app_problem


@pytest.mark.parametrize(
    ("text", "chosen"), [(SHOP, "shop"), (SHOP + BLOG, "123"), ("", "123"), (SINGLE, "one")]
)
def test_a_running_dev_is_asked_last(tmp_path: Path, text: str, chosen: str) -> None:
    write_dev(tmp_path)

    assert load(tmp_path, text).require_app().id == chosen


def test_a_lone_id_is_not_answered_with_the_app_of_a_running_dev(tmp_path: Path) -> None:
    write_dev(tmp_path)

    settings = load(tmp_path, "", {"BROADCASTER_APP_ID": "tenant"})

    with pytest.raises(NotConfigured, match="set the key and the secret of 'tenant' too") as caught:
        settings.require_app()
    assert "environment BROADCASTER_APP_ID asks for the app 'tenant'" in caught.value.message
    assert "`broadcaster dev` has the app '123'" in caught.value.message
    assert load(tmp_path, "", {"BROADCASTER_APP_ID": "123"}).require_app().key == "dev-key"


def test_a_server_whose_apps_are_all_in_redis_says_so(tmp_path: Path) -> None:
    """Else forgotten credentials would be found out by the pages that are turned away."""
    with pytest.raises(NotConfigured):
        load(tmp_path, "").require_apps()
    with pytest.raises(NotConfigured):
        load(tmp_path, "[gateway]\ndynamic_apps = false\n").require_apps()

    assert load(tmp_path, "[gateway]\ndynamic_apps = true\n").require_apps() == ()


def test_secrets_do_not_show_in_the_representation(tmp_path: Path) -> None:
    env: dict[str, Any] = {}

    assert "hunter2" not in repr(load(tmp_path, SINGLE + SHOP + BLOG, env))
    assert os.environ.get("BROADCASTER_APPS") is None
