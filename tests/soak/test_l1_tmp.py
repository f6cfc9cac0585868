import os, pytest
from tests.soak.events import follow_writers
@pytest.mark.django_db(transaction=True)
def test_it(database_url, capsys):
    f = follow_writers(int(os.environ.get("N","4000")), database_url)
    with capsys.disabled(): print(f, f.wrong)
    assert not f.faults
