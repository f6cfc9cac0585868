"""The proofs of `make soak`, small: a few kills for hundreds, thousands of hostile payloads for a million."""

import pytest

from tests.soak.polling import kill_polls


@pytest.mark.django_db(transaction=True)
def test_polls_killed_at_any_moment_leave_nothing_twice_half_or_missing(database_url):
    polls = kill_polls(4, database_url, sizes=[510, 20, 5])
    assert polls.kills == 4
    assert not polls.faults
