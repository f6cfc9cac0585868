"""The proofs of `make soak`, small: a few kills for hundreds, thousands of hostile answers for a
million."""

import pytest

from tests.soak.acknowledgements import spoil_acknowledgements
from tests.soak.clocks import JumpingClock
from tests.soak.deaf import never_read
from tests.soak.following import follow_through_everything
from tests.soak.hostility import attack
from tests.soak.invitations import kill_inviting
from tests.soak.ledger import run_the_ledger
from tests.soak.month.judge import Month
from tests.soak.months import live_a_month
from tests.soak.outages import poll_through_an_outage
from tests.soak.polling import kill_polls
from tests.soak.quarrel import quarrel
from tests.soak.sending import kill_sending
from tests.soak.servers import Missing
from tests.soak.workers import torment_workers


@pytest.fixture(autouse=True)
def devices_settle_at_once():
    """Here they take as long as real ones: what could go wrong meanwhile is what is looked for."""


@pytest.mark.django_db(transaction=True)
def test_polls_killed_at_any_moment_leave_nothing_twice_half_or_missing(database_url):
    polls = kill_polls(3, database_url, sizes=[510, 20, 5])
    assert polls.kills == 3
    assert not polls.faults


@pytest.mark.django_db(transaction=True)
def test_orders_of_processes_killed_at_any_moment_take_effect_once_and_are_believed_when_seen(
    database_url,
):
    orders = kill_sending(3, database_url, plugs=2)
    assert orders.kills == 3
    assert not orders.faults


@pytest.mark.postgresql  # once: on a PostgreSQL and a RabbitMQ of its own
def test_workers_may_be_killed_and_their_servers_stopped():
    try:
        torment = torment_workers(12)
    except Missing as missing:
        pytest.skip(f"{missing}")
    assert torment.kills >= 4
    assert torment.faults == []


@pytest.mark.django_db(transaction=True)
def test_acknowledgements_that_are_lost_or_lies_are_never_believed():
    acknowledgements = spoil_acknowledgements(20)
    assert acknowledgements.spoiled.total() >= 20
    assert not acknowledgements.faults


@pytest.mark.django_db(transaction=True)
def test_whatever_happens_in_whatever_order_the_ledger_tells_the_truth():
    assert run_the_ledger(machines=6, steps=25).steps > 50


@pytest.mark.django_db(transaction=True)
def test_whatever_the_clock_shows_nothing_is_hidden_and_no_run_is_blocked():
    tally = run_the_ledger(machines=5, steps=25, machine=JumpingClock)
    assert tally.jumps > 5


@pytest.mark.sqlite  # once: it takes its time
def test_what_happens_in_a_day_of_25_hours_is_told_as_specified_and_gaps_stay_gaps():
    month = live_a_month("autumn", days=1)
    assert month.faults == []
    assert month.alerts >= 12 and month.empty and month.backfilled


def test_a_month_finds_what_grows_without_end_and_lets_what_comes_again_be():
    again = [500, 540, 490, 530, 520] * 6
    one_a_day = {"core_run": again, "core_silence": list(range(40, 70))}
    month = Month("spring", has_disk=False, megabytes=[3.0] * 29 + [3.4], rows=one_a_day)
    month.judge_size()
    assert [fault.partition(" grow: ")[0] for fault in month.faults] == [
        "MB of the database",
        "rows of core_silence",
    ]


@pytest.mark.django_db(transaction=True)
def test_invitations_go_out_though_the_process_that_sends_them_is_killed(database_url):
    mails = kill_inviting(60, kills=2, database_url=database_url)
    assert (mails.faults, mails.kills) == ([], 2)


@pytest.mark.django_db(transaction=True)
def test_gateways_that_hang_drip_or_fail_cost_the_others_nothing(database_url):
    outage = poll_through_an_outage(40, database_url, deadline_seconds=2)
    assert (outage.code, outage.faulty) == (1, 12)
    assert (outage.failed, outage.named) == (12, 12)
    assert (outage.healthy_unstored, outage.faulty_stored) == (0, 0)
    # Eight of them take their whole deadline: all at the same time, not one after the other.
    assert outage.seconds < 8 * outage.deadline_seconds


@pytest.mark.sqlite  # once: it makes databases of both kinds itself
def test_hostile_answers_are_refused_or_stored_alike_on_both_databases(tmp_path):
    hostility = attack(2_000, every=40, folder=tmp_path)
    assert hostility.answers == 2_000
    assert not hostility.uncaught
    assert not hostility.different
    assert hostility.unstorable == 0


@pytest.mark.django_db(transaction=True)
def test_whoever_follows_ends_with_what_the_database_holds_through_kills_and_rollbacks(
    database_url,
):
    following = follow_through_everything(2_000, database_url)
    assert following.events > 1_500 and following.restarts
    assert not following.faults


@pytest.mark.django_db(transaction=True)
def test_the_admin_the_pages_and_the_poll_never_wait_for_each_other_for_ever(database_url):
    assert not quarrel(8, database_url).wrong


@pytest.mark.django_db(transaction=True)
def test_clients_that_never_read_are_dropped_and_cost_little_and_the_others_notice_nothing(
    database_url,
):
    deafness = never_read(12, database_url, heartbeat_seconds=1.5)
    assert deafness.left == 0
    assert deafness.megabytes < deafness.clients + 8
    assert deafness.slowest < 30
