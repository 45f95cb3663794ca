"""Every refusal that the source of the server can make: class of error, pattern of its message, and where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamer import errors
from streamer.errors import StreamerError

SOURCE = Path(errors.__file__).parent
# What serves. The others refuse on the command line, or while a server starts.
ROOMS = ("audio", "engine", "gateway", "host", "session", "tasks", "wire")


@dataclass(frozen=True, order=True)
class Refusal:
    """One call that makes an error. `message` has `…` where the source fills in a value."""

    kind: str
    message: str
    module: str
    line: int


def refusals(source: Path = SOURCE) -> tuple[Refusal, ...]:
    """Read the rooms that serve, in the order of their files; without those that only repeat another error's text."""
    files = [file for room in ROOMS for file in sorted((source / room).rglob("*.py"))]
    trees = {file.relative_to(source).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in files}
    kinds = _kinds(list(trees.values()))
    found = (refusal for name, tree in trees.items() for refusal in _refusals(name, tree, kinds))
    return tuple(refusal for refusal in found if refusal.message != "…")


@dataclass(frozen=True)
class _Kind:
    """A class of errors: its class of the table, and its message as written in terms of the names of its arguments."""

    base: str
    parameters: tuple[str, ...] = ("message",)
    message: ast.expr = ast.Name("message")  # noqa: RUF009 - a node that nobody changes


def _kinds(trees: list[ast.Module]) -> dict[str, _Kind]:
    """Every class of errors: those of the table, and those that rooms derive from them."""
    kinds = {name: _Kind(name) for name, kind in vars(errors).items() if _is_error(kind)}
    for node in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for base in (base.id for base in node.bases if isinstance(base, ast.Name) and base.id in kinds):
            kinds[node.name] = _derived(node, kinds[base].base)
    return kinds


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, StreamerError)


def _derived(node: ast.ClassDef, base: str) -> _Kind:
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            calls = (call for call in ast.walk(method) if isinstance(call, ast.Call))
            message = next(call.args[0] for call in calls if ast.unparse(call.func) == "super().__init__")
            return _Kind(base, tuple(each.arg for each in method.args.args[1:]), message)
    return _Kind(base)


def _refusals(module: str, tree: ast.Module, kinds: dict[str, _Kind]) -> Iterator[Refusal]:
    constants = dict(_constants(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
            kind = kinds[node.func.id]
            texts = [_pattern(argument, constants) for argument in node.args]
            message = _pattern(kind.message, dict(zip(kind.parameters, texts, strict=False)))
            yield Refusal(kind.base, message, module, node.lineno)


def _pattern(node: ast.expr, known: dict[str, str]) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return known.get(node.id, "…")
    if isinstance(node, ast.FormattedValue):
        return _pattern(node.value, known)
    if isinstance(node, ast.JoinedStr):
        return "".join(_pattern(piece, known) for piece in node.values).replace("……", "…")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _pattern(node.left, known) + _pattern(node.right, known)
    return "…"


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, str(node.value.value)
