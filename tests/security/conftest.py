"""The gateways of the gateway's own tests, under attack here."""

from __future__ import annotations

from tests.gateway.conftest import any_gateway, gateway, start_gateway

__all__ = ["any_gateway", "gateway", "start_gateway"]
