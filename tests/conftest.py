"""What every test may count on.

The database is the one DATABASE_URL names, SQLite without it. It is a real file, never in memory,
so that threads and other processes see what a test committed: use `transactional_db` and
`database_url` for those. Tests that only make sense on one database are marked
`@pytest.mark.sqlite` or `@pytest.mark.postgresql` and are left out, not skipped, on the other. A
skip is for a missing service, which it names; with CI set there is none: it fails.
"""

import os
import time
from collections.abc import Generator
from typing import TypeVar
from urllib.parse import quote

import hypothesis
import psycopg
import pytest
from django.conf import settings
from django.db import connection
from pytest_django import DjangoDbBlocker

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
DATABASES = ("sqlite", "postgresql")
LONGEST = ("tests/core/test_proofs.py", "tests/core/api/test_schemathesis.py")
OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def pytest_configure(config: pytest.Config) -> None:
    # Replayed data, which needs no network. A real home has no feed until it names one.
    settings.FEEDS = ["replay"]
    if not IN_CI:  # there hypothesis has a profile of its own
        # No example has a time limit: other work on the machine would break it.
        hypothesis.settings.register_profile(
            "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
        )
        hypothesis.settings.load_profile("patient")
    for vendor in DATABASES:
        config.addinivalue_line("markers", f"{vendor}: only on this database")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = [vendor for vendor in DATABASES if vendor != connection.vendor]
    left_out = [item for item in items if any(item.get_closest_marker(vendor) for vendor in others)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    # The long ones first: at the end a single worker would be left with them.
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def no_skip_in_ci(report: Report) -> Report:
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"Skipped, and nothing may be missing where CI is set: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return no_skip_in_ci(report)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return no_skip_in_ci(report)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """pytest-django's hook: SQLite as in production, a file with a write-ahead log per worker."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(
            tmp_path_factory.mktemp("database") / "test.sqlite3"
        )


@pytest.fixture(autouse=True)
def whole_site() -> None:
    """A process that has seen that no import is under way, as one has after its first request."""
    from core.models.site_import import whole

    whole.is_known = True


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """DATABASE_URL for another process that is to see this test's database."""
    settings = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings['NAME']}"
    user, password = quote(settings["USER"], safe=""), quote(settings["PASSWORD"], safe="")
    return f"postgres://{user}:{password}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Generator[None]:
    """pytest-django's, and before it drops a database on PostgreSQL: other processes of a test, and
    threads of an event loop, are given a moment to hang up, then they are cut off."""
    from core.live.log import connection_parameters

    yield
    if connection.vendor == "postgresql":
        connection.close()
        connection.close_pool()
        with (
            django_db_blocker.unblock(),
            psycopg.connect(autocommit=True, **connection_parameters()) as server,
        ):
            for _ in range(50):
                if server.execute(f"SELECT count(*) {OTHERS}").fetchone() == (0,):
                    return
                time.sleep(0.1)
            server.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")
