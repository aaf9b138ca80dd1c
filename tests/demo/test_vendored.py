"""The client-js tests compare the vendored files with npm's; here, with their own sums."""

from __future__ import annotations

import hashlib

from broadcaster.demo.app import STATIC

VENDOR = STATIC / "vendor"


def test_every_vendored_file_has_the_sum_that_is_written_down() -> None:
    lines = (VENDOR / "SHA256SUMS").read_text().splitlines()
    written = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = {
        path.relative_to(VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }

    assert found == written


def test_the_licences_come_along() -> None:
    for name in ("pusher-js.LICENCE", "laravel-echo.LICENSE.md"):
        assert "Permission is hereby granted" in (VENDOR / name).read_text()
