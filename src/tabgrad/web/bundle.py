"""JavaScript modules as they go into a page: fewer files, without comments and spare white space.

The player is written as many small modules with comments and JSDoc types, which a visitor should
not have to download. A file has all that it imports in it, less the functions and classes that
nobody asks for; what is imported while running, by `import("./name.js")`, is a file of its own.
Modules that several files need are copied into each, so they may hold no state, and nobody may ask
whose copy a class is. Names stay as they were written, so what runs can still be read.

It understands the player's own style and refuses everything else: named imports from "./" and
exported declarations, statements that end in a semicolon and are not empty, no regular expression
with quotes, slashes or spaces in it, no template within a template.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable

from tabgrad.errors import NotSupportedError

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const|let) )", re.MULTILINE)
_DECLARED = re.compile(
    r"^(?:export )?(?:async )?(?:function\*?|class|const|let) ([\w$]+)", re.MULTILINE
)
# Without its export, a function or class does nothing; what continues it is indented or closes it.
_INERT = re.compile(
    r"^export (?:(?:async )?function\*?|class|const(?= [\w$]+ = [^;]*?=>)) ([\w$]+)"
    r"(?:.*\n)(?:(?:[ })\]].*)?\n)*",
    re.MULTILINE,
)
_DYNAMIC_IMPORT = re.compile(r'\bimport\("(\.[^"]+)"\)')
_ONLY_IN_FILES_OF_THEIR_OWN = re.compile(r"^export \{|import\.meta", re.MULTILINE)
_TOKEN = re.compile(
    r"""
    (?P<comment> //[^\n]* | /\*(?:[^*]|\*(?!/))*\*/ )
    | (?P<space> \s+ )
    | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | `(?P<template>(?:[^`\\]|\\.)*)`
    | [\w$#]+ | .
    """,
    re.VERBOSE,
)

_IN_TEMPLATE = re.compile(r"\\.|\$\{|[{}]", re.DOTALL)


def bundle(
    read: Callable[[str], str], entries: Iterable[str], outside: Collection[str] = ()
) -> dict[str, str]:
    """The files to write for some entry modules, by path.

    Args:
        read: gives the text of a module by its path, which uses "/".
        entries: paths of the modules that pages and workers load by address.
        outside: paths of modules that will be there without being read.

    Raises:
        NotSupportedError: for code outside the style described above.

    Example:
        >>> modules = {
        ...     "a.js": 'import { b } from "./b.js";\\n// adds one\\nexport const a = b + 1;\\n',
        ...     "b.js": "export const b = 1;\\n",
        ... }
        >>> bundle(modules.__getitem__, ["a.js"])
        {'a.js': 'const b=1;export const a=b+1;'}
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
        text = read(path)
        found: dict[str, list[str]] = {}
        for names, specifier in _IMPORT.findall(text):
            target = _resolve(path, specifier)
            found[target] = [name.strip() for name in names.split(",") if name.strip()]
            if target not in outside:
                visit(target, (*importers, path))
        texts[path] = _IMPORT.sub("", text)
        imports[path] = found
        # Comments may name modules, too, so they go before dynamic imports are looked for.
        roots.extend(_resolve(path, s) for s in _DYNAMIC_IMPORT.findall(tighten(texts[path])))
        order.append(path)

    for root in roots:  # which grows by what is imported dynamically
        if root not in outside:
            visit(root)
    files = {}
    for root in dict.fromkeys(roots):
        if root not in outside:
            members = _needed(root, imports, outside)
            files[root] = _join(root, [each for each in order if each in members], texts, imports)
    return files


def tighten(code: str) -> str:
    """JavaScript without comments, and without the white space, last semicolons and last commas
    it can do without.

    Raises:
        NotSupportedError: for a template within a template.

    Example:
        >>> tighten("const a = 1; // one\\nif (a) {\\n  b(`x  ${a}`);\\n}\\nc();\\n")
        'const a=1;if(a){b(`x  ${a}`)}\\nc();'
    """
    out: list[str] = []
    space = ""
    for match in _TOKEN.finditer(code):
        token = match[0]
        if match["comment"] is not None:
            continue
        if match["space"] is not None:
            space = "\n" if "\n" in token or space == "\n" else " "
            continue
        if match["template"] is not None and _ends_within(match["template"]):
            raise NotSupportedError(f"expected no template within a template: {token!r}")
        if space and out:
            before, after = out[-1][-1], token[0]
            if space == "\n" and before == "}" and after not in "}]),;.?:":
                out.append("\n")  # which may end a statement
            elif (_in_words(before) and _in_words(after)) or (before == after and before in "+-"):
                out.append(" ")
        space = ""
        if _is_last(out, token):
            out.pop()
        out.append(token)
    return "".join(out)


def _ends_within(template: str) -> bool:
    """Whether the text up to a backtick ends within a `${...}`, so that another template begins."""
    depth = 0
    for match in _IN_TEMPLATE.finditer(template):
        if match[0] == "${" or (depth and match[0] == "{"):
            depth += 1
        elif depth and match[0] == "}":
            depth -= 1
    return depth > 0


def _is_last(out: list[str], token: str) -> bool:
    """Whether what was written last, a semicolon or a comma, means nothing in front of a token."""
    if token == "}" and out[-1:] == [";"]:
        return True
    # What a comma comes after is an item, but for holes in an array, and {2,} in an expression.
    before = out[-3:-1]
    return (
        token in "}])"
        and out[-1:] == [","]
        and before[-1:] not in ([","], ["["])
        and not (before[:1] == ["{"] and before[1].isdigit())
    )


def _in_words(letter: str) -> bool:
    return letter.isalnum() or letter in "_$#"


def _needed(
    path: str, imports: dict[str, dict[str, list[str]]], outside: Collection[str]
) -> set[str]:
    """A module and all that it imports."""
    found = {path}
    for target in imports[path]:
        if target not in outside:
            found |= _needed(target, imports, outside)
    return found


def _join(
    path: str,
    members: list[str],
    texts: dict[str, str],
    imports: dict[str, dict[str, list[str]]],
) -> str:
    """One file from modules in an order that works; the last of them is the file itself."""
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
            asked = {name for each in members for name in imports[each].get(member, ())}
            code = _EXPORT.sub("", _without(code, asked))
        for specifier in set(_DYNAMIC_IMPORT.findall(code)):
            moved = _specifier(path, _resolve(member, specifier))
            code = code.replace(f'import("{specifier}")', f'import("{moved}")')
        body += code
    lines = [
        f'import {{ {", ".join(sorted(every))} }} from "{_specifier(path, target)}";\n'
        for target, every in wanted.items()
    ]
    return tighten("".join(lines) + body)


def _without(code: str, asked: set[str]) -> str:
    """A module without the functions and classes that nobody asked for, nor it itself."""

    def kept(match: re.Match[str]) -> str:
        uses = len(re.findall(rf"(?<![\w$.]){re.escape(match[1])}(?![\w$])", code))
        own = len(re.findall(rf"(?<![\w$.]){re.escape(match[1])}(?![\w$])", match[0]))
        # A template may have lines that look like the end of what it is in.
        return match[0] if match[1] in asked or uses > own or "`" in match[0] else ""

    while (less := _INERT.sub(kept, code)) != code:
        code = less
    return code


def _resolve(importer: str, specifier: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(importer), specifier))


def _specifier(importer: str, target: str) -> str:
    path = posixpath.relpath(target, posixpath.dirname(importer) or ".")
    return path if path.startswith(".") else f"./{path}"
