import os
import subprocess
import sys

import pytest

from core.apps import close_pools
from core.models import User


@pytest.mark.postgresql
def test_a_process_ends_at_once_with_its_pool_of_connections(database_url: str) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url}
    program = (
        "import django; django.setup(); from core.models import User; print(User.objects.count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == (
        "0\n",
        "",
    )  # no warning of threads that could not be stopped


def test_a_process_that_asked_no_database_never_imports_the_pool() -> None:
    program = "import django, sys; django.setup(); sys.exit('psycopg_pool' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.postgresql
def test_a_closed_pool_opens_again(transactional_db: None) -> None:
    assert not User.objects.exists()
    close_pools()
    assert not User.objects.exists()


def test_the_admin_of_a_new_process_has_our_models() -> None:
    program = (
        "import django; django.setup(); import iotapp.urls; from django.contrib import admin; "
        "print(len(admin.site._registry), type(admin.site._wrapped).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    count, name = done.stdout.split()
    assert (int(count) > 10, name) == (True, "OurSite")
