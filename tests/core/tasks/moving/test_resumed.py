"""An import that was killed goes on; until it is whole, nothing else is done with the site."""

import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from core import jobs
from core.live.sessions import NotAdmitted, admit
from core.models import Gateway, HalfASite, Run, SiteImport, Token
from core.models.site_import import whole
from core.tasks import export_site as exporting
from core.tasks import import_site as importing
from core.tasks import runs
from core.tasks.moving import NotMoved, steps
from core.tasks.moving.tables import LEFT_OUT, MOVED, model_of
from tests.core.tasks.moving import sample
from tests.core.tasks.moving.elsewhere import PHRASE, empty, run_elsewhere

KILLED = """
from core.tasks import import_site as importing
from core.tasks.moving import steps
steps.ROWS_A_STEP = 2
left, insert = int(sys.argv[3]), importing._insert

def insert_and_die(model, rows):
    global left
    left -= 1
    insert(model, rows)
    if not left:
        os.kill(os.getpid(), 9)

importing._insert = insert_and_die
importing.import_site(importing.Path(sys.argv[1]), sys.argv[2])
"""
"""Dies without a word once it has stored a row of so many steps, the last not committed."""
USED = "A part of a site is stored here: import_site has stored"


@pytest.fixture(autouse=True)
def short_steps(monkeypatch):
    monkeypatch.setattr(steps, "ROWS_A_STEP", 2)


@pytest.fixture
def before(filled):
    return sample.content()


@pytest.fixture
def half(exported, monkeypatch):
    """Give the file of a site of which a part is stored here."""
    whole.is_known = False
    stop_after(exported, 9, monkeypatch)
    return exported


def stop_after(file, count, monkeypatch):
    """Store that many steps, and be interrupted."""
    insert, left = importing._insert, iter(range(count))

    def insert_some(model, rows):
        if next(left, None) is None:
            raise KeyboardInterrupt
        insert(model, rows)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(importing, "_insert", insert_some)
        importing.import_site(file, PHRASE)


def test_killed_again_and_again_it_ends_with_the_same_site(before, file, database_url, settings):
    exporting.export_site(file, PHRASE)
    empty()
    stored = [0]
    for steps_more in (3, 12, 1):
        words = (file, PHRASE, steps_more)
        killed = run_elsewhere(database_url, KILLED, *words, key=settings.SECRET_KEY)
        assert killed.returncode == -9, killed.stderr
        stored.append(SiteImport.objects.get().rows)
    assert stored[0] < stored[1] < stored[2] == stored[3] < sum(map(len, before.values()))
    done = importing.import_site(file, PHRASE)
    assert done == (sum(map(len, before.values())), stored[-1])
    assert sample.content() == before
    assert not SiteImport.objects.exists()


@pytest.mark.parametrize("count", [0, 1, 17, 33])
def test_interrupted_at_any_step_it_ends_with_the_same_site(before, file, count, monkeypatch):
    exporting.export_site(file, PHRASE)
    empty()
    stop_after(file, count, monkeypatch)
    importing.import_site(file, PHRASE)
    assert sample.content() == before


def test_interrupted_after_its_last_row_it_goes_on(before, file, monkeypatch):
    exporting.export_site(file, PHRASE)
    empty()
    with monkeypatch.context() as patch, pytest.raises(NotMoved, match="not these"):
        patch.setattr(importing, "_finish", refuse)
        importing.import_site(file, PHRASE)
    assert importing.import_site(file, PHRASE).before == sum(map(len, before.values()))
    assert sample.content() == before
    assert SiteImport.refusal() == ""


def refuse(*given):
    raise NotMoved("not these")


def test_rows_that_name_later_rows_of_their_table_are_stored_together(
    exported, database_url, monkeypatch
):
    monkeypatch.setattr(steps, "ROWS_A_STEP", 1)
    importing.import_site(exported, PHRASE)
    assert list(Token.objects.order_by("pk").values_list("replaced_by", flat=True)) == [8, None]


def test_tables_stand_after_those_that_their_rows_name():
    stored = set(LEFT_OUT)
    for label in MOVED:
        fields = model_of(label)._meta.concrete_fields
        named = {field.related_model._meta.label for field in fields if field.related_model}
        assert named - {label} <= stored, label
        stored.add(label)


def test_another_file_is_refused_and_the_first_goes_on(half):
    other, begun = half.with_name("other.zip"), SiteImport.objects.get()
    exporting.export_site(other, PHRASE)
    with pytest.raises(NotMoved, match=r"of another file.* manage.py flush"):
        importing.import_site(other, PHRASE)
    assert str(SiteImport.objects.get()) == str(begun)
    assert importing.import_site(half, PHRASE).before == begun.rows


def test_with_another_key_it_does_not_go_on(half, settings):
    """Else the credentials stored before would be lost, and nobody told."""
    begun, first_key = str(SiteImport.objects.get()), settings.SECRET_KEY
    assert Gateway.objects.exists()
    settings.SECRET_KEY = "a key that another shell made, long enough"
    with pytest.raises(NotMoved, match=r"another SECRET_KEY or FIELD_KEYS.* manage.py flush"):
        importing.import_site(half, PHRASE)
    assert str(SiteImport.objects.get()) == begun
    settings.SECRET_KEY_FALLBACKS = [first_key]
    importing.import_site(half, PHRASE)
    assert Gateway.objects.get(name="Cellar").credential.reveal() == sample.CREDENTIAL


def test_of_two_imports_at_once_one_ends(exported, monkeypatch):
    insert = importing._insert

    def insert_after_the_other(model, rows):
        monkeypatch.setattr(importing, "_insert", insert)
        insert(model, rows)
        SiteImport.objects.update(rows=2, mark="as the other left it")

    monkeypatch.setattr(importing, "_insert", insert_after_the_other)
    with pytest.raises(NotMoved, match="another import_site is at work"):
        importing.import_site(exported, PHRASE)


# What is refused until then


@pytest.mark.parametrize("words", [["status"], ["poll_devices"], ["export_site", "x.zip"]])
def test_commands_are_refused(half, words):
    with pytest.raises(CommandError, match=USED):
        call_command(*words)


def test_no_run_begins(half):
    count = Run.objects.count()
    with pytest.raises(HalfASite, match=USED):
        runs.begin(runs.POLL)
    assert Run.objects.count() == count


def test_workers_do_nothing_and_say_why(half, caplog):
    with caplog.at_level("WARNING", logger="core.jobs"):
        jobs.carry_on.apply()
    assert USED in caplog.text


def test_pages_and_the_api_are_refused(half, client):
    page = client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (page.status_code, page.headers["Cache-Control"]) == (503, "no-store")
    assert USED in page.content.decode()
    problem = client.get("/api/v1/devices/")
    assert (problem.status_code, problem.headers["Retry-After"]) == (503, "30")
    assert problem.json()["detail"].startswith(USED)
    health = client.get("/healthz")
    assert (health.status_code, health.headers["Content-Type"][:10]) == (503, "text/plain")


def test_sockets_are_refused(half, settings):
    settings.PUBLIC_STATUS = True
    with pytest.raises(NotAdmitted):
        admit("")


def test_once_it_is_whole_it_is_served_and_not_asked_again(half, client, django_assert_num_queries):
    assert client.get("/healthz").status_code == 503
    importing.import_site(half, PHRASE)
    client.get("/healthz")
    assert whole.is_known
    with django_assert_num_queries(0):
        assert whole.refusal() == ""


def test_an_empty_site_is_asked_at_each_request(transactional_db, exported):
    whole.is_known = False
    assert whole.refusal() == ""
    assert not whole.is_known


def test_what_is_being_written_when_it_begins_is_seen(exported):
    """Another connection has stored a row, and commits a little later."""
    other = connection.copy()
    other.inc_thread_sharing()
    with other.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE" if connection.vendor == "sqlite" else "BEGIN")
        cursor.execute("INSERT INTO core_site (id, name, zone, place) VALUES (1, 'a', '', '')")
    commit = threading.Timer(0.3, lambda: end(other))
    commit.start()
    with pytest.raises(NotMoved, match="already"):
        importing.import_site(exported, PHRASE)
    commit.join()


def end(other):
    with other.cursor() as cursor:
        cursor.execute("COMMIT")
    other.close()
