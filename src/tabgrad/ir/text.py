"""Graphs as text and back: one line a node, in an order that depends on the graph alone.

Golden tests, error messages and bug reports use it::

    graph {
      %0 = input : float32[4,8]
      %1 = input : float32[8,2]
      %2 = dot(%0, %1) batch=((), ()) contract=((1,), (0,)) : float32[4,2]
      %3 = const() value=0.0 : float32[]
      return %2, %3
    }

Static parameters stand in alphabetical order. Those that only repeat the result's type after the
colon (the shape of a reshape, the dtype of a cast) are left out. A closed sub-graph, such as the
body of a scan, is a block of its own behind its node. Entries begin and end otherwise, because
their ports have names::

    entry step rows=8 {
      %0 = input x : float32[8,4] rows
      %1 = input learning_rate : float32[] scalar
      %2 = state dense/kernel : float32[4,2]
      ...
      output loss = %9
      update dense/kernel = %12
    }
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from tabgrad import dtypes
from tabgrad.dtypes import DType
from tabgrad.errors import FormatError, TabgradError
from tabgrad.ir import entry as e
from tabgrad.ir.entry import EntryGraph
from tabgrad.ir.graph import PRIMITIVES, Aval, Graph, Node, fresh_id, make, toposort

# Parameters that are the shape, the dtype or both of the result, per primitive.
IMPLIED: Mapping[str, tuple[str, ...]] = {
    "array": ("dtype", "shape"),
    "bitcast": ("dtype",),
    "broadcast": ("shape",),
    "cast": ("dtype",),
    "const": ("dtype",),
    "iota": ("dtype", "shape"),
    "proj": ("aval",),
    "reshape": ("shape",),
}


class Port(NamedTuple):
    """A leaf given from outside: its role (input, value or state), name and flags."""

    node: Node
    role: str = "input"
    name: str = ""
    flags: tuple[str, ...] = ()


class Result(NamedTuple):
    """A named result: role "output" or "update". The results of a plain graph have neither."""

    node: Node
    role: str = ""
    name: str = ""


class Block(NamedTuple):
    """What one pair of braces holds. `head` is the line before the brace."""

    head: str
    ports: list[Port]
    results: list[Result]


def format_graph(graph: EntryGraph | Graph | Sequence[Node], *, layers: bool = False) -> str:
    """The text of an entry, of a closed graph, or of everything under some nodes.

    Args:
        graph: an entry, a graph, or nodes; leaves below nodes become the inputs in order of
            appearance.
        layers: whether each line ends in a comment naming the layer and the Python line.

    Example:
        >>> from tabgrad import dtypes
        >>> from tabgrad.ir import build as b
        >>> print(format_graph([b.neg(b.input((2,), dtypes.float32))]))
        graph {
          %0 = input : float32[2]
          %1 = neg(%0) : float32[2]
          return %1
        }
    """
    block = _entry_block(graph) if isinstance(graph, EntryGraph) else _block("graph", graph)
    return "\n".join(_lines(block, layers))


def parse_graph(text: str) -> Graph:
    """The graph that `format_graph` printed, on new inputs; equal to the one printed.

    Raises:
        FormatError: text that is not a graph, with the line where it stops being one.
        TabgradError: a line whose primitive does not take such sources.
    """
    block = _parse_all(text)
    if block.head != "graph" or any(result.role for result in block.results):
        raise FormatError(f"expected text beginning with 'graph {{'; received {block.head!r}")
    return _closed(block)


def parse_entry(text: str) -> EntryGraph:
    """The entry that `format_graph` printed, on new inputs; raises as `parse_graph` does."""
    block = _parse_all(text)
    head = _ENTRY.fullmatch(block.head)
    if head is None:
        raise FormatError(f"expected text beginning with 'entry name {{'; received {block.head!r}")
    inputs = [port for port in block.ports if port.role == "input"]
    states = [port for port in block.ports if port.role == "state"]
    updates = {r.name: r.node for r in block.results if r.role == "update"}
    return EntryGraph(
        name=_unquoted(head[1]),
        arguments=[
            e.Argument(p.node, p.name, scalar="scalar" in p.flags, rows="rows" in p.flags)
            for p in inputs
        ],
        states=[e.State(p.node, p.name, updates.get(p.name)) for p in states],
        results=[e.Result(r.node, r.name) for r in block.results if r.role == "output"],
        rows=int(head[2]) if head[2] else None,
    )


def _block(head: str, graph: Graph | Sequence[Node]) -> Block:
    if isinstance(graph, Graph):
        leaves, roots = list(graph.inputs), list(graph.outputs)
    else:
        roots = list(graph)
        leaves = [n for n in toposort(roots) if n.prim.name in ("input", "value")]
    return Block(head, [Port(n, n.prim.name) for n in leaves], [Result(n) for n in roots])


def _entry_block(entry: EntryGraph) -> Block:
    head = f"entry {quoted(entry.name)}"
    if entry.rows is not None:
        head += f" rows={entry.rows}"
    ports = []
    for a in entry.arguments:
        flags = [word for word, on in (("scalar", a.scalar), ("rows", a.rows)) if on]
        ports.append(Port(a.node, "input", a.name, tuple(flags)))
    ports += [Port(s.node, "state", s.variable) for s in entry.states]
    results = [Result(r.node, "output", r.name) for r in entry.results]
    results += [
        Result(s.update, "update", s.variable) for s in entry.states if s.update is not None
    ]
    return Block(head, ports, results)


def _closed(block: Block) -> Graph:
    return Graph([port.node for port in block.ports], [result.node for result in block.results])


def _lines(block: Block, layers: bool) -> Iterator[str]:
    names: dict[int, str] = {}
    yield f"{block.head} {{"
    for node, role, name, flags in block.ports:
        names[id(node)] = f"%{len(names)}"
        words = [names[id(node)], "=", role, *([quoted(name)] if name else []), ":"]
        yield "  " + " ".join([*words, format_type(node), *flags])
    for node in toposort([result.node for result in block.results]):
        if id(node) in names:
            continue
        names[id(node)] = f"%{len(names)}"
        yield "  " + format_node(node, names, layers=layers)
        for key, body in _bodies(node):
            for line in _lines(_block(key, body), layers):
                yield "    " + line
    plain = [names[id(result.node)] for result in block.results if not result.role]
    if plain:
        yield f"  return {', '.join(plain)}"
    for result in block.results:
        if result.role:
            yield f"  {result.role} {quoted(result.name)} = {names[id(result.node)]}"
    yield "}"


def format_node(node: Node, names: Mapping[int, str], *, layers: bool = False) -> str:
    """The line of one node, without the sub-graphs it holds; `names` maps ids of nodes."""
    implied = IMPLIED.get(node.prim.name, ())
    params = [
        f" {key}={_value(node.params[key], node)}"
        for key in sorted(node.params)
        if key not in implied and not isinstance(node.params[key], Graph)
    ]
    srcs = ", ".join(names.get(id(src), "%?") for src in node.srcs)
    name = names.get(id(node), "%?")
    line = f"{name} = {node.prim.name}({srcs}){''.join(params)} : {format_type(node)}"
    if layers and any(node.origin):
        line += f"  # {' '.join(filter(None, node.origin))}"
    return line


def format_type(node: Node) -> str:
    """dtype[shape] of each output, such as float32[4,8]."""
    return ", ".join(f"{dtype}[{','.join(map(str, shape))}]" for shape, dtype in node.outs)


def quoted(name: str) -> str:
    """A name as one word: in double quotes unless it is made of letters, digits and ._/:-."""
    return name if _WORD.fullmatch(name) else json.dumps(name)


def _bodies(node: Node) -> list[tuple[str, Graph]]:
    return [(k, node.params[k]) for k in sorted(node.params) if isinstance(node.params[k], Graph)]


def _value(value: Any, node: Node) -> str:
    if isinstance(value, DType):
        return value.name
    if isinstance(value, (bytes, bytearray)):
        return f"0x{value.hex()}"
    if type(value) is float and node.prim.name == "const":
        return shortest(value, node.dtype)
    return str(value) if type(value) is float else repr(value)


def shortest(value: float, dtype: DType) -> str:
    """The fewest digits that give this constant back: 0.1 and not 0.10000000149011612."""
    for digits in range(1, 17):
        text = f"{value:.{digits}g}"
        if "inf" in text or "nan" in text:
            return text
        if dtypes.wrap(float(text), dtype) == value:
            return text if "e" in text or "." in text else f"{text}.0"
    return repr(value)


_WORD = re.compile(r"[\w./:-]+")
_NODE = re.compile(
    r"(%\d+) = (\w+)\(([^)]*)\)(.*?) : (\w+\[[\d,]*\](?:, \w+\[[\d,]*\])*)(?:  #.*)?"
)
_PORT = re.compile(r'(%\d+) = (input|value|state)(?: ([\w./:-]+|"(?:[^"\\]|\\.)*"))? : (\S+)(.*)')
_RESULT = re.compile(r'(output|update) ([\w./:-]+|"(?:[^"\\]|\\.)*") = (%\d+)')
_ENTRY = re.compile(r'entry ([\w./:-]+|"(?:[^"\\]|\\.)*")(?: rows=(\d+))?')
_TYPE = re.compile(r"(\w+)\[([\d,]*)\]")


class _Reader:
    """Lines of a text, one after the other, with errors that name them."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.at = 0

    def peek(self) -> str:
        """The current line without indentation; skips empty ones, and is empty at the end."""
        while self.at < len(self.lines) and not self.lines[self.at].strip():
            self.at += 1
        return self.lines[self.at].strip() if self.at < len(self.lines) else ""

    def take(self) -> str:
        line = self.peek()
        self.at += 1
        return line

    def fail(self, expected: str) -> NoReturn:
        """Raise for the line last taken."""
        line = self.lines[self.at - 1].strip() if self.at <= len(self.lines) else "the end"
        raise FormatError(f"line {self.at}: expected {expected}; received {line!r}")


def _parse_all(text: str) -> Block:
    reader = _Reader(text)
    block = _parse(reader)
    if reader.peek():
        reader.at += 1
        reader.fail("nothing after the closing brace")
    return block


def _parse(reader: _Reader) -> Block:
    head = reader.take()
    if not head.endswith(" {"):
        reader.fail("a line ending in ' {'")
    nodes: dict[str, Node] = {}
    ports: list[Port] = []
    results: list[Result] = []

    def known(name: str) -> Node:
        if name not in nodes:
            reader.fail(f"a node defined above instead of {name}")
        return nodes[name]

    while (line := reader.take()) != "}":
        if line.startswith("return "):
            results += [Result(known(name)) for name in line[7:].split(", ")]
        elif found := _RESULT.fullmatch(line):
            role, name, source = found.groups()
            results.append(Result(known(source), role, _unquoted(name)))
        elif found := _PORT.fullmatch(line):
            target, role, name, kind, flags = found.groups()
            node = _leaf(role, _types(kind, reader)[0])
            nodes[target] = node
            ports.append(Port(node, role, _unquoted(name or ""), tuple(flags.split())))
        elif found := _NODE.fullmatch(line):
            target, prim, srcs, params, kind = found.groups()
            sources = [known(name) for name in srcs.split(", ")] if srcs else []
            nodes[target] = _node(reader, prim, sources, params, _types(kind, reader))
        else:
            reader.fail("a node, a result or a closing brace")
    return Block(head[:-2], ports, results)


def _leaf(role: str, aval: Aval) -> Node:
    identity = {"id" if role == "value" else "index": fresh_id()}
    name = "value" if role == "value" else "input"
    return make(name, **identity, shape=aval.shape, dtype=aval.dtype)


def _node(
    reader: _Reader, prim: str, srcs: Sequence[Node], text: str, avals: Sequence[Aval]
) -> Node:
    if prim not in PRIMITIVES:
        reader.fail(f"a primitive, which {prim!r} is not")
    arity = PRIMITIVES[prim].arity
    if arity is not None and len(srcs) != arity:
        reader.fail(f"{arity} sources for {prim}")
    number = reader.at
    params = {key: _parse_value(value, avals[0].dtype, prim, reader) for key, value in _split(text)}
    for key in IMPLIED.get(prim, ()):
        params[key] = {"shape": avals[0].shape, "dtype": avals[0].dtype, "aval": avals[0]}[key]
    while re.fullmatch(r"\w+ \{", reader.peek()):
        body = _parse(reader)
        params[body.head] = _closed(body)
    try:
        node = make(prim, *srcs, **params)
    except TabgradError:
        raise
    except Exception as error:  # a rule met sources or parameters of a wrong number or kind
        raise FormatError(f"line {number}: {prim} cannot be made of this: {error}") from error
    if node.outs != tuple(avals):
        reader.at = number
        reader.fail(f"the type {format_type(node)}")
    return node


def _types(text: str, reader: _Reader) -> list[Aval]:
    avals = []
    for part in text.split(", "):
        found = _TYPE.fullmatch(part)
        if found is None:
            reader.fail("a type such as float32[4,8] after the colon")
        sizes = tuple(int(n) for n in found[2].split(",") if n)
        avals.append(Aval(sizes, dtypes.as_dtype(found[1])))
    return avals


def _split(text: str) -> Iterator[tuple[str, str]]:
    """The `key=value` pairs of a line; values hold spaces only between parentheses."""
    depth, start = 0, 0
    for i, char in enumerate(text + " "):
        depth += (char == "(") - (char == ")")
        if char == " " and depth == 0:
            key, _, value = text[start:i].partition("=")
            start = i + 1
            if key:
                yield key, value


def _parse_value(text: str, dtype: DType, prim: str, reader: _Reader) -> Any:
    if text in ("inf", "-inf", "nan"):
        return float(text)
    if text.startswith("0x"):
        return bytes.fromhex(text[2:])
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        if text in {d.name for d in dtypes.ALL}:
            return dtypes.as_dtype(text)
        reader.fail(f"a value instead of {text!r}")
    return dtypes.wrap(value, dtype) if prim == "const" else value


def _unquoted(name: str) -> str:
    return json.loads(name) if name.startswith('"') else name
