"""Runs gunicorn as in production, in processes of its own, with clients over a real network."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[3]


class Web:
    def __init__(self, database_url, **environment):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.site = f"http://127.0.0.1:{self.port}"
        self._environment = {
            "DATABASE_URL": database_url,
            "DEBUG": "1",
            "WEB_CONCURRENCY": "1",
            **environment,
        }
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the server)

    def start(self):
        command = [
            sys.executable,
            "-W",
            "always",
            "-m",
            "gunicorn",
            "--bind",
            f"127.0.0.1:{self.port}",
        ]
        self._process = subprocess.Popen(
            [*command, "iotapp.asgi"],
            cwd=ROOT,
            env=os.environ | self._environment,
            start_new_session=True,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                requests.get(f"{self.site}/healthz", timeout=30)
                return
            except (requests.ConnectionError, requests.Timeout):
                time.sleep(0.05)
        raise AssertionError(self.log())

    def log(self):
        self._log.seek(0)
        return self._log.read().decode()

    def kill(self):
        """As by a power cut: master and workers at once."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def end(self):
        self.kill()
        self._log.close()

    def stop(self):
        """As by a deployment. Returns the seconds it took."""
        began = time.monotonic()
        self._process.terminate()
        self._process.wait(60)
        return time.monotonic() - began

    @contextmanager
    def open(self, cookie="", **options):
        headers = {"Cookie": f"sessionid={cookie}"} if cookie else {}
        options = {
            "origin": self.site,
            "compression": None,
            "proxy": None,
            "additional_headers": headers,
        } | options
        with connect(f"ws{self.site[4:]}/ws/events/", **options) as socket:
            yield Client(socket)


class Client:
    """Answers pings, and remembers from where to resume."""

    def __init__(self, socket, last=None):
        self.socket, self.last = socket, last

    def say(self, **message):
        self.socket.send(json.dumps(message))

    def hear(self, within=30.0):
        """The next message that is no ping. TimeoutError if pings are all that comes."""
        until = time.monotonic() + within
        while True:
            message = json.loads(self.socket.recv(until - time.monotonic()))
            if "ping" not in message:
                return message
            self.say(pong={})

    def begin(self, to="all", after=None):
        hello = self.hear()["hello"]
        self.say(subscribe={"to": to})
        self.say(resume={"after": hello["last"] if after is None else after})
        return self

    def events(self, count):
        found = []
        while len(found) < count:
            message = self.hear()
            found += message if isinstance(message, list) else []
        return found
