"""S6: which pages may connect."""

from __future__ import annotations

import pytest

from broadcaster.protocol.origins import origin_allowed, origin_problem

ALLOWED = ("Example.com", "*.Example.org", "127.0.0.1", "[::1]", "2001:db8::1")


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "http://example.com",
        "https://EXAMPLE.com:8443",
        "https://example.com.",
        "http://shop.example.org",
        "http://a.b.example.org:3000",
        "capacitor://example.com",
        "http://127.0.0.1:5173",
        "http://[::1]:5173",
        "http://[2001:DB8::1]",
        "http://[2001:db8:0:0::1]",
    ],
)
def test_hosts_are_compared_whatever_the_scheme_and_port(origin: str) -> None:
    assert origin_allowed(origin, ALLOWED)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil-example.com",
        "https://example.com.evil.org",
        "https://evil-example.org",
        "https://example.org",
        "https://.example.org.evil.org",
        "https://evil.org/.example.org",
        "https://evil.org?.example.org",
        "https://evil.org#.example.org",
        "https://evil.org\\.example.org",
        "https://evil.org:443.example.org",
        "https://example.com@evil.org",
        "https://evil.org@example.com",
        "https://example.com:port",
        "https://example.com:443:80",
        "https://example.com evil.org",
        "https://example.com, https://evil.org",
        "https://example.com\n",
        "https://ex\u0430mple.com",
        "https://\uff45xample.com",
        "null",
        "example.com",
        "//example.com",
        "https:example.com",
        "https://",
        "https://[::1",
        "https://::1",
        "https://[::2]",
        "http://[::ffff:127.0.0.1]",
        "http://127.0.0.1.evil.org",
        "file://",
        "*",
    ],
)
def test_nothing_that_only_looks_like_an_allowed_host_is_one(origin: str) -> None:
    assert not origin_allowed(origin, ALLOWED)


def test_a_client_that_is_no_browser_sends_none_and_is_admitted() -> None:
    """It could send any: its signatures and tokens are what protects an app."""
    assert origin_allowed("", ALLOWED)


@pytest.mark.parametrize("origin", ["null", "https://anything.example", "https://[::1", "x"])
def test_an_app_that_names_no_hosts_admits_all(origin: str) -> None:
    assert origin_allowed(origin, ("*",))
    assert origin_allowed(origin, ("example.com", "*"))


@pytest.mark.parametrize("origin", ["https://example.com", "null"])
def test_an_empty_list_admits_no_page(origin: str) -> None:
    assert not origin_allowed(origin, ())


@pytest.mark.parametrize("pattern", ["*", *ALLOWED, "localhost", "::1", "xn--bcher-kva.example"])
def test_patterns_are_hosts(pattern: str) -> None:
    assert origin_problem(pattern) == ""


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("https://shop.example", "without scheme"),
        ("shop.example:8443", "without scheme"),
        ("a:1", "without scheme"),
        ("shop.example/", "without scheme"),
        ("null", "any sandboxed frame"),
        ("*.*.example", "'*.' and a host"),
        ("shop*.example", "'*.' and a host"),
        ("*example.com", "'*.' and a host"),
        ("*.", "'*.' and a host"),
        ("", "'*.' and a host"),
        ("b\u00fccher.example", "xn--"),
        ("a b", "'*.' and a host"),
        ("a.example, b.example", "'*.' and a host"),
    ],
)
def test_patterns_that_could_never_match_or_match_too_much_are_explained(
    pattern: str, says: str
) -> None:
    assert says in origin_problem(pattern)
