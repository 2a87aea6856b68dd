"""JavaScript modules as they go into a page: fewer files, without comments, otherwise unchanged.

The player is written as many small modules with comments and JSDoc types, which a visitor should
not have to download. A module that only one other module imports moves into it; lines that are
comments go. Names and lines stay as they were written, so what runs can still be read.

It understands the player's own style and refuses everything else: named imports from "./",
exported declarations, comments on lines of their own, no template text that looks like a comment.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable

from tabgrad.errors import NotSupportedError

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let) )", re.MULTILINE)
_DECLARED = re.compile(
    r"^(?:export )?(?:async )?(?:function|class|const|let) ([\w$]+)", re.MULTILINE
)
_ONLY_IN_FILES_OF_THEIR_OWN = re.compile(r'^export \{|import\.meta|\bimport\("\.', re.MULTILINE)
_COMMENTS = re.compile(
    r"""
    ^[ ]*/\*\*(?:[^*]|\*(?!/))*\*/\n  # a JSDoc block on lines of its own
    | ^[ ]*//.*\n                     # a comment line
    | [ ]+//[ ].*$                    # a comment after code
    | /\*\*[ ]@(?:[^*]|\*(?!/))*\*/[ ]?   # a type within code
    """,
    re.MULTILINE | re.VERBOSE,
)


def bundle(read: Callable[[str], str], entries: Iterable[str]) -> dict[str, str]:
    """The files to write for some entry modules, by path.

    Args:
        read: gives the text of a module by its path, which uses "/".
        entries: paths of the modules that pages and workers load by address.

    Raises:
        NotSupportedError: for code outside the style described above.

    Example:
        >>> modules = {
        ...     "a.js": 'import { b } from "./b.js";\\n// adds one\\nexport const a = b + 1;\\n',
        ...     "b.js": "export const b = 1;\\n",
        ... }
        >>> bundle(modules.__getitem__, ["a.js"])
        {'a.js': 'const b = 1;\\nexport const a = b + 1;\\n'}
    """
    roots = list(entries)
    texts: dict[str, str] = {}
    imports: dict[str, dict[str, list[str]]] = {}
    order: list[str] = []  # what is imported comes before what imports it

    def visit(path: str, importers: tuple[str, ...] = ()) -> None:
        if path in importers:
            circle = " -> ".join((*importers, path))
            raise NotSupportedError(f"modules that import each other cannot be bundled: {circle}")
        if path in texts:
            return
        code = _COMMENTS.sub("", read(path))
        found: dict[str, list[str]] = {}
        for names, specifier in _IMPORT.findall(code):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), specifier))
            found[target] = [name.strip() for name in names.split(",") if name.strip()]
            visit(target, (*importers, path))
        texts[path] = re.sub(r"\n\n+", "\n", _IMPORT.sub("", code)).lstrip("\n")
        imports[path] = found
        order.append(path)

    for root in roots:
        visit(root)

    owner: dict[str, str] = {}
    for path in reversed(order):
        owners = {owner[importer] for importer, names in imports.items() if path in names}
        owner[path] = owners.pop() if path not in roots and len(owners) == 1 else path
    return {
        path: _join(path, [each for each in order if owner[each] == path], texts, imports, owner)
        for path in order
        if owner[path] == path
    }


def _join(
    path: str,
    members: list[str],
    texts: dict[str, str],
    imports: dict[str, dict[str, list[str]]],
    owner: dict[str, str],
) -> str:
    """One file from the modules that it owns; the last of them is the file itself."""
    wanted: dict[str, set[str]] = {}
    declared: dict[str, str] = {}
    body = ""
    for member in members:
        code = texts[member]
        for target, imported in imports[member].items():
            if target not in members:
                wanted.setdefault(target, set()).update(imported)
        for name in _DECLARED.findall(code):
            if name in declared:
                raise NotSupportedError(f"{member} and {declared[name]} both declare {name!r}")
            declared[name] = member
        if member != path:
            alone = _ONLY_IN_FILES_OF_THEIR_OWN.search(code)
            if alone:
                raise NotSupportedError(f"{member} cannot move into {path}: {alone[0]!r}")
            code = _EXPORT.sub("", code)
        body += code
    folder = posixpath.dirname(path)
    lines = []
    for target, every in wanted.items():
        specifier = posixpath.relpath(target, folder or ".")
        if not specifier.startswith("."):
            specifier = f"./{specifier}"
        lines.append(f'import {{ {", ".join(sorted(every))} }} from "{specifier}";\n')
    return "".join(lines) + body
