"""The app. Here stands what its plug-in folders share: vendors, feeds and rules, one file each.

A file of one's own may be broken. That costs what uses it, and nothing else: whoever loads it gets
the same LookupError as for a file that is not there, with a sentence that names file and line.
"""

import pkgutil
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
_broken: dict[str, str] = {}
"""Why a file does not load, by its path: else its import would be tried again for each device."""


def plug_ins(folder: str) -> list[str]:
    """Return the names of a folder's files; those that begin with `_` are shared code."""
    found = pkgutil.iter_modules(sys.modules[f"{__name__}.{folder}"].__path__)
    return sorted(module.name for module in found if not module.name.startswith("_"))


def plug_in(
    folder: str, name: str, complaint: Callable[[ModuleType], str], unknown: type[LookupError]
) -> ModuleType:
    """Load a file, once. Raises `unknown`, with a sentence, if there is none or it is broken.

    `complaint` says what the module lacks; "" if nothing.
    """
    names = plug_ins(folder)
    if name not in names:
        known = ", ".join(names)
        raise unknown(f"There is no {folder.removesuffix('s')} {name!r}. Known: {known}.")
    path = f"core/{folder}/{name}.py"
    if path not in _broken:
        try:
            module = import_module(f"{__name__}.{folder}.{name}")
            lacks = complaint(module)
        except Exception as error:  # a plug-in file may fail in any way
            _broken[path] = f"{path} is broken{_place(error, name)}: {_text(error)}"
        else:
            if not lacks:
                return module
            _broken[path] = f"{path} is broken: {lacks}"
    raise unknown(_broken[path])


def _text(error: Exception) -> str:
    # The whole text of a SyntaxError names the file again.
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}"


def _place(error: Exception, name: str) -> str:
    """Return the line where it went wrong, of the file or of one that it imports."""
    if isinstance(error, SyntaxError) and error.filename:
        file, line = Path(error.filename), error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        # Our own, and those of the import system, which have no file.
        others = [frame for frame in frames if frame.filename != __file__]
        ours = [frame for frame in others if Path(frame.filename).exists()]
        # The import that failed stands in the file itself, deeper frames in what it imports.
        own = [frame for frame in ours if Path(frame.filename).stem == name]
        chosen = own or [frame for frame in ours if HERE in Path(frame.filename).parents]
        if not chosen:
            return ""
        file, line = Path(chosen[-1].filename), chosen[-1].lineno
    where = "" if file.stem == name else f" {file.name},"
    return f",{where} line {line}"
