"""
End-to-end encryption of ``private-encrypted-`` channels: the parts that are arithmetic.

Each channel has a secret of its own, made from its name and the app's master key. What is
published is the NaCl secretbox of the event's data under that secret, as JSON text
``{"nonce": Base64, "ciphertext": Base64}``. Whoever may enter the channel is told the secret
by the auth endpoint; a gateway knows neither key nor secret and relays the data unread.

Source: Pusher Channels, "End-to-end encryption"; the derivation is that of the HTTP libraries.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING

from broadcaster.errors import NotConfigured

if TYPE_CHECKING:
    from broadcaster.protocol.app import App

KEY_BYTES = 32
NONCE_BYTES = 24
TAG_BYTES = 16  # what a secretbox is longer than what is in it


def require_encryption_key(app: App) -> bytes:
    """Return the app's master key; `NotConfigured` says what to set."""
    if app.encryption_key is None:
        raise NotConfigured(
            f"app {app.id} has no encryption key, which encrypted channels need: beside its "
            "credentials (elsewhere it does not count) set BROADCASTER_APP_ENCRYPTION_KEY, or "
            "encryption_key in [app] or [[apps]], to 32 random bytes in Base64, as "
            "`openssl rand -base64 32` prints them, in the backend and where the auth endpoint runs"
        )
    return app.encryption_key


def channel_secret(channel: str, master_key: bytes) -> bytes:
    """
    Return the 32-byte secret of one channel.

    Args:
        channel: full name, prefix included.
        master_key: `App.encryption_key`.
    """
    return hashlib.sha256(channel.encode() + master_key).digest()


def encode_sealed(nonce: bytes, ciphertext: bytes) -> str:
    """Return the data of an encrypted event; `ciphertext` is a secretbox without its nonce."""
    return _SEALED % (b64encode(nonce).decode(), b64encode(ciphertext).decode())


def largest_plain(limit: int) -> int:
    """Return how many bytes of data fit into `limit` when they are encrypted; 0 if none do."""
    return max(3 * ((limit - _OVERHEAD) // 4) - TAG_BYTES, 0)


_SEALED = '{"nonce":"%s","ciphertext":"%s"}'
_OVERHEAD = len(_SEALED % (b64encode(bytes(NONCE_BYTES)).decode(), ""))
