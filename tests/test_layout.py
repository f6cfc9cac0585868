"""The promises of CONTRIBUTING.md that a program can check: who imports whom, who writes, what the deployment files say."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "core"
COMMANDS = sorted((CORE / "management" / "commands").glob("[!_]*.py"))

LONGEST_COMMAND = 75
"""Lines. Most take 30; what is longer holds something that belongs into a task."""

OUTSIDE = (
    *(
        "readings",
        "errors",
        "http",
        "addresses",
        "credentials",
        "strict_json",
        "transport",
        "threads",
    ),
    *(
        "vendors",
        "shelly_status",
        "feeds",
        "rules",
        "planner",
        "outlook",
        "arbiter",
        "score",
        "chart",
        "simulator",
    ),
)
"""Knows neither Django nor the database: what it needs is passed in."""

LAYERS = (OUTSIDE, ("models", "schedule", "words", "wire"), ("tasks",))
"""A file may import from its own layer and those before it. What is not named here is the last: pages and commands."""


def sources() -> list[Path]:
    return [path for path in sorted(CORE.rglob("*.py")) if "migrations" not in path.parts]


def part(module: str) -> str:
    """`core.models.device` is in the part `models`."""
    return (module.split(".") + [""])[1]


def layer(name: str) -> int:
    return next((number for number, names in enumerate(LAYERS) if name in names), len(LAYERS))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Every module that the file imports, anywhere in it. `from core import words` is `core.words`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.relative_to(ROOT)}:{node.lineno} imports relatively"
            yield from (
                [f"core.{alias.name}" for alias in node.names]
                if node.module == "core"
                else [node.module or ""]
            )


def test_imports_run_one_way() -> None:
    wrong = [
        f"{module_of(path)} imports {module}"
        for path in sources()
        for module in imports(path)
        if module.startswith("core.") and layer(part(module)) > layer(part(module_of(path)))
    ]
    assert not wrong


def test_vendors_feeds_rules_and_http_know_no_django() -> None:
    wrong = [
        f"{module_of(path)} imports {module}"
        for path in sources()
        if part(module_of(path)) in OUTSIDE
        for module in imports(path)
        if module.split(".")[0] in ("django", "iotapp")
    ]
    assert not wrong


def test_only_tasks_update_rows_in_place() -> None:
    """`QuerySet.update()` passes every `save()` by, and with it what live pages follow."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        if part(module_of(path)) != "tasks"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and re.search(
            r"\b(objects|filter\(|exclude\(|all\(|select_for_update\().*\.(bulk_)?update$",
            ast.unparse(node.func),
        )
    ]
    assert not wrong


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_a_command_is_thin(path: Path) -> None:
    """It parses arguments, calls a task and prints: no queries of its own, nothing of the pages."""
    forbidden = ("django.db", "requests", "core.views", "core.forms")
    assert not [module for module in imports(path) if module.startswith(forbidden)]
    assert path.read_text().count("\n") <= LONGEST_COMMAND


def test_honcho_reads_the_procfile() -> None:
    check = subprocess.run(
        [sys.executable, "-m", "honcho", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "release, web" in check.stderr


def test_app_json_says_only_what_heroku_knows() -> None:
    """https://devcenter.heroku.com/articles/app-json-schema"""
    app = json.loads((ROOT / "app.json").read_text())
    assert set(app) <= {
        *(
            "name",
            "description",
            "keywords",
            "website",
            "repository",
            "logo",
            "success_url",
            "scripts",
            "env",
        ),
        *("formation", "image", "addons", "buildpacks", "environments", "stack"),
    }
    assert re.fullmatch(r"heroku-\d\d", app["stack"])
    assert app["buildpacks"] == [{"url": "heroku/python"}]
    assert all(re.fullmatch(r"[a-z-]+:[a-z0-9-]+", plan) for plan in app["addons"])
    assert all(set(process) == {"quantity", "size"} for process in app["formation"].values())


def test_app_json_describes_every_variable_and_asks_for_none() -> None:
    for name, variable in json.loads((ROOT / "app.json").read_text())["env"].items():
        assert set(variable) <= {"description", "value", "required", "generator"}, name
        assert variable["description"] and isinstance(variable.get("value", ""), str), name
        assert variable.get("generator") == "secret" or variable["required"] is False, name


def test_app_json_starts_the_processes_of_the_procfile_and_sets_known_variables() -> None:
    app = json.loads((ROOT / "app.json").read_text())
    assert set(app["formation"]) <= set(
        re.findall(r"^(\w+):", (ROOT / "Procfile").read_text(), re.MULTILINE)
    )
    assert set(app["env"]) <= variables()


def variables() -> set[str]:
    """Every environment variable that settings and gunicorn read."""
    settings = (ROOT / "iotapp" / "settings.py").read_text()
    gunicorn = (ROOT / "gunicorn.conf.py").read_text()
    return {
        *re.findall(r'environment\.\w+\(\s*"(\w+)"', settings),
        *re.findall(r'environ\.get\("(\w+)"', gunicorn),
        "PORT",
    }


def test_the_readme_has_every_setting_in_its_table() -> None:
    rows = set(re.findall(r"^\| *`(\w+)`", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert variables() <= rows
