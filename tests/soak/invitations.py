"""Prove that thousands of invitations go out once each, though their process is killed.

A real mail server on this machine takes them.
"""

import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep

from aiosmtpd.controller import Controller

from core.models import Invitation, User
from tests.deployment import free_port
from tests.soak.kills import start

LONGEST_SECONDS = 900


@dataclass
class Mails:
    """What the mail server took. `faults` must stay empty."""

    people: int
    kills: int = 0
    taken: Counter[str] = field(default_factory=Counter)
    message_ids: set[tuple[str, str]] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        twice = sum(count > 1 for count in self.taken.values())
        return (
            f"invitations: {self.people:,} people, {len(self.taken):,} got a mail, "
            f"{self.kills} kills, {twice} mails came twice with the same Message-ID: "
            f"{len(self.faults)} faults"
        )

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 (aiosmtpd's name)
        [person] = envelope.rcpt_tos
        self.taken[person] += 1
        head = envelope.content.decode().replace("\r\n ", " ")
        [line] = [line for line in head.splitlines() if line.lower().startswith("message-id:")]
        self.message_ids.add((person, line.partition(":")[2].strip()))
        return "250 OK"


def kill_inviting(people: int, kills: int, database_url: str, seed: int = 7) -> Mails:
    """Invite so many, with a process that is killed so often, and let it end."""
    mails, dice = Mails(people), random.Random(seed)
    port = free_port()
    server = Controller(mails, hostname="127.0.0.1", port=port)
    server.start()
    environment = {"EMAIL_URL": f"smtp://127.0.0.1:{port}", "SITE_URL": "https://home.example.org"}
    with tempfile.TemporaryDirectory(prefix="iotapp-soak-") as folder:
        file = Path(folder) / "people.csv"
        file.write_text("".join(f"p{number}@example.org\n" for number in range(people)))
        command = ("manage.py", "invite", str(file))
        try:
            for _ in range(kills):
                _kill_in_the_middle(start(command, database_url, **environment), mails, dice)
            process = start(command, database_url, **environment)
            said, _ = process.communicate(timeout=LONGEST_SECONDS)
        finally:
            server.stop()
    if process.returncode:
        mails.faults.append(said)
    _compare(mails)
    return mails


def _kill_in_the_middle(process, mails, dice):
    """Let it send some more mails, then kill it, wherever it is."""
    before = mails.taken.total()
    some = before + dice.randint(1, max(1, (mails.people - before) // 3))
    while mails.taken.total() < some and process.poll() is None:
        sleep(0.001)
    sleep(dice.uniform(0, 0.01))
    process.kill()
    process.communicate()
    mails.kills += 1


def _compare(mails):
    if len(mails.taken) != mails.people:
        mails.faults.append(f"{mails.people - len(mails.taken)} people got no mail")
    extra = mails.taken.total() - mails.people
    if extra > mails.kills:
        mails.faults.append(f"{extra} mails too many for {mails.kills} kills")
    if len(mails.message_ids) != mails.people:
        mails.faults.append("a mail that came twice had another Message-ID")
    unsent = Invitation.objects.filter(sent_at=None).count()
    if unsent or User.objects.count() != mails.people:
        mails.faults.append(f"{unsent} are not said to be sent, of {User.objects.count()} people")
