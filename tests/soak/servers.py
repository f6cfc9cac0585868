"""A PostgreSQL and a RabbitMQ of a proof's own, which it may stop: the machine's serve others."""

import os
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from glob import glob
from pathlib import Path
from typing import Self

from tests.core.workers import answers
from tests.deployment import free_port
from tests.waiting import wait_until

RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
START_SECONDS = 90


class Missing(Exception):
    """Says which program is not installed."""


def _found(pattern: str, what: str) -> str:
    found = sorted(glob(pattern))
    if not found:
        raise Missing(f"{what} is not installed: nothing is at {pattern}")
    return found[-1]


class Server(ABC):
    """Runs until the end of a block."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...


class OwnPostgreSQL(Server):
    """A cluster in a folder. It refuses to run as root, so root runs it as `postgres`."""

    def __init__(self, folder: Path) -> None:
        self.programs = Path(_found("/usr/lib/postgresql/*/bin/pg_ctl", "PostgreSQL")).parent
        self.folder, self.port = folder / "postgresql", free_port()
        self.output = folder / "output"
        self.folder.mkdir(mode=0o700)
        folder.chmod(0o711)
        self.user = []
        if os.geteuid() == 0:
            self.user = ["runuser", "-u", "postgres", "--"]
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        self._run("pg_ctl", "-w", "-t", f"{START_SECONDS}", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        """Stop at once, as a crash does: connections break, and recovery runs at the next start."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *words: str) -> None:
        # Its output to a file: the server inherits it, and a pipe would never end.
        with open(self.output, "w") as output:
            ended = subprocess.run(
                [*self.user, self.programs / program, "-D", self.folder, *words],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=2 * START_SECONDS,
            )
        if ended.returncode:
            raise RuntimeError(f"{program}: {self.output.read_text()}")


class OwnRabbitMQ(Server):
    """A node in a folder. Its messages survive a stop."""

    def __init__(self, folder: Path) -> None:
        _found(RABBITMQ, "RabbitMQ")
        self.folder, self.port = folder / "rabbitmq", free_port()
        self.folder.mkdir()
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(f"listeners.tcp.default = 127.0.0.1:{self.port}")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        environment = os.environ | {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"proof{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "database"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
        }
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen(
                [RABBITMQ],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(lambda: answers(self.url), START_SECONDS)

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
