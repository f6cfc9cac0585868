"""Fresh databases to measure on, and the environment of the processes that use them."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

POSTGRES_URL = os.environ.get("BENCH_POSTGRES_URL") or "postgres://postgres@127.0.0.1:5432/test"
NAME = "iotapp_bench"


@contextmanager
def sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="iotapp-bench-") as folder:
        yield f"sqlite:///{Path(folder) / 'bench.sqlite3'}"


@contextmanager
def postgresql() -> Iterator[str]:
    """A database of our own, dropped after. Raises ConnectionError if no server answers."""
    try:
        server = psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        raise ConnectionError(
            f"nothing answers at BENCH_POSTGRES_URL ({str(error).strip()})"
        ) from None
    with server:
        server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {NAME}")
        try:
            yield urlunsplit(urlsplit(POSTGRES_URL)._replace(path=f"/{NAME}"))
        finally:
            server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")


def environment(url: str) -> dict[str, str]:
    """Settings as on a server (DEBUG keeps queries in memory), gateways on this machine allowed."""
    return os.environ | {
        "DATABASE_URL": url,
        "DEBUG": "0",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ALLOWED_HOSTS": "localhost",
        "GATEWAY_NETWORKS": "loopback",
        "HTTPS": "0",
        "PUBLIC_STATUS": "1",
        "POLL_WORKERS": "",
    }
