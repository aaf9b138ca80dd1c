"""Redis URLs that name sentinels."""

from __future__ import annotations

import pytest

from broadcaster.drivers.redis.sentinel_urls import SentinelUrl, parse_sentinel_url
from broadcaster.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        (
            "redis+sentinel://a:1,b/shop",
            SentinelUrl((("a", 1), ("b", 26_379)), "shop", 0, {}, {}, secure=False),
        ),
        (
            "rediss+sentinel://me:p%40ss@[::1]:5/shop/3?sentinel_password=s",
            SentinelUrl(
                (("::1", 5),),
                "shop",
                3,
                {"username": "me", "password": "p@ss"},
                {"password": "s"},
                secure=True,
            ),
        ),
        (
            "rediss+sentinel://a/shop?sentinel_ssl=true&ssl_ca_certs=/ca.pem&ssl_check_hostname=no",
            SentinelUrl(
                (("a", 26_379),),
                "shop",
                0,
                {},
                {},
                secure=True,
                sentinel_secure=True,
                tls={"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False},
            ),
        ),
    ],
)
def test_the_url_names_sentinels_and_service(url: str, parsed: SentinelUrl) -> None:
    assert parse_sentinel_url(url) == parsed


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://a:1", "must name the sentinels"),
        ("redis+sentinel:///shop", "must name the sentinels"),
        ("redis+sentinel://a:x/shop", "the port"),
        ("redis+sentinel://a/shop/x", "the database"),
        ("redis+sentinel://a/shop?sentinel_pass=s", "an option 'sentinel_pass'"),
        ("redis+sentinel://a/shop?sentinel_ssl=maybe", "sentinel_ssl in the Redis URL must be"),
    ],
)
def test_wrong_urls_are_explained(url: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parse_sentinel_url(url)
