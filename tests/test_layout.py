"""The promises of CONTRIBUTING.md that a program can check: who imports whom, who writes, what the
deployment files say."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from core import feeds

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "core"
COMMANDS = sorted((CORE / "management" / "commands").glob("[!_]*.py"))

LONGEST_COMMAND = 60
"""Lines. Most take 30; what is longer holds something that belongs into a task."""

DJANGO = {
    *("admin", "apps", "checks", "forms", "management", "middleware", "migrations", "models"),
    *("static", "templatetags", "views"),
}
"""Names in `core/` that every Django developer knows."""

MOST_OTHERS = 16
"""Twelve, and api/, alerts/, jobs and schedule beside them."""
PURE = {
    *(
        "readings",
        "schedule",
        "net",
        "vendors",
        "feeds",
        "rules",
        "planning",
        "charts",
        "simulator",
    ),
}
"""Knows neither Django nor the database: what it needs is passed in."""

DOORS = (
    "core.views",
    "core.api",
    "core.live.consumer",
    "core.net.addresses",
    "core.schedule",
    "core.admin",
)
"""What `iotapp/` may import."""


def sources() -> list[Path]:
    return [path for path in sorted(CORE.rglob("*.py")) if "migrations" not in path.parts]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Every module that the file imports, anywhere in it. `from core import charts` is
    `core.charts`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.relative_to(ROOT)}:{node.lineno} imports relatively"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in MODULES else str(node.module)


def imports_for_types(path: Path) -> Iterator[str]:
    """Those in `if TYPE_CHECKING:`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from (str(each.module) for each in node.body if isinstance(each, ast.ImportFrom))


MODULES = {module_of(path) for path in sources()}


def rooms() -> dict[str, set[str]]:
    """The rooms of the table in docs/architecture.md, each with those it may import."""
    table: dict[str, set[str]] = {}
    pattern = r"^\| (`core/[^|]*`) \| [^|]* \| ([^|]*?) ?\|$"
    for paths, allowed in re.findall(pattern, MAP, re.MULTILINE):
        names = [
            part.strip("/").removesuffix(".py") for part in re.findall(r"core/([\w/.]*)", paths)
        ]
        if allowed.startswith("every room above"):
            may = set(table) - ({"views", "api"} if "but the pages" in allowed else set())
        else:
            may = {name for name in allowed.split(", ") if name}
        for name in names:
            table[name.replace("/", ".")] = may | set(names)
    return table


def room(module: str) -> str:
    """`core.tasks.polling.ask` is in the room `tasks.polling`; of several rooms the innermost
    counts."""
    name = module.removeprefix("core.")
    while name not in ROOMS:
        assert "." in name, f"{module} is in no room of docs/architecture.md"
        name = name.rpartition(".")[0]
    return name


MAP = (ROOT / "docs" / "architecture.md").read_text()
ROOMS = rooms()
ARROWS = {
    module_of(path): {module for module in imports(path) if module in MODULES - {"core"}}
    for path in sources()
    if path != CORE / "__init__.py"
}
"""Each module of `core/` with those that it imports."""
FOR_TYPES = {module_of(path): set(imports_for_types(path)) for path in sources()}


def test_a_stranger_meets_few_names() -> None:
    names = {path.stem for path in CORE.iterdir() if not path.name.startswith("_")}
    assert len(names - DJANGO) <= MOST_OTHERS, sorted(names - DJANGO)


def test_rooms_import_only_what_the_map_says() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module, targets in ARROWS.items()
        for imported in sorted(targets)
        if room(imported) not in ROOMS[room(module)] | {room(module)}
    ]
    assert not wrong


def test_no_imports_form_a_circle() -> None:
    """Not even those inside functions; those for types alone may, since nothing runs them."""
    TopologicalSorter(
        {module: targets - FOR_TYPES[module] for module, targets in ARROWS.items()}
    ).prepare()
    between_rooms: dict[str, set[str]] = {name: set() for name in ROOMS}
    for module, targets in ARROWS.items():
        between_rooms[room(module)] |= {room(target) for target in targets} - {room(module)}
    TopologicalSorter(between_rooms).prepare()


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_pure_rooms_know_no_django(path: Path) -> None:
    if path != CORE / "__init__.py" and room(module_of(path)) in PURE:
        assert not [name for name in imports(path) if name.split(".")[0] in ("django", "channels")]


def test_core_does_not_know_the_project_around_it() -> None:
    wrong = [module_of(path) for path in sources() for name in imports(path) if "iotapp" in name]
    assert not wrong


def test_the_project_knows_only_doors_of_core() -> None:
    wrong = [
        f"{path.name} imports {name}"
        for path in (ROOT / "iotapp").glob("*.py")
        for name in imports(path)
        if name.startswith("core") and not name.startswith(DOORS)
    ]
    assert not wrong


@pytest.mark.parametrize("document", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_path_and_function_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    named = re.findall(r"`((?:core|tests|iotapp|docs|templates)/[\w./]*)(?::(\w+))?`", text)
    assert named
    for path, function in named:
        assert (ROOT / path).exists(), path
        if function:
            tree = ast.parse((ROOT / path).read_text())
            assert function in {getattr(node, "name", "") for node in tree.body}, (
                f"{path}:{function}"
            )


def test_only_tasks_update_rows_in_place() -> None:
    """`QuerySet.update()` passes every `save()` by, and with it what live pages follow."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        if not module_of(path).startswith("core.tasks")
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
    assert "release, web, sockets, worker, beat, relay, listener" in check.stderr


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


def test_app_json_names_the_credential_of_each_feed_that_needs_one() -> None:
    needing = {name for name in feeds.names() if feeds.load(name).needs_credential}
    env = json.loads((ROOT / "app.json").read_text())["env"]
    assert needing >= {"entsoe", "watttime"}
    assert {f"{name.upper()}_CREDENTIAL" for name in needing} <= set(env)


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
        *variables_of_feeds(),
        "PORT",
    }


def variables_of_feeds() -> Iterator[str]:
    for name in feeds.names():
        feed = feeds.load(name)
        if feed.needs_credential:
            yield f"{name.upper()}_CREDENTIAL"
        if fields(feed.Options):
            yield f"{name.upper()}_OPTIONS"


def test_the_readme_has_every_setting_in_its_table() -> None:
    rows = set(re.findall(r"^\| *`(\w+)`", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert variables() <= rows
