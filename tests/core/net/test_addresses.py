from ipaddress import ip_address, ip_network

import pytest

from core.net.addresses import refusal

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))

NEVER = """
    0.0.0.0 0.1.2.3 169.254.169.254 169.254.0.1 169.254.170.2 100.100.100.200 168.63.129.16
    192.0.0.192 192.0.0.8 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.251
    239.255.255.250 240.0.0.1 255.255.255.255 :: fe80::1 febf::1 fec0::1 ff02::fb fd00:ec2::254
    fd00:ec2::23 fd20:ce::254 fd00:c1::a9fe:a9fe 2001:db8::1 3fff::1 100::1 2002:7f00:1::1
    2002:808:808::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:10::1 64:ff9b:1::7f00:1
    64:ff9b:1::808:808 ::7f00:1 ::808:808 ::ffff:0:7f00:1 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe
    ::ffff:0.0.0.0 4000::1 5f00::1
""".split()  # noqa: SIM905 (a table to read, not forty quoted strings)
LOOPBACK = ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
PRIVATE = """
    10.0.0.1 172.16.0.1 172.31.255.254 192.168.1.20 100.64.0.1 100.127.255.254 fc00::1 fd12:3456::1
    ::ffff:192.168.1.20 64:ff9b::c0a8:114
""".split()  # noqa: SIM905 (a table to read, not forty quoted strings)
PUBLIC = """
    1.1.1.1 8.8.8.8 172.32.0.1 192.167.0.1 100.128.0.1 169.253.0.1 223.255.255.254 2606:4700::1111
    2a00:1450::1 ::ffff:8.8.8.8 64:ff9b::808:808
""".split()  # noqa: SIM905 (a table to read, not forty quoted strings)
HOME = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
MACHINE = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_connected_to_whatever_is_granted(address):
    assert "never" in refusal(ip_address(address), EVERYTHING)


@pytest.mark.parametrize("address", LOOPBACK)
def test_this_machine_is_reached_only_if_granted(address):
    assert "GATEWAY_NETWORKS=loopback" in refusal(ip_address(address), HOME)
    assert refusal(ip_address(address), MACHINE) == ""


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_network_is_reached_only_if_granted(address):
    assert "GATEWAY_NETWORKS=private" in refusal(ip_address(address), MACHINE)
    assert refusal(ip_address(address), HOME) == ""


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_always_reached(address):
    assert refusal(ip_address(address), ()) == ""


def test_a_part_of_a_private_network_can_be_granted():
    granted = (ip_network("192.168.1.0/24"),)
    assert refusal(ip_address("192.168.1.20"), granted) == ""
    assert "GATEWAY_NETWORKS" in refusal(ip_address("192.168.2.20"), granted)


def test_a_link_local_address_with_its_interface_is_refused():
    assert "never" in refusal(ip_address("fe80::1%eth0"), EVERYTHING)
