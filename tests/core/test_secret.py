"""Credentials: encrypted at rest, decrypted only when asked, never lost and never shown."""

import pytest
from django.core import serializers
from django.core.exceptions import FieldError
from django.db import connection

from core.models import Gateway, Secret, SecretUnreadable
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_gateway

pytestmark = pytest.mark.django_db


def stored() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT credential FROM core_gateway")
        return str(cursor.fetchone()[0])


def test_a_credential_comes_back_and_is_not_in_the_database_as_it_is():
    gateway = make_gateway(credential="wonder")
    gateway.refresh_from_db()
    assert gateway.credential.reveal() == "wonder"
    assert stored() and "wonder" not in stored()


def test_plain_text_is_sealed_when_it_is_saved():
    gateway = make_gateway()
    gateway.credential = "wonder"
    with publishing():
        gateway.save()
    assert "wonder" not in stored()
    assert Gateway.objects.get().credential.reveal() == "wonder"


def test_no_credential_is_stored_as_nothing():
    assert not make_gateway().credential
    assert stored() == ""


def test_one_bad_secret_breaks_no_list():
    make_gateway(credential="wonder")
    Gateway.objects.update(credential=Secret("nonsense"))
    [gateway] = list(Gateway.objects.all())
    with pytest.raises(SecretUnreadable, match="Enter the credential again"):
        gateway.credential.reveal()


def test_saving_keeps_what_could_not_be_decrypted():
    make_gateway()
    Gateway.objects.update(credential=Secret("nonsense"))
    with publishing():
        Gateway.objects.get().save()
    assert stored() == "nonsense"


def test_an_older_secret_key_still_reads(settings):
    make_gateway(credential="wonder")
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "n" * 50
    assert Gateway.objects.get().credential.reveal() == "wonder"


def test_setting_field_keys_later_leaves_older_rows_readable(settings):
    make_gateway(credential="wonder")
    settings.FIELD_KEYS = ["k" * 40]
    assert Gateway.objects.get().credential.reveal() == "wonder"


def test_field_keys_outlive_a_new_secret_key(settings):
    settings.FIELD_KEYS = ["newer" * 8, "older" * 8]
    make_gateway(credential="wonder")
    settings.FIELD_KEYS, settings.SECRET_KEY = ["newest" * 8, "newer" * 8], "n" * 50
    assert Gateway.objects.get().credential.reveal() == "wonder"


def test_a_lost_key_is_told():
    make_gateway(credential="wonder")
    gateway = Gateway.objects.get()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.SECRET_KEY", "n" * 50)
        with pytest.raises(SecretUnreadable):
            gateway.credential.reveal()


def test_a_credential_cannot_be_searched_for():
    with pytest.raises(FieldError):
        Gateway.objects.filter(credential="wonder").exists()


def test_a_credential_is_in_no_export_and_no_repr():
    gateway = make_gateway(credential="wonder")
    assert gateway.credential.token not in serializers.serialize("json", [gateway])
    assert repr(gateway.credential) == "<a secret>"
