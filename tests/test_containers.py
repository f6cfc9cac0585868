"""What the container files promise, without a container engine. tests/test_deployed.py starts the
same commands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from honcho.environ import parse_procfile

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "iotapp"]
COMMANDS = parse_procfile((ROOT / "Procfile").read_text()).processes
PINNED = re.compile(r"[\w./-]+:\d+(\.\d+)?[\w.-]*")


def instructions() -> list[tuple[str, str]]:
    """Those of the Dockerfile, each with its words."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    parted = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, words.strip()) for name, _, words in parted]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    last = max(number for number, (name, _) in enumerate(found) if name == "FROM")
    return found[last:]


def values(part: Any) -> Iterator[str]:
    if isinstance(part, dict | list):
        for each in part.values() if isinstance(part, dict) else part:
            yield from values(each)
    else:
        yield str(part)


def test_each_base_is_pinned_and_is_the_python_of_this_repository() -> None:
    bases = [words.split(" AS ")[0] for name, words in instructions() if name == "FROM"]
    python = (ROOT / ".python-version").read_text().strip()
    assert len(bases) == 2
    assert all(base.startswith(f"python:{python}-slim") for base in bases)


def test_what_runs_is_not_root_and_cannot_change_its_code() -> None:
    users = [words for name, words in last_stage() if name == "USER"]
    assert users and users[-1].isdigit() and users[-1] != "0"
    assert not any("--chown" in words for name, words in last_stage() if name == "COPY")


def test_a_change_of_code_installs_nothing_anew() -> None:
    steps = [f"{name} {words}" for name, words in instructions()]
    [required] = [n for n, step in enumerate(steps) if step.startswith("COPY requirements")]
    [installed] = [n for n, step in enumerate(steps) if "pip install" in step]
    [everything] = [n for n, step in enumerate(steps) if step == "COPY . ."]
    assert required < installed < everything


def test_installing_leaves_no_cache_and_uses_nothing_but_the_requirements() -> None:
    for name, words in instructions():
        assert name != "ADD"
        if "pip install" in words:
            assert "--no-cache-dir -r requirements-celery.txt" in words
            assert "sudo" not in words


def test_the_requirements_that_are_copied_are_all_that_are_named() -> None:
    [copied] = [words for _, words in instructions() if words.startswith("requirements")]
    named, waiting = (
        set(),
        [f"requirements-{extra}.txt" for extra in ("celery", "listen", "sentry")],
    )
    while waiting:
        named.add(file := waiting.pop())
        waiting += re.findall(r"^-r (\S+)", (ROOT / file).read_text(), re.MULTILINE)
    assert set(copied.split()[:-1]) == named


def test_the_image_starts_the_web_process_with_a_health_check() -> None:
    found = dict(last_stage())
    assert shlex.join(yaml.safe_load(found["CMD"])) == COMMANDS["web"]
    script = yaml.safe_load(found["HEALTHCHECK"].partition("CMD ")[2])[-1]
    assert (ROOT / script).is_file()


def test_only_what_runs_goes_into_the_image() -> None:
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in lines
    taken = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in taken)
    assert not taken & {"tests", "bench", "docs", ".env", ".secret_key", "db.sqlite3"}


def test_what_is_copied_by_name_goes_to_the_engine() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    for name, words in instructions():
        if name == "COPY" and not words.startswith(("--from", ". ")):
            assert set(words.split()[:-1]) <= sent


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_runs_a_command_of_the_procfile(name: str) -> None:
    same = {"api": "web"}
    assert SERVICES[name]["command"] == COMMANDS[same.get(name, name)]


def test_every_process_of_the_procfile_has_a_service() -> None:
    """But the relay, which not every site needs: docs/relay.md."""
    assert set(COMMANDS) - set(OURS) == {"relay"}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(OURS)))
def test_the_image_of_another_is_pinned(name: str) -> None:
    assert PINNED.fullmatch(SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_again_stops_in_time_and_is_looked_at(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == ("on-failure" if name == "release" else "unless-stopped")
    assert int(service["stop_grace_period"].removesuffix("s")) >= 30
    has_a_server = name in ("web", "api", "sockets")
    assert has_a_server == ("healthcheck" not in service)
    if not has_a_server:
        assert service["healthcheck"] == {"disable": True} or service["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_services_that_are_there_and_tell(name: str) -> None:
    tells = {"service_healthy": "healthcheck", "service_completed_successfully": "command"}
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        condition = tells[wait["condition"]]
        assert other in ("web", "api", "sockets") or condition in SERVICES[other]


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_has_no_rights_and_no_disk(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert "ports" not in service and "volumes" not in service


def test_only_the_proxy_is_published_and_only_to_this_machine_unless_told() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"nginx": ["${PUBLISH:-127.0.0.1:8080}:8080"]}


def test_volumes_and_files_that_are_named_are_there() -> None:
    named = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).is_file()
            else:
                named.add(source)
    assert named == set(COMPOSE["volumes"])


def test_no_password_stands_in_the_file_and_the_documentation_names_each_variable() -> None:
    document = (ROOT / "docs" / "production.md").read_text()
    named = {name for text in values(COMPOSE) for name in re.findall(r"\$\{(\w+)", text)}
    assert {"SECRET_KEY", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD"} <= named
    assert all(f"`{name}`" in document or f"{name}=" in document for name in named)
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if "PASS" in key or "KEY" in key:
                assert value.startswith("${"), key


def test_the_proxy_gets_what_its_configuration_asks_for() -> None:
    template = (ROOT / "deploy" / "nginx.conf.template").read_text()
    assert set(re.findall(r"\$\{(\w+)\}", template)) == set(SERVICES["nginx"]["environment"])


def test_the_documentation_fills_in_all_of_the_proxy_with_tls() -> None:
    document = (ROOT / "docs" / "production.md").read_text()
    templates = [path.read_text() for path in (ROOT / "deploy").glob("*.template")]
    asked_for = set(re.findall(r"\$\{(\w+)\}", "".join(templates)))
    [named] = re.findall(r"^    names='(.*)'$", document, re.MULTILINE)
    assert set(named.replace("$", "").split()) == asked_for
    given = re.findall(r"^    export (.*)$", document, re.MULTILINE)
    assert asked_for <= set(re.findall(r"(\w+)=", " ".join(given)))
