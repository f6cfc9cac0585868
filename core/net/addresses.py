"""Which addresses may be connected to.

Public ones always, those of a home or of this machine if granted, the rest never. Sources: the IANA
special-purpose registries of IPv4 and IPv6 (RFC 6890), and the clouds' documentation of their
metadata services, which hand credentials to whoever asks from inside.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

NETWORK_NAMES = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
}
"""Names for networks that the setting GATEWAY_NETWORKS may hold."""
HOME_NETWORKS = tuple(ip_network(block) for blocks in NETWORK_NAMES.values() for block in blocks)
"""All of them."""

_NEVER: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "no address"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("100.100.100.200", "a cloud's metadata service"),
        ("168.63.129.16", "a cloud's metadata service"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::", "no address"),
        ("2001::/32", "a Teredo tunnel, which can lead anywhere"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved for documentation"),
        ("2002::/16", "a 6to4 tunnel, which can lead anywhere"),
        ("3fff::/20", "reserved for documentation"),
        ("64:ff9b:1::/48", "a local NAT64 translator, which can lead anywhere"),
        ("fd00:c1::/32", "a cloud's metadata service"),
        ("fd00:ec2::/32", "a cloud's metadata service"),
        ("fd20:ce::/32", "a cloud's metadata service"),
        ("fe80::/10", "link-local, where clouds keep their metadata"),
        ("fec0::/10", "reserved"),
        ("ff00::/8", "multicast"),
    )
)
_IF_GRANTED: tuple[tuple[Network, str, str], ...] = tuple(
    (ip_network(network), what, word)
    for network, what, word in (
        ("127.0.0.0/8", "this machine itself", "loopback"),
        ("::1", "this machine itself", "loopback"),
        ("10.0.0.0/8", "in a private network", "private"),
        ("172.16.0.0/12", "in a private network", "private"),
        ("192.168.0.0/16", "in a private network", "private"),
        ("100.64.0.0/10", "in a provider's private network", "private"),
        ("fc00::/7", "in a private network", "private"),
    )
)
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


def refusal(address: Address, networks: Sequence[Network]) -> str:
    """Say why this address may not be connected to, and what to do; empty if it may.

    `networks` are those granted beyond the public ones. An IPv6 address that stands for an IPv4 one
    is treated as that one.
    """
    if isinstance(address, IPv6Address) and (inner := _embedded(address)):
        return refusal(inner, networks)
    for network, what in _NEVER:
        if address in network:
            return f"{address} is never connected to: it is {what}."
    for network, what, word in _IF_GRANTED:
        if address in network:
            if any(address in granted for granted in networks):
                return ""
            return f"{address} is {what}: set GATEWAY_NETWORKS={word} (or {address}) to allow it."
    if address.version == 6 and address not in _PUBLIC_IPV6:
        return f"{address} is never connected to: it is no public address."
    return ""


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for, and that would be connected to."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped


def client_address(peer: str, forwarded: str | None) -> str:
    """Return where a request comes from: of an IPv6 address the /64, which one customer has.

    `forwarded` is the header X-Forwarded-For where a proxy is trusted, else None: what the proxy
    added is the last in it.
    """
    said = forwarded.rpartition(",")[2].strip() if forwarded else peer
    try:
        address = ip_address(said)
    except ValueError:
        return said[:100]
    if address.version == 6:
        return str(ip_network((int(address), 64), strict=False))
    return str(address)
