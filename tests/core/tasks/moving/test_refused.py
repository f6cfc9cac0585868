"""Whatever is wrong with a file or a database, it is said; most of it before anything is stored."""

import zipfile

import pytest

from core.models import Device, Site, SiteImport, User
from core.tasks import export_site as exporting
from core.tasks import import_site as importing
from core.tasks.moving import FORMAT, NotMoved, archive, seal
from tests.core.tasks.moving import sample
from tests.core.tasks.moving.elsewhere import PHRASE, empty


def refused(path, phrase=PHRASE):
    """Return why it is not imported; nothing may have been stored."""
    with pytest.raises(NotMoved) as error:
        importing.import_site(path, phrase)
    assert not any(sample.content().values())
    return str(error.value)


def test_a_wrong_passphrase_imports_nothing(exported):
    assert "passphrase is wrong" in refused(exported, "another passphrase")


def test_a_file_cut_off_anywhere_imports_nothing(exported):
    whole = exported.read_bytes()
    for share in (0, 0.1, 0.5, 0.9):
        exported.write_bytes(whole[: int(len(whole) * share)])
        assert "its end is missing" in refused(exported)


def test_a_changed_byte_imports_nothing(exported):
    """Of the content of tables, where the zip's own checksum is made right again too."""
    with zipfile.ZipFile(exported) as stored:
        parts = {name: stored.read(name) for name in stored.namelist()}
    for name in ("core.Observation", "core.User", "manifest.json"):
        changed = {**parts, name: parts[name].replace(b"1", b"2", 1)}
        write(exported, changed)
        expected = "was changed" if name == "manifest.json" else "damaged"
        assert expected in refused(exported)


def test_damage_that_the_zip_notices_imports_nothing(exported):
    whole = bytearray(exported.read_bytes())
    with zipfile.ZipFile(exported) as stored:
        info = stored.getinfo("core.User")
    whole[info.header_offset + 60 + info.compress_size // 2] ^= 1
    exported.write_bytes(whole)
    assert "damaged" in refused(exported)


def test_more_than_the_manifest_says_is_not_read(exported):
    """A bomb: a table of a gigabyte in one line. Reading ends at what the manifest says."""
    with zipfile.ZipFile(exported) as stored:
        parts = {name: stored.read(name) for name in stored.namelist()}
    write(exported, {**parts, "core.Site": b"[" + b" " * 50_000_000})
    assert "damaged" in refused(exported)
    write(exported, {**parts, "manifest.json": b" " * 50_000_000})
    assert "damaged" in refused(exported)


def test_another_format_is_refused(exported):
    with zipfile.ZipFile(exported) as stored:
        parts = {name: stored.read(name) for name in stored.namelist()}
    newer = parts["seal"].replace(b"site %d " % FORMAT, b"site %d " % (FORMAT + 1))
    write(exported, {**parts, "seal": newer})
    assert "same version of the app" in refused(exported)


def test_another_version_of_the_app_is_refused(filled, file, monkeypatch):
    monkeypatch.setattr(exporting.database, "newest_migration", lambda: "9999_later")
    exporting.export_site(file, PHRASE)
    monkeypatch.undo()
    monkeypatch.setattr(seal, "SCRYPT_N", 2**4)
    empty()
    assert "9999_later" in refused(file)


def write(path, parts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stored:
        for name, part in parts.items():
            stored.writestr(name, part)


def test_some_other_zip_is_refused(transactional_db, file):
    write(file, {"../../etc/passwd": b"x"})
    assert "no whole file of export_site" in refused(file)


def test_a_site_that_has_something_stays_as_it_is(exported):
    sample.make(Site, id=1, name="Here")
    with pytest.raises(NotMoved, match="already"):
        importing.import_site(exported, PHRASE)
    assert [Site.objects.get().name, User.objects.count()] == ["Here", 0]


def test_a_row_that_breaks_a_rule_of_the_database_ends_the_import(filled, file):
    """A file can be made with the passphrase and yet hold what no database may."""
    original = archive.write_table

    def without_gateways(stored, label, columns, lines):
        kept = () if label == "core.Gateway" else lines
        return original(stored, label, columns, kept)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "write_table", without_gateways)
        exporting.export_site(file, PHRASE)
    empty()
    with pytest.raises(NotMoved, match="A row is missing that another one names"):
        importing.import_site(file, PHRASE)
    assert (User.objects.count(), Device.objects.count()) == (2, 0)
    assert "import_site has stored" in SiteImport.refusal()
