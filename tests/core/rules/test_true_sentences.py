"""What `cleanest_hours` says is checked against its own inputs, minute by minute."""

from random import Random

import pytest

from core.planning.forecast import Outlook, Rung
from core.planning.precedence import Limits
from tests.core.rules.sentences import MINUTE, check, is_of_a_forecast
from tests.core.rules.situations import decide, slots, utc

EVENING, DEADLINE = utc("2026-06-01 20:00"), utc("2026-06-02 07:00")


def live(known):
    return Outlook(known[0].signal, tuple(known), Rung.LIVE, issued_at=known[0].issued_at)


def forecast_of(random, at, means, spread, reach):
    """A forecast as it is revised: the same night with other noise."""
    values = [round(mean * random.uniform(1 - spread, 1 + spread), 1) for mean in means]
    known = slots("2026-06-01 20:00", values[:reach])
    return [slot for slot in known if slot.ends_at > at]


@pytest.mark.parametrize("seed", range(40))
def test_every_number_and_claim_of_the_sentence_is_true_of_its_inputs(seed):
    random = Random(seed)
    contiguous, minutes = random.random() < 0.4, random.choice([25, 60, 180, 300])
    means = [random.choice([40, 90, 100, 150, 200]) for _ in range(22)]
    spread, reach = random.choice([0, 0.05, 0.3]), random.choice([22, 22, 9])
    limit = random.choice([0, 0, 20, 45])
    limits = Limits(limit * MINUTE, limit * MINUTE)
    options = {"minutes": minutes, "contiguous": "yes" if contiguous else "no"}
    at, is_on, since, plan, delivered, told = EVENING, False, None, None, 0.0, 0
    while at < DEADLINE:
        known = forecast_of(random, at, means, spread, reach)
        decision = decide(
            at.isoformat()[:16],
            "cleanest_hours",
            *([live(known)] if known else []),
            is_on=is_on,
            options=options,
            plan=plan,
            delivered=delivered,
            changed_at=since,
            limits=limits,
        )
        plan = decision.plan
        if is_of_a_forecast(decision.reason):
            left = minutes - (plan.job.delivered if plan else delivered)
            check(decision.reason, known, at, DEADLINE, contiguous, left, limit)
            told += 1
        # Now and then a person has switched it, or a round was missed.
        wanted = decision.value if random.random() < 0.9 else is_on
        if wanted is not is_on:
            is_on, since = wanted, at
        step = random.choice([10, 10, 10, 3, 40])
        delivered += step if is_on else 0
        at += step * MINUTE
    assert told
