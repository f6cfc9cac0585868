"""Worker and beat processes for tests, with queues of their own on a real broker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from amqp.exceptions import ChannelError
from django.conf import settings
from django.db import connection
from kombu import Connection

from tests.conftest import OTHERS

RABBITMQ = os.environ.get("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")
REDIS = os.environ.get("TEST_CELERY_REDIS_URL", "redis://127.0.0.1:6379/7")


class Site:
    """The processes of one site: each is started with the same environment."""

    def __init__(self, database_url: str, broker_url: str, **environment: str) -> None:
        self.broker_url = broker_url
        self.queue = f"test-{uuid4().hex[:12]}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.application = "iotapp"
        self.environment = os.environ | {
            "DATABASE_URL": database_url,
            "DEBUG": "1",
            "SECRET_KEY": settings.SECRET_KEY,
            "CELERY_BROKER_URL": broker_url,
            "CELERY_QUEUE": self.queue,
            "PYTHONWARNINGS": "ignore",
            **environment,
        }

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", self.application, *words],
            cwd=settings.BASE_DIR,
            env=self.environment,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def worker(self, concurrency: int = 2, *words: str) -> subprocess.Popen[bytes]:
        # A name of its own: two of one name confuse each other.
        return self.start(
            *("worker", "--without-gossip", "--without-mingle", f"--concurrency={concurrency}"),
            f"--hostname={uuid4().hex[:8]}@test",
            *words,
        )

    def beat(self) -> subprocess.Popen[bytes]:
        return self.start("beat")

    def send(self, job: str, *given: Any, **options: Any) -> None:
        """Send a message as beat does."""
        from celery import Celery

        app = Celery(broker=self.broker_url, set_as_current=False)
        app.conf.task_default_queue = self.queue
        app.send_task(job, given, **options)
        app.close()

    def is_idle(self) -> bool:
        """Return whether no message waits, and no worker is in a transaction."""
        for name in (self.queue, f"{self.queue}-now"):
            with Connection(self.broker_url) as broker, suppress(ChannelError):  # none was sent
                if broker.default_channel.queue_declare(name, passive=True).message_count:
                    return False
        if connection.vendor != "postgresql":
            return True
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) {OTHERS} AND state <> 'idle'")
            return bool(cursor.fetchone() == (0,))

    def end(self) -> None:
        """Kill what is left, with its children, and remove the queues."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with Connection(self.broker_url) as connection, connection.channel() as channel:
            for name in (self.queue, f"{self.queue}-now"):
                channel.queue_delete(name)
                if hasattr(channel, "client"):  # Redis
                    for kind in ("binding", "binding_permanent"):
                        channel.client.delete(f"_kombu.{kind}.{name}")
                else:
                    channel.exchange_delete(name)


@contextmanager
def site(database_url: str, broker_url: str, **environment: str) -> Iterator[Site]:
    made = Site(database_url, broker_url, **environment)
    try:
        yield made
    finally:
        made.end()


def answers(broker_url: str) -> bool:
    try:
        with Connection(broker_url, connect_timeout=2) as connection:
            connection.ensure_connection(max_retries=1)
    except Exception:  # whatever a transport raises
        return False
    return True
