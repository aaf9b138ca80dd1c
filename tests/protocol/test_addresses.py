"""Which addresses a server may be sent to by somebody else's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.addresses import AddressRules, parse_allowed, why_refused

NONE = AddressRules()
PRIVATE = AddressRules(private=True)

PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
OWN = [
    "127.0.0.1",
    "127.8.9.1",
    "::1",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "fd00::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
]
SPECIAL = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.1.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "192.0.0.192",
    "100.100.100.200",
    "168.63.129.16",
    "::ffff:168.63.129.16",
    "fd00:ec2::254",
    "fd20:ce::254",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::127.0.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "3fff::1",
    "64:ff9b:1::a00:1",
    "5f00::1",
    "localhost",
    "",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_what_anybody_can_reach_is_allowed(address: str) -> None:
    assert why_refused(address, NONE) is None


@pytest.mark.parametrize("address", OWN)
def test_ones_own_networks_are_refused_unless_private_ones_are_allowed(address: str) -> None:
    assert why_refused(address, NONE)
    assert why_refused(address, PRIVATE) is None


@pytest.mark.parametrize("address", SPECIAL)
def test_special_addresses_are_refused_even_then(address: str) -> None:
    assert why_refused(address, NONE)
    assert why_refused(address, PRIVATE)


@given(st.ip_addresses(v=4))
def test_an_address_embedded_in_another_is_judged_as_itself(address: object) -> None:
    plain = why_refused(str(address), NONE)

    assert why_refused(f"::ffff:{address}", NONE) == plain
    assert why_refused(f"64:ff9b::{address}", NONE) == plain


@given(st.ip_addresses())
def test_no_address_is_too_odd_to_be_judged(address: object) -> None:
    assert why_refused(str(address), NONE) is None or why_refused(str(address), NONE)


def test_a_network_can_be_allowed_by_name() -> None:
    rules = parse_allowed(["10.1.0.0/16", "169.254.169.254", "fd12::/16"], private=False)

    assert why_refused("10.1.2.3", rules) is None
    assert why_refused("::ffff:10.1.2.3", rules) is None
    assert why_refused("169.254.169.254", rules) is None
    assert why_refused("fd12::1", rules) is None
    assert why_refused("10.2.0.1", rules)
    assert why_refused("169.254.169.253", rules)


def test_a_host_can_be_allowed_whatever_its_address() -> None:
    rules = parse_allowed(["Hooks.Internal"], private=False)

    assert why_refused("10.1.2.3", rules, host="hooks.internal.") is None
    assert why_refused("10.1.2.3", rules, host="other.internal")
    assert why_refused("10.1.2.3", rules)


@pytest.mark.parametrize("entry", ["10.1.2.3/16", "", ".internal", "a/b", "host:80", "münchen.de"])
def test_what_names_neither_network_nor_host_is_refused(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="no network, address or name of a host"):
        parse_allowed([entry], private=False)
