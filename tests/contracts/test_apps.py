"""Apps of a settings file."""

from __future__ import annotations

from broadcaster_auth.verifier import SubscriptionVerifier

from broadcaster.contracts.apps import App, StaticApps
from broadcaster.errors import InvalidSignature
from broadcaster.protocol.signing import sign_channel

SHOP = App(id="1", key="shop-key", secret="s" * 32)
BLOG = App(id="2", key="blog-key", secret="b" * 32)
APPS = StaticApps(SHOP, BLOG)


def test_apps_are_found_by_id_and_by_key() -> None:
    assert (APPS.by_id("2"), APPS.by_key("shop-key")) == (BLOG, SHOP)
    assert (APPS.by_id("3"), APPS.by_key("other")) == (None, None)


def test_a_refusal_can_name_a_secret_that_was_mixed_up() -> None:
    """Apps can be listed, so the likely cause is found instead of guessed."""
    auth = sign_channel(SHOP.key, BLOG.secret, socket_id="1.2", channel="private-a")
    error = InvalidSignature("wrong", code="auth_mismatch")

    cause = SubscriptionVerifier().explain_refusal(
        SHOP, APPS, error, auth=auth, socket_id="1.2", channel="private-a", channel_data=None, now=0
    )

    assert list(APPS) == [SHOP, BLOG]
    assert "secret of another app" in cause
