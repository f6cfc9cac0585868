"""Proof: the admin, the pages and record() change the same rows at the same time, and nobody waits
for ever.

A writer is a process of its own: `python -m` this, what it does, a seed, and how many rounds."""

import random
import sys
from dataclasses import dataclass, field
from datetime import timedelta

import django

if __name__ == "__main__":
    django.setup()

from django.test import Client  # noqa: E402 (needs what stands above)
from django.test.utils import setup_test_environment  # noqa: E402
from django.utils import timezone  # noqa: E402

from core.models import Attribute, Device, Event, Gateway, User  # noqa: E402
from core.readings import Reading, Source  # noqa: E402
from core.tasks import gateways
from core.tasks.orders import holds, send  # noqa: E402
from core.tasks.polling.record import GatewayAnswer, record  # noqa: E402
from tests.core.tasks.homes import make_device, make_gateway  # noqa: E402
from tests.soak.kills import start  # noqa: E402

GATEWAYS, DEVICES = 4, 10


@dataclass
class Quarrel:
    rounds: int
    events: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"quarrel: {self.rounds} rounds each of record(), the admin, orders and holds by six "
            "processes on the same "
            f"{GATEWAYS * DEVICES} devices, {self.events:,} events: {len(self.wrong)} deadlocks "
            "or other errors"
        )


def quarrel(rounds: int, database_url: str, seed: int = 1) -> Quarrel:
    """Let six processes change the same rows for so many rounds."""
    found, dice = Quarrel(rounds), random.Random(seed)
    User.objects.create_superuser("admin", password="x")
    for place in range(GATEWAYS):
        gateway = make_gateway(f"Hub {place}", f"http://127.0.0.1:{place + 1}")
        for number in range(DEVICES):
            make_device(gateway, f"plug {number}")
    deeds = ("record", "record", "record", "admin", "order", "hold")
    commands = [
        ("-m", "tests.soak.quarrel", deed, f"{dice.random()}", f"{rounds}") for deed in deeds
    ]
    for process in [start(command, database_url) for command in commands]:
        said, _ = process.communicate(timeout=600)
        found.wrong += [said[-800:]] if process.returncode else []
    found.events = Event.objects.count()
    return found


def record_all(dice: random.Random) -> None:
    """Gateways in any order, as polls come back; in one batch."""
    found = list(Gateway.objects.all())
    dice.shuffle(found)
    now, answers = timezone.now(), []
    for gateway in found:
        ids = [f"plug {number}" for number in range(DEVICES)]
        dice.shuffle(ids)
        readings = [
            reading
            for one in ids
            for reading in (Reading(one, "on", dice.random() < 0.5), Reading(one, "power", 5.0))
        ]
        answers.append(GatewayAnswer(gateway.pk, now, ids, readings))
    record(answers)


def edit(dice: random.Random) -> None:
    """In the admin, as a person does: the page, then the form as it stands with another name."""
    client = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.get(username="admin"))
    model, pk = dice.choice(
        [("device", dice.choice(pks(Device))), ("gateway", dice.choice(pks(Gateway)))]
    )
    path = f"/admin/core/{model}/{pk}/change/"
    form = client.get(path).context["adminform"].form
    told = {name: form[name].value() for name in form.fields}
    told = {name: value for name, value in told.items() if value not in (None, False)} | {
        "name": f"named {dice.random()}"
    }
    answer = client.post(path, told)
    if answer.status_code not in (200, 302):
        raise ValueError(f"{path} answers {answer.status_code}")


def order(dice: random.Random) -> None:
    switch = dice.choice(list(Attribute.objects.filter(name="on").values_list("pk", flat=True)))
    send.order(
        switch,
        dice.random() < 0.5,
        source=Source.HUMAN,
        reason="a proof",
        expires_in=timedelta(days=1),
    )


def hold(dice: random.Random) -> None:
    pk = dice.choice(pks(Device))
    gateways.change_device(pk, rule=dice.choice(["", "awesome"]))
    dice.choice(
        [lambda: holds.hold(pk, None, "a proof"), lambda: holds.release(pk), holds.notice]
    )()


def pks(model: type[Device] | type[Gateway]) -> list[int]:
    return list(model.objects.values_list("pk", flat=True))


DEEDS = {"record": record_all, "admin": edit, "order": order, "hold": hold}


def main(deed: str, seed: float, rounds: int) -> None:
    setup_test_environment()  # for the forms of the pages that the admin answers
    dice = random.Random(seed)
    for _ in range(rounds):
        DEEDS[deed](dice)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
