"""
Which IP addresses a server may send requests to that somebody else names the target of.

Refused are addresses inside the operator's own networks, where a request from inside is
trusted more than one from outside. What is reachable from anywhere is allowed; so is what
the operator allowed in so many words.

Source: IANA, "IPv4 Special-Purpose Address Registry" and its counterpart for IPv6; RFC
4291 (mapped addresses), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 6052 (NAT64).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.channels import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What "allow_private" opens: one's own machine and networks.
_PRIVATE = {
    "127.0.0.0/8": "this machine",
    "::1/128": "this machine",
    "10.0.0.0/8": "a private network",
    "172.16.0.0/12": "a private network",
    "192.168.0.0/16": "a private network",
    "fc00::/7": "a private network",
    "100.64.0.0/10": "a network of a provider (CGNAT)",
}
# What only naming it in "allowed" opens. The first four lie among private or public addresses,
# and what answers there hands out credentials: AWS, Google Cloud, Alibaba Cloud, Azure.
_SPECIAL = {
    "fd00:ec2::254/128": "the metadata service of a cloud",
    "fd20:ce::254/128": "the metadata service of a cloud",
    "100.100.100.200/32": "the metadata service of a cloud",
    "168.63.129.16/32": "the host of a cloud's virtual machines",
    "0.0.0.0/8": "no host of its own",
    "169.254.0.0/16": "link-local, where clouds keep credentials",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "for documentation",
    "192.88.99.0/24": "a 6to4 relay",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
    "2001::/23": "reserved",
    "2001:db8::/32": "for documentation",
    "3fff::/20": "for documentation",
}
_PRIVATE_NETWORKS = [(ipaddress.ip_network(text), why) for text, why in _PRIVATE.items()]
_SPECIAL_NETWORKS = [(ipaddress.ip_network(text), why) for text, why in _SPECIAL.items()]
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRules:
    """
    What is allowed beyond public addresses.

    Attributes:
        private: this machine and private networks.
        networks: whatever lies in one of these.
        hosts: any address that one of these names has, in lower case.
    """

    private: bool = False
    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()


def parse_allowed(allowed: Iterable[str], *, private: bool) -> AddressRules:
    """
    Return the rules for what settings allow.

    Args:
        allowed: networks (``10.1.0.0/16``), addresses, and names of hosts.
        private: this machine and private networks are allowed.

    Raises:
        ConfigurationError: an entry that is none of these.
    """
    networks: list[Network] = []
    hosts: set[str] = set()
    for entry in allowed:
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError:
            if "/" in entry or ":" in entry or not entry.isascii() or entry[:1] in ("", "."):
                raise ConfigurationError(
                    f"{shown(entry)} is no network, address or name of a host; a network is "
                    "written with its first address, as in 10.1.0.0/16"
                ) from None
            hosts.add(entry.lower().rstrip("."))
    return AddressRules(private=private, networks=tuple(networks), hosts=frozenset(hosts))


def why_refused(address: str, rules: AddressRules, *, host: str = "") -> str | None:
    """
    Return why no request may be sent to `address`, or None if it may.

    Args:
        address: as the resolver gave it; a scope (``%eth0``) may follow.
        host: the name that it was resolved from.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "no IP address"
    if host.lower().rstrip(".") in rules.hosts:
        return None
    return _why(parsed, rules)


def _why(address: Address, rules: AddressRules) -> str | None:
    if any(address in network for network in rules.networks):
        return None
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return _why(inner, rules)
    for network, why in _SPECIAL_NETWORKS:
        if address in network:
            return why
    for network, why in _PRIVATE_NETWORKS:
        if address in network:
            return None if rules.private else why
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_IPV6:
        return "link-local" if address.is_link_local else "no public address"
    return None


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that a packet to `address` ends at, if it is such a one."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
