"""The pages' scripts: modules that import one way, from one entry, and share no globals."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {path.name: path.read_text() for path in (ROOT / "core/static/core").glob("*.js")}
ENTRY = "main.js"
IMPORT = re.compile(r'^import (?:\{([^}]*)\} from )?"\./([\w-]+\.js)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:function|const|let) (\w+)", re.MULTILINE)
TOP_LEVEL = re.compile(r"^(?:export )?(?:async )?(?:function|const|let) (\w+)", re.MULTILINE)
NOT_CODE = re.compile(r"//[^\n]*|\"[^\"\n]*\"|/\*.*?\*/", re.DOTALL)
FREE_NAME = re.compile(r"(?<![\w.]|-)(\w+)(?=\()")
"""A function that is called by its bare name."""


def imports(name):
    """The names that a script imports, by the script that they come from."""
    found = {}
    for names, source in IMPORT.findall(SCRIPTS[name]):
        found[source] = {word.strip() for word in names.split(",") if word.strip()}
    return found


def test_every_import_statement_is_read():
    for name, text in SCRIPTS.items():
        assert len(IMPORT.findall(text)) == len(re.findall(r"^import\b", text, re.MULTILINE)), name
        assert "import(" not in text, name


def test_imports_run_one_way():
    TopologicalSorter({name: imports(name) for name in SCRIPTS}).prepare()  # raises on a circle


def test_a_page_has_one_entry_and_it_names_every_other_script():
    """So that a browser fetches them side by side."""
    pages = [path.read_text() for path in (ROOT / "templates").rglob("*.html")]
    tags = [tag for page in pages for tag in re.findall(r"<script\b[^>]*>", page)]
    assert tags == [f"""<script type="module" src="{{% static 'core/{ENTRY}' %}}">"""]
    assert set(imports(ENTRY)) == set(SCRIPTS) - {ENTRY}
    assert [name for name in SCRIPTS if ENTRY in imports(name)] == []


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_what_is_imported_is_exported_there_and_used_here(name):
    body = IMPORT.sub("", SCRIPTS[name])
    for source, names in imports(name).items():
        assert names <= set(EXPORT.findall(SCRIPTS[source])), source
        assert [word for word in sorted(names) if not re.search(rf"\b{word}\b", body)] == []


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_scripts_share_no_globals(name):
    """No script writes one, and none calls a function of another that it does not import."""
    code = NOT_CODE.sub("", SCRIPTS[name])
    assert not re.search(r"\b(window|globalThis|self)\b", code)
    here = set(TOP_LEVEL.findall(code)) | set().union(*imports(name).values())
    methods = set(re.findall(r"^ +(\w+)\([^)]*\) \{$", code, re.MULTILINE))
    elsewhere = {word for text in SCRIPTS.values() for word in TOP_LEVEL.findall(text)}
    locals_ = set(re.findall(r"^ +(?:const|let|function) (\w+)", code, re.MULTILINE))
    assert set(FREE_NAME.findall(code)) & elsewhere <= here | methods | locals_


def test_collected_scripts_import_each_other_by_hashed_names(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "iotapp.storage.StaticFilesStorage"}
    }
    call_command("collectstatic", interactive=False, verbosity=0)
    hashed = re.compile(r"[\w-]+\.[0-9a-f]{12}\.js")
    folder = tmp_path / "core"
    for name in SCRIPTS:
        (path,) = [path for path in folder.glob(f"{name[:-3]}.*.js") if hashed.fullmatch(path.name)]
        sources = re.findall(r'(?:from |^import ?)"\./([^"]+)"', path.read_text(), re.MULTILINE)
        assert len(sources) == len(imports(name)), name
        for source in sources:
            assert hashed.fullmatch(source), f"{name} imports {source}"
            assert (folder / source).exists(), f"{name} imports {source}"
