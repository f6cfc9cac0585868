"""Proof: whoever guesses passwords gets few guesses, and slows no page down for anybody."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Thread

import requests

from core.models import User
from tests.core.live.web_server import Web

Where = Callable[[int], tuple[str, str]]
"""The account and the address of a guess, by its number."""
RIGHT = "a good password"


@dataclass
class LogIns:
    """What came of it: `faults` must be empty."""

    looked_at: dict[str, int] = field(default_factory=dict)
    """How many of the guesses of a kind were compared with a password."""
    page_seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        looked_at = ", ".join(f"{count} {kind}" for kind, count in self.looked_at.items())
        return (
            f"log-ins: looked at {looked_at}; {len(self.page_seconds)} status pages meanwhile, "
            f"the slowest {max(self.page_seconds):.2f} s; {len(self.faults)} faults"
        )


def guess_everywhere(database_url: str) -> LogIns:
    """Guess 100 times on an account, 100 times from an address, and from 80 addresses at once.

    The status page is read each second meanwhile.
    """
    User.objects.create_user("anna", password=RIGHT)
    web, log_ins = Web(database_url, TRUST_PROXY="1", HTTPS="0"), LogIns()
    web.start()
    ended = Event()
    reader = Thread(target=_read, args=(web, log_ins, ended))
    try:
        reader.start()
        _guess(web, log_ins, "of 100 on one account", 100, 4, lambda n: ("anna", f"192.0.2.{n}"))
        if _try(web, "anna", RIGHT, "198.51.100.1") != 429:
            log_ins.faults.append("the right password was taken after 100 wrong ones")
        _guess(web, log_ins, "of 100 from one address", 100, 4, lambda n: (f"a{n}", "203.0.113.1"))
        _guess(web, log_ins, "of 80 at once", 80, 80, lambda n: (f"b{n}", f"198.51.100.{n + 2}"))
        time.sleep(1)
    finally:
        ended.set()
        reader.join()
        web.end()
    return log_ins


def _guess(web: Web, log_ins: LogIns, kind: str, many: int, at_once: int, where: Where) -> None:
    def one(number: int) -> int:
        account, address = where(number)
        return _try(web, account, "wrong", address)

    with ThreadPoolExecutor(at_once) as threads:
        codes = list(threads.map(one, range(many)))
    log_ins.looked_at[kind] = codes.count(200)
    log_ins.faults += [f"{kind}: {code}" for code in codes if code not in (200, 429)]


def _try(web: Web, account: str, password: str, address: str) -> int:
    with requests.Session() as session:
        session.headers["X-Forwarded-For"] = address
        session.get(f"{web.site}/login/", timeout=60)
        body = {
            "username": account,
            "password": password,
            "csrfmiddlewaretoken": session.cookies["csrftoken"],
        }
        sent = session.post(f"{web.site}/login/", body, timeout=60, allow_redirects=False)
        return sent.status_code


def _read(web: Web, log_ins: LogIns, ended: Event) -> None:
    while not ended.wait(1):
        began = time.monotonic()
        answer = requests.get(web.site, timeout=30)
        log_ins.page_seconds.append(time.monotonic() - began)
        if answer.status_code != 200:
            log_ins.faults.append(f"the status page: {answer.status_code}")
