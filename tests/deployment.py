"""Runs what the container image holds, by the commands of the Procfile, behind a real nginx."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import requests
import yaml
from django.conf import settings
from honcho.environ import parse_procfile

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = parse_procfile((ROOT / "Procfile").read_text()).processes
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
FRONT_PROXY = "127.0.0.2"
"""Who asks from here is a proxy in front of ours."""
COMPOSED = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["nginx"]["environment"]
NOBODY = re.sub(r"\$\{FRONT_PROXY:-(.*)\}", r"\1", COMPOSED["FRONT_PROXY"])
"""Is in front of the proxy, unless FRONT_PROXY says who."""
WRAPPED = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
{user}
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_image(folder: Path) -> Path:
    """Copy what the Dockerfile copies, and do what it does to it."""
    image = folder / "app"
    image.mkdir()
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source = ROOT / line[1:]
            if source.is_dir():
                shutil.copytree(
                    source, image / line[1:], ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(source, image)
    [key] = re.findall(r"^RUN (SECRET_KEY=\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    name, _, value = key.partition("=")
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"],
        cwd=image,
        env={"PATH": os.environ["PATH"], name: value},
        check=True,
    )
    return image


def environment(database_url: str, **more: str) -> dict[str, str]:
    """That of every process: a server's, as compose.yaml has it, at http://localhost."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DATABASE_URL": database_url,
        "SECRET_KEY": settings.SECRET_KEY,
        "ALLOWED_HOSTS": "localhost",
        "HTTPS": "0",
        "TRUST_PROXY": "1",
        "WEB_CONCURRENCY": "1",
        "PYTHONWARNINGS": "ignore",
        **more,
    }


class Process:
    """One process of the Procfile, or a command: started by a shell that it replaces."""

    def __init__(self, command: str, image: Path, env: dict[str, str], port: int = 0) -> None:
        self.port = port
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            cwd=image,
            env=env | ({"PORT": str(port)} if port else {}),
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def end(self) -> None:
        """Kill it and all that it started: honcho gives each process a group of its own."""
        if self.process.poll() is None:
            family = psutil.Process(self.process.pid).children(recursive=True)
            os.killpg(self.process.pid, signal.SIGKILL)
            for child in family:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            self.process.wait()
        self.log.close()


@contextmanager
def nginx(folder: Path, **servers: list[int]) -> Iterator[int]:
    """The proxy by its configuration; gives its port. `web=[8001, 8002]`."""
    port = free_port()
    filled = {
        "LISTEN": f"127.0.0.1:{port}",
        "ACCESS_LOG": "/dev/stdout",
        "FRONT_PROXY": f"{FRONT_PROXY}/32",
        **pools(servers),
    }
    with running_nginx(folder, ["nginx.conf.template"], filled, port):
        yield port


@contextmanager
def nginx_with_tls(
    folder: Path, certificate: Path, **servers: list[int]
) -> Iterator[tuple[int, int]]:
    """The first proxy, as docs/production.md sets it up; gives its ports for https and http."""
    secure, plain = free_port(), free_port()
    filled = {
        "LISTEN": f"127.0.0.1:{secure} ssl",
        "LISTEN_PLAIN": f"127.0.0.1:{plain}",
        "ACCESS_LOG": f"{folder}/access.log",
        "FRONT_PROXY": NOBODY,
        "CERTIFICATE": str(certificate),
        "CERTIFICATE_KEY": str(certificate),
        **pools(servers),
    }
    templates = ["nginx.conf.template", "nginx-tls.conf.template"]
    with running_nginx(folder, templates, filled, secure):
        yield secure, plain


def pools(servers: dict[str, list[int]]) -> dict[str, str]:
    filled = {}
    for pool, ports in servers.items():
        lines = [f"server 127.0.0.1:{number};" for number in ports]
        filled[f"{pool.upper()}_SERVERS"] = " ".join(lines)
    return filled


@contextmanager
def running_nginx(
    folder: Path, templates: list[str], filled: dict[str, str], port: int
) -> Iterator[None]:
    assert NGINX
    template = "".join((ROOT / "deploy" / name).read_text() for name in templates)
    site = re.sub(r"\$\{(\w+)\}", lambda found: filled[found[1]], template)
    (folder / "site.conf").write_text(site)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(WRAPPED.format(folder=folder, user=user))
    command = f"{NGINX} -e stderr -p {folder} -c {folder}/nginx.conf"
    running = Process(command, folder, dict(os.environ))
    try:
        wait_until(lambda: listens(port) or running.process.poll() is not None)
        assert running.process.poll() is None, running.said()
        yield
    finally:
        running.end()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(port: int) -> bool:
    try:
        requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5, allow_redirects=False)
    except requests.RequestException:
        return False
    return True
