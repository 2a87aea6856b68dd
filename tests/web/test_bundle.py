"""The files of a page hold what the modules say, and refuse what they might get wrong."""

from __future__ import annotations

import pytest

from tabgrad.errors import NotSupportedError
from tabgrad.web.bundle import bundle, tighten
from tabgrad.web.site import page_files


def bundled(entries=("main.js",), outside=(), **modules):
    texts = {name.replace("__", "/") + ".js": text for name, text in modules.items()}
    return bundle(texts.__getitem__, list(entries), outside)


def test_a_file_has_all_it_imports():
    files = bundled(
        main='import { a } from "./lib/a.js";\nimport { b } from "./b.js";\na(b);\n',
        lib__a='import { b } from "../b.js";\nexport const a = () => b;\n',
        b="export const b = 1;\nclass B {}\n",
    )
    assert files == {"main.js": "const b=1;class B{}\nconst a=()=>b;a(b);"}


def test_what_nobody_imports_is_left_out():
    """But not what its own module needs, nor what might do something."""
    files = bundled(
        main='import { a } from "./a.js";\na();\n',
        a="export const done = a();\n"
        "export class A {\n  b() {\n    c();\n  }\n}\n"
        "export const c = (x) =>\n  x.A;\n"
        "export async function* a() {\n  yield d;\n}\n"
        "export function d() {}\nexport function e() {\n  e();\n}\n",
    )
    assert files["main.js"] == "const done=a();async function*a(){yield d}\nfunction d(){}\na();"


def test_what_is_imported_while_running_is_a_file():
    files = bundled(
        main='import { a } from "./lib/a.js";\na();\n',
        lib__a='export async function a() {\n  return (await import("./late.js")).late;\n}\n',
        lib__late='import { b } from "../b.js";\nexport const late = b;\n',
        b="export const b = 1;\n",
    )
    late = 'import("./lib/late.js")'
    assert files["main.js"] == f"async function a(){{return(await {late}).late}}\na();"
    assert files["lib/late.js"] == "const b=1;export const late=b;"


def test_modules_outside_stay_imports():
    files = bundled(
        outside=["player.js"],
        main='import { a } from "./a.js";\nimport { load } from "./player.js";\nload(a);\n',
        a='import { save } from "./player.js";\nexport const a = save;\n',
    )
    assert files == {
        "main.js": 'import{load,save}from"./player.js";const a=save;load(a);',
    }


@pytest.mark.parametrize(
    "modules, words",
    [
        (
            {
                "main": 'import { a } from "./a.js";\nconst x = a;\n',
                "a": "const x = 1;\nexport const a = x;\n",
            },
            "both declare 'x'",
        ),
        (
            {
                "main": 'import { a } from "./a.js";\na;\n',
                "a": 'import { b } from "./b.js";\nexport const a = b;\n',
                "b": 'import { a } from "./a.js";\nexport const b = a;\n',
            },
            "a.js -> b.js -> a.js",
        ),
        (
            {
                "main": 'import { a } from "./a.js";\na;\n',
                "a": "export const a = import.meta.url;\n",
            },
            "a.js cannot move into main.js",
        ),
        (
            {"main": 'import { a } from "./a.js";\na;\n', "a": "const a = 1;\nexport { a };\n"},
            "a.js cannot move into main.js",
        ),
        ({"main": "const a = `1 ${b ? `2` : 3}`;\n"}, "template within a template"),
        ({"main": "const a = `}${{ b: {} }, `2`}`;\n"}, "template within a template"),
    ],
)
def test_refuses_what_it_might_get_wrong(modules, words):
    with pytest.raises(NotSupportedError, match=words.replace("(", r"\(")):
        bundled(**modules)


@pytest.mark.parametrize(
    "code, expected",
    [
        ("a = 'x \\' \" y';", "a='x \\' \" y';"),
        ('a = "// no  comment"; // one', 'a="// no  comment";'),
        ('a = "\\" /* no */";', 'a="\\" /* no */";'),
        ("a = `b  // ${ c }  d`;", "a=`b  // ${ c }  d`;"),
        ("a = `#x\n{ // ${b}\n} ${{ c: 1 }.c} \\${`;", "a=`#x\n{ // ${b}\n} ${{ c: 1 }.c} \\${`;"),
        ("/** @type {x} */ (a) / b / c;", "(a)/b/c;"),
        ("/* a\n * b\n **/\nc;", "c;"),
        ("a - -b + +c - - -d;", "a- -b+ +c- - -d;"),
        ("a++ + ++b;", "a++ + ++b;"),
        ("return typeof a in b;", "return typeof a in b;"),
        ("class A {\n  #b = 1;\n  get c() {\n    return this.#b;\n  }\n  d() {}\n}\ne();", None),
        ("do a();\nwhile (b);", "do a();while(b);"),
        ("const a = { b };\n[c] = d;", "const a={b};[c]=d;"),
        ("const a = /[,;\\s]+/g;", "const a=/[,;\\s]+/g;"),
        ("if (a) {\n  b();\n  c();\n}\nd();", "if(a){b();c()}\nd();"),
        ("for (;;) {\n  a();\n}", "for(;;){a()}"),
        ("const a = [\n  1,\n  { b: 2, },\n];\nc(\n  a,\n);", "const a=[1,{b:2}];c(a);"),
        ("const [, a] = [1, , ];\nb([,]);", "const[,a]=[1,,];b([,]);"),
        ("const a = /b{2,}c/;", "const a=/b{2,}c/;"),
    ],
)
def test_tightening_keeps_the_meaning(code, expected):
    expected = expected or "class A{#b=1;get c(){return this.#b}\nd(){}}\ne();"
    assert tighten(code) == expected


@pytest.mark.parametrize("digits", [False, True])
def test_what_a_page_gets(digits):
    files = dict(page_files("A & B <c>", digits=digits))
    expected = {
        *("index.html", "page.css", "page.js", "panels.js", "data.js", "icon.svg", "package.json"),
        *("tabgrad.d.ts", "tabgrad.js", "tabgrad/save.js", "tabgrad/half.js"),
        *("tabgrad/session.js", "tabgrad/worker.js", "tabgrad/threads.js", "tabgrad/stream.js"),
        "tabgrad/remote.js",
    }
    assert files.keys() == expected | ({"digits.js"} if digits else set())
    others = dict(page_files("A & B <c>", digits=digits, gpus=["webgl"]))
    assert {"tabgrad/relay.js", "tabgrad/choosing.js", "tabgrad/webgl.js"} <= others.keys()
    assert "tabgrad/webgpu.js" not in others
    assert "A &amp; B &lt;c&gt;" in files["index.html"]
    for path, text in files.items():
        if path.endswith(".js"):
            assert "/*" not in text
            assert "@param" not in text


def test_pages_need_no_loosened_policy():
    """No inline script, style or handler, and nothing from elsewhere."""
    files = dict(page_files("title", digits=True))
    page = files["index.html"]
    for word in ("<style", " style=", "javascript:", " onclick", " onload", "http", "//"):
        assert word not in page
    assert page.count("<script") == 1
    assert "url(" not in files["page.css"] and "@import" not in files["page.css"]
