"""YAML as people write it: what is said twice in one mapping is refused, and every value knows its line."""

from collections.abc import Iterable
from typing import Any

import yaml


class YamlError(ValueError):
    """A text that is no YAML, or that says something twice; says where."""


class _Loader(yaml.SafeLoader):
    """YAML forbids a key that comes twice in one mapping; the library would silently take the last."""

    # Checked on the text's own nodes: what `<<` brings in may well be said anew.
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = (key.tag, key.value), _line(key)
            if name in lines:
                raise YamlError(f"line {line}: the key {key.value!r} is there already, in line {lines[name]}")
            lines[name] = line
        return node


def read_yaml(text: str) -> Any:
    """Return what the one document in a text says.

    Raises:
        YamlError: it is no YAML, or a key is there twice; names the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (it is a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise YamlError(f"{where}{error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: a date that is none, or what `_Loader` says.
        raise YamlError(str(error).partition("\n")[0]) from error
    except RecursionError as error:
        raise YamlError("its brackets are nested too deeply") from error


def line_of(text: str, path: Iterable[int | str]) -> int:
    r"""Return the line on which the text that `read_yaml` took speaks of this; of what is not there, where it belongs.

    >>> line_of("a:\n  - b: 1\n    c: 2\n", ("a", 0, "c"))
    3
    """
    node = yaml.compose(text, Loader=_Loader)
    line = _line(node) if node is not None else 1
    for part in path:
        match node:
            case yaml.SequenceNode() if isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = _line(node)
            case yaml.MappingNode():
                pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
                if pair is None:
                    break
                line, node = _line(pair[0]), pair[1]
            case _:
                break
    return line


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
