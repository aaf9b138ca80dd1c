"""
Who a request of the HTTP API comes from: signed by the app's secret, or refused.

An app id that does not exist is told only to who proves to own another app of this server
(404); everybody else gets what a wrong key gets (401), so that ids cannot be listed.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from broadcaster.contracts.apps import App
from broadcaster.errors import InvalidSignature, RequestRefused
from broadcaster.protocol.channels import shown
from broadcaster.protocol.signing import verify_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import Scope

    from broadcaster.contracts.apps import AppProvider
    from broadcaster.protocol.http_query import Target


class Credentials:
    """
    Checks signatures.

    Args:
        apps: whose secrets sign.
        clock: Unix seconds; signatures are good for 600 s around it.
        path_prefix: what a proxy in front may have taken off a signed path, without the
            final slash.
    """

    def __init__(
        self, apps: AppProvider, *, clock: Callable[[], float], path_prefix: str = ""
    ) -> None:
        self._apps = apps
        self._clock = clock
        self._prefix = path_prefix
        # Whoever asks for an app that is not there is checked against this one, in vain.
        self._phantom = App(id="", key=secrets.token_hex(16), secret=secrets.token_hex(16))

    def paths(self, scope: Scope) -> tuple[str, ...]:
        """Return the path as the API knows it, then every path the client may have signed."""
        raw = scope.get("raw_path") or quote(scope["path"], safe="/%").encode()
        path = raw.decode("latin-1")
        local = path.removeprefix(scope.get("root_path", ""))
        if not self._prefix:
            return local, path
        if local.startswith(f"{self._prefix}/"):
            return local.removeprefix(self._prefix), path
        return local, path, self._prefix + path

    def claimed(self, target: Target, params: Mapping[str, str]) -> App | None:
        """
        Return the app that a request is about; nothing has been proved yet.

        A path without an app is about the one whose key signs.
        """
        if not target.app_id:
            return self._apps.by_key(params.get("auth_key", ""))
        return self._apps.by_id(target.app_id)

    def body_app(self, claimed: App | None) -> App:
        """Return the app whose limits hold for a body: that of an unknown app is read too."""
        return claimed or self._phantom

    def check(
        self,
        claimed: App | None,
        target: Target,
        paths: Sequence[str],
        *,
        method: str,
        params: Mapping[str, str],
        body: bytes,
    ) -> App:
        """
        Return the app that signed the request.

        Args:
            claimed: see `claimed`.
            paths: those that may have been signed.

        Raises:
            InvalidSignature: it was not signed by that app.
            RequestRefused: the app does not exist (404), and the signer may know; or it is
                disabled (403).
        """
        check = partial(_verify, paths, method=method, params=params, body=body, now=self._clock())
        if claimed is not None:
            check(key=claimed.key, secret=claimed.secret)
            if not claimed.enabled:
                raise RequestRefused(
                    f"app {shown(claimed.id)} is disabled on this server",
                    status=403,
                    code="app_disabled",
                )
            return claimed
        owner = self._apps.by_key(params.get("auth_key", ""))
        if owner is not None:
            with suppress(InvalidSignature):
                check(key=owner.key, secret=owner.secret)
                raise RequestRefused(
                    f"there is no app {shown(target.app_id)} on this server; auth_key belongs "
                    f"to app {shown(owner.id)}",
                    status=404,
                    code="app_not_found",
                )
        # In the words used for an app that exists and a key that is not its own.
        check(key=self._phantom.key, secret=self._phantom.secret)
        raise InvalidSignature("no request can be signed for this app")


def _verify(
    paths: Sequence[str],
    *,
    key: str,
    secret: str,
    method: str,
    params: Mapping[str, str],
    body: bytes,
    now: float,
) -> None:
    """Raise `InvalidSignature` unless the request is signed over one of `paths`."""
    check = partial(
        verify_request, key=key, secret=secret, method=method, params=params, body=body, now=now
    )
    for path in paths[:-1]:
        try:
            return check(path=path)
        except InvalidSignature as error:
            if error.code != "auth_mismatch":
                raise
    return check(path=paths[-1])
