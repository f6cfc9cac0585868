"""The long proofs, on the database that DATABASE_URL names. `make soak` runs them on both and shows
the numbers."""

import os

import pytest

from tests.soak.acknowledgements import spoil_acknowledgements
from tests.soak.bodies import stall
from tests.soak.clocks import JumpingClock
from tests.soak.deaf import never_read
from tests.soak.following import follow_through_everything
from tests.soak.hostility import attack
from tests.soak.importing import kill_imports
from tests.soak.invitations import kill_inviting
from tests.soak.ledger import run_the_ledger
from tests.soak.log_ins import guess_everywhere
from tests.soak.months import live_a_month
from tests.soak.outages import poll_through_an_outage
from tests.soak.parsers import grow
from tests.soak.planning import compare_plans
from tests.soak.polling import kill_polls
from tests.soak.quarrel import quarrel
from tests.soak.replays import replay
from tests.soak.schema import ask_for
from tests.soak.sending import kill_sending
from tests.soak.workers import torment_workers
from tests.soak.years import live_a_year

pytestmark = [
    pytest.mark.soak,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(7200),  # a proof is long; what it waits for has its own deadlines
]
POLL_KILLS = int(os.environ.get("SOAK_POLL_KILLS", "200"))
KILLS = int(os.environ.get("SOAK_KILLS", "1000"))
ACKNOWLEDGEMENTS = int(os.environ.get("SOAK_ACKNOWLEDGEMENTS", "1000"))
YEAR_DAYS = int(os.environ.get("SOAK_YEAR_DAYS", "365"))
MONTH_DAYS = int(os.environ.get("SOAK_MONTH_DAYS", "30"))
STEPS = int(os.environ.get("SOAK_STEPS", "10000"))
EVENTS = int(os.environ.get("SOAK_EVENTS", "100000"))
WORLDS = int(os.environ.get("SOAK_WORLDS", "5000"))
KEYS = int(os.environ.get("SOAK_KEYS", "4"))
INVITATIONS = int(os.environ.get("SOAK_INVITATIONS", "10000"))
ROUNDS = int(os.environ.get("SOAK_ROUNDS", "500"))
WORKERS_SECONDS = float(os.environ.get("SOAK_WORKERS_SECONDS", "120"))
SCHEMA_MINUTES = float(os.environ.get("SOAK_SCHEMA_MINUTES", "2"))
IMPORT_KILLS = int(os.environ.get("SOAK_IMPORT_KILLS", "50"))
IMPORT_ROWS = int(os.environ.get("SOAK_IMPORT_ROWS", "200000"))
ANSWERS = int(os.environ.get("SOAK_ANSWERS", "1000000"))


@pytest.fixture
def say(capsys):
    """Print to the terminal, past pytest's capture: the numbers are what a soak is for."""

    def shown(words: object) -> None:
        with capsys.disabled():
            print(f"\n{words}")

    return shown


def test_polls_killed_at_random_moments(database_url, say):
    polls = kill_polls(POLL_KILLS, database_url, sizes=[700, *[40] * 6])
    say(polls)
    assert polls.kills == POLL_KILLS
    assert not polls.faults


def test_sending_killed_at_random_moments(database_url, say):
    orders = kill_sending(KILLS, database_url)
    say(orders)
    assert orders.kills == KILLS
    assert not orders.faults


@pytest.mark.postgresql  # once: on a PostgreSQL and a RabbitMQ of its own
def test_workers_killed_and_their_servers_stopped(say):
    torment = torment_workers(WORKERS_SECONDS)
    say(torment)
    say("\n".join(torment.faults))
    assert torment.kills > WORKERS_SECONDS / 3
    assert torment.faults == []


def test_acknowledgements_that_are_lost_or_lies(say):
    acknowledgements = spoil_acknowledgements(ACKNOWLEDGEMENTS)
    say(acknowledgements)
    assert acknowledgements.spoiled.total() >= ACKNOWLEDGEMENTS
    assert not acknowledgements.faults


@pytest.mark.sqlite  # once: no database is asked
def test_random_jobs_planned_and_by_brute_force(say):
    comparison = compare_plans(WORLDS)
    say(comparison)
    assert comparison.plans == 2 * WORLDS
    assert not comparison.faults


def test_every_rule_at_every_minute_of_a_year_in_five_zones(say):
    for life in live_a_year(YEAR_DAYS):
        say(f"{life.name}, {life.zone}: {life.minutes:,} minutes, on for {life.on:,}")
        assert life.faults == []
        assert life.minutes == YEAR_DAYS * 24 * 60


@pytest.mark.parametrize("season", ["spring", "autumn"])
def test_a_month_of_outages_pauses_and_wrong_clocks(season, say):
    month = live_a_month(season, MONTH_DAYS)
    say(month)
    assert month.faults == []


def test_whatever_happens_in_whatever_order(say):
    steps = 0
    while steps < STEPS:
        tally = run_the_ledger(machines=50, steps=60)
        steps += tally.steps
        say(tally)


def test_whatever_happens_while_the_clock_jumps(say):
    steps = 0
    while steps < STEPS:
        tally = run_the_ledger(machines=50, steps=60, machine=JumpingClock)
        steps += tally.steps
        say(tally)


def test_ten_thousand_invitations_by_processes_that_are_killed(database_url, say):
    mails = kill_inviting(INVITATIONS, kills=5, database_url=database_url)
    say(mails)
    assert mails.faults == []


def test_a_third_of_the_gateways_away(database_url, say):
    outage = poll_through_an_outage(300, database_url, deadline_seconds=10)
    say(outage)
    assert (outage.code, outage.faulty) == (1, 90)
    assert (outage.failed, outage.named) == (90, 90)
    assert (outage.healthy_unstored, outage.faulty_stored) == (0, 0)
    assert outage.process_seconds < 2 * outage.deadline_seconds


def test_a_hundred_thousand_events_followed_through_everything(database_url, say):
    following = follow_through_everything(EVENTS, database_url)
    say(following)
    assert following.events >= 0.9 * EVENTS
    assert not following.faults


def test_a_thousand_replays_of_each_key_make_one_command(database_url, say):
    replays = replay(KEYS, database_url)
    say(replays)
    assert replays.answers.total() == 1000 * KEYS
    assert replays.commands == KEYS
    assert not replays.faults


def test_two_hundred_clients_that_never_read(database_url, say):
    deafness = never_read(200, database_url)
    say(deafness)
    assert deafness.left == 0
    assert deafness.megabytes < 50
    assert deafness.slowest < 2


def test_the_admin_and_the_poll_change_the_same_rows(database_url, say):
    found = quarrel(ROUNDS, database_url)
    say(found)
    assert not found.wrong


@pytest.mark.sqlite  # once: it makes databases of both kinds itself
def test_a_million_hostile_answers(tmp_path, say):
    hostility = attack(ANSWERS, every=250, folder=tmp_path)
    say(hostility)
    assert hostility.answers == ANSWERS
    assert not hostility.uncaught
    assert not hostility.different
    assert hostility.unstorable == 0


@pytest.mark.sqlite  # once: no database is asked
def test_every_parser_takes_a_time_that_grows_with_the_length(say):
    growth = grow()
    say(growth)
    assert not growth.faults


def test_bodies_that_stall_or_drip(database_url, say):
    bodies = stall(database_url)
    say(bodies)
    assert not bodies.faults
    assert bodies.page_seconds < 1


def test_minutes_of_requests_by_every_audience(database_url, say):
    asked = ask_for(SCHEMA_MINUTES, database_url)
    say(asked)
    assert min(asked.cases.values()) > 0
    assert not asked.faults, "\n\n".join(asked.faults)


def test_guesses_of_passwords_while_pages_are_read(database_url, say):
    log_ins = guess_everywhere(database_url)
    say(log_ins)
    assert not log_ins.faults
    assert log_ins.looked_at["of 100 on one account"] == 10
    assert log_ins.looked_at["of 100 from one address"] == 10
    assert log_ins.looked_at["of 80 at once"]
    assert max(log_ins.page_seconds) < 1


def test_imports_killed_at_random_moments(database_url, tmp_path, say):
    imports = kill_imports(IMPORT_KILLS, IMPORT_ROWS, tmp_path / "site.zip", database_url)
    say(imports)
    assert imports.kills == IMPORT_KILLS
    assert not imports.faults
