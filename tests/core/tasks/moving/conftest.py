"""A site that is filled, and its file."""

import pytest

from core.tasks import export_site as exporting
from core.tasks.moving import seal
from tests.core.tasks.moving import sample
from tests.core.tasks.moving.elsewhere import PHRASE, empty


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch):
    monkeypatch.setattr(seal, "SCRYPT_N", 2**4)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "site.zip"


@pytest.fixture
def filled(transactional_db):
    return sample.fill()


@pytest.fixture
def exported(filled, file):
    """Give the file of a site whose database is empty now."""
    exporting.export_site(file, PHRASE)
    empty()
    return file
