"""
Who a request of the HTTP API comes from: signed by the app's secret, or refused.

An app id that does not exist is told only to who proves to own another app of this server
(404); everybody else gets what a wrong key gets (401), so that ids cannot be listed. A wrong
key takes the same steps whether or not the app exists, so that the clock does not tell either.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from broadcaster.contracts.apps import App
from broadcaster.errors import DriverUnavailable, InvalidSignature, RequestRefused
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
            DriverUnavailable: nobody knows yet which apps there are.
        """
        check = partial(_verify, paths, method=method, params=params, body=body, now=self._clock())
        if claimed is not None:
            try:
                check(claimed)
            except InvalidSignature as error:
                if error.code == "auth_wrong_key":
                    self._owner(params, check)
                raise
            if not claimed.enabled:
                raise RequestRefused(
                    f"app {shown(claimed.id)} is disabled on this server",
                    status=403,
                    code="app_disabled",
                )
            return claimed
        if not self._apps.settled:
            raise DriverUnavailable("the apps of this server have not been read yet")
        try:
            # In the words used for an app that exists and a key that is not its own.
            check(self._phantom)
        except InvalidSignature as error:
            owner = self._owner(params, check) if error.code == "auth_wrong_key" else None
            if owner is None:
                raise
            raise RequestRefused(
                f"there is no app {shown(target.app_id)} on this server; auth_key belongs "
                f"to app {shown(owner.id)}",
                status=404,
                code="app_not_found",
            ) from error
        raise InvalidSignature("no request can be signed for this app")

    def _owner(self, params: Mapping[str, str], check: Callable[[App], None]) -> App | None:
        """Return the app of ``auth_key`` if it signed; a key that nobody has takes as long."""
        key = params.get("auth_key", "")
        owner = self._apps.by_key(key)
        with suppress(InvalidSignature):
            check(owner or replace(self._phantom, key=key))
            return owner
        return None


def _verify(
    paths: Sequence[str],
    app: App,
    *,
    method: str,
    params: Mapping[str, str],
    body: bytes,
    now: float,
) -> None:
    """Raise `InvalidSignature` unless `app` signed the request over one of `paths`."""
    last = len(paths) - 1
    for number, path in enumerate(paths):
        try:
            return verify_request(
                key=app.key,
                secret=app.secret,
                method=method,
                path=path,
                params=params,
                body=body,
                now=now,
            )
        except InvalidSignature as error:
            if error.code != "auth_mismatch" or number == last:
                raise
    return None
