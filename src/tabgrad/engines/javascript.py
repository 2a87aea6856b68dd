"""The package's JavaScript modules as one script, for places that cannot import them by address.

Under Pyodide the player's files lie in Python's file system, where the browser cannot fetch them,
and importing modules is asynchronous, which the first tensor of a program cannot wait for. So the
modules that one file imports, directly or not, become one expression whose value is that file's
exports. It understands what the player's modules use (named imports and exports of declarations)
and refuses the rest.

Not here: evaluating the script (`page.py`).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from importlib.resources import files

from tabgrad.errors import NotSupportedError

_IMPORT = re.compile(r"^import\s*\{([^}]*)\}\s*from\s*[\"']([^\"']+)[\"'];?", re.MULTILINE)
_EXPORT = re.compile(
    r"^export\s+(?=(?:(?:async\s+)?function\*?|class|const|let)\s+([\w$]+))", re.MULTILINE
)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def script(path: str, read: Callable[[str], str] | None = None) -> str:
    """One JavaScript expression whose value is an object with the exports of a module.

    Args:
        path: of the module, relative to the package, for instance "engines/page.js".
        read: gives the text of a module by that path; by default from the package.

    Raises:
        NotSupportedError: for an import or export of another form, or an import in a circle.
    """
    read = read or _read
    scopes: dict[str, str] = {}
    _add(path, read, scopes, ())
    body = "".join(scopes.values())
    return f'(() => {{"use strict";\n{body}return {_scope(path, scopes)};\n}})()'


def _add(
    path: str, read: Callable[[str], str], scopes: dict[str, str], importers: tuple[str, ...]
) -> None:
    if path in scopes:
        return
    if path in importers:
        circle = " -> ".join((*importers, path))
        raise NotSupportedError(f"modules that import each other cannot be joined: {circle}")
    text = read(path)
    for match in _IMPORT.finditer(text):
        _add(_resolve(path, match[2]), read, scopes, (*importers, path))

    def bind(match: re.Match[str]) -> str:
        names = re.sub(r"\s+as\s+", ": ", match[1])
        return f"const {{{names}}} = {_scope(_resolve(path, match[2]), scopes)};"

    exported = _EXPORT.findall(text)
    text = _EXPORT.sub("", _IMPORT.sub(bind, text))
    other = _OTHER.search(text)
    if other:
        raise NotSupportedError(
            f"{path}: expected named imports and exported declarations, found {other[0]!r}"
        )
    number = len(scopes)
    scopes[path] = f"const $module{number} = (() => {{ // {path}\n{text}\n"
    scopes[path] += f"return {{ {', '.join(exported)} }};\n}})();\n"


def _scope(path: str, scopes: dict[str, str]) -> str:
    return f"$module{list(scopes).index(path)}"


def _resolve(importer: str, specifier: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(importer), specifier))


def _read(path: str) -> str:
    return files("tabgrad").joinpath(*path.split("/")).read_text(encoding="utf-8")
