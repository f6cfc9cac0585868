"""What the README shows is true: its code runs, its excerpts are the files, its commands exist."""

import re
from ipaddress import ip_network
from pathlib import Path

from django.conf import settings
from django.core.management import get_commands

from core.net.addresses import NETWORK_NAMES
from core.net.http import Http
from core.readings import Reading
from core.schedule import read_schedule
from core.vendors import Identity
from tests.core.raw_server import Request, answer, serving

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^ *```python\n(.*?)^ *```", README, re.MULTILINE | re.DOTALL)


def block(word: str) -> str:
    return next(code for code in BLOCKS if word in code)


def test_the_decision_shown_is_the_one_in_the_file() -> None:
    shown = re.sub(r"^   ", "", block("def decide"), flags=re.MULTILINE)
    assert shown in (ROOT / "core/rules/awesome.py").read_text()


def test_every_command_is_in_the_table_and_every_row_is_a_command() -> None:
    rows = set(re.findall(r"^\| `([a-z_]+)", README, re.MULTILINE))
    ours = {name for name, app in get_commands().items() if app == "core"}
    assert ours <= rows


def test_its_crontab_is_the_schedule_of_the_settings() -> None:
    lines = re.findall(r"^    (\S+ \S+ \S+ \S+ \S+)  cd .*manage.py (\w+) ", README, re.MULTILINE)
    assert {task for _, task in lines} == set(settings.SCHEDULE)
    for line, task in lines:
        assert read_schedule(line, "UTC").usual_gap == settings.SCHEDULE[task].usual_gap


def test_every_file_and_link_it_names_exists() -> None:
    for path in re.findall(r"\]\(([^)h#][^)]*)\)", README):
        assert (ROOT / path).exists(), path


def test_the_smallest_vendor_works() -> None:
    namespace: dict[str, type] = {}
    exec(block("core/vendors/teapot.py"), namespace)  # noqa: S102 (the README's own code)
    told = {"/info": b'{"serial": 7}', "/state": b'{"on": true, "celsius": 91.5}'}

    def reply(request: Request) -> bytes:
        return answer(told[request.target])

    with serving(reply) as server:
        loopback = [ip_network(block) for block in NETWORK_NAMES["loopback"]]
        client = namespace["Client"](Http(server.address, networks=loopback))
        assert client.identify() == Identity("7", "Teapot")
        [device] = client.devices()
        client.write(device.vendor_id, "on", False)
        assert list(client.read(["pot"])) == [
            Reading("pot", "on", True),
            Reading("pot", "temperature", 91.5),
        ]
        assert server.requests[1].body == b'{"on": false}'
