"""Errors say what to do next."""

import ast
from collections.abc import Iterator
from pathlib import Path

import aegis
from aegis.kit.errors import ConflictError, ForbiddenError, NotFoundError, UnauthenticatedError

SAY_WHAT_TO_DO = {one.__name__ for one in (ConflictError, ForbiddenError, NotFoundError, UnauthenticatedError)}


def made() -> Iterator[tuple[str, ast.Call]]:
    """Return every place in Aegis that makes one of these, and where it is."""
    for path in Path(aegis.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SAY_WHAT_TO_DO:
                yield f"{path.name}:{node.lineno}", node


def test_whoever_is_refused_is_told_what_to_do_instead() -> None:
    unhelpful = {
        where
        for where, call in made()
        if not any(one.arg == "hint" and ast.unparse(one.value) not in ("''", '""') for one in call.keywords)
    }

    assert unhelpful == set()
    assert len(list(made())) > 20
