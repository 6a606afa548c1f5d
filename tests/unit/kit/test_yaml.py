"""YAML as people write it: nothing twice, and a line for everything."""

import pytest

from aegis.kit.yaml import YamlError, line_of, read_yaml

TEXT = """\
spec:
  rules:
    - name: a
      effect: allow
    - {name: b,
       effect: deny}
"""


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "x:\n- a: 1\n  'a': 1\n", "{a: 1,\n b: {c: 1}, a: 2}"])
def test_a_key_that_is_there_twice_is_refused_with_both_lines(text: str) -> None:
    with pytest.raises(YamlError, match=r"line \d: the key 'a' is there already, in line \d"):
        read_yaml(text)


def test_what_a_merge_brings_in_may_be_said_anew() -> None:
    assert read_yaml("x: &x {a: 1, b: 2}\ny: {<<: *x, a: 3}\nz: {<<: *x, a: 4}\n")["z"] == {"a": 4, "b": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [\n", "line 2, column 1"), ("a: 2026-99-99", "month"), ("[" * 5000, "nested"), ("\0", "not allowed")],
)
def test_what_is_no_yaml_says_why_in_one_line(text: str, said: str) -> None:
    with pytest.raises(YamlError, match=said) as refusal:
        read_yaml(text)

    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("spec",), 1),
        (("spec", "rules", 0, "effect"), 4),
        (("spec", "rules", 1, "effect"), 6),
        (("spec", "rules", 1, "missing"), 5),
        (("spec", "rules", 7), 2),
        (("nothing", "here"), 1),
        ((), 1),
    ],
)
def test_every_value_has_a_line_and_what_is_missing_the_one_where_it_belongs(
    path: tuple[int | str, ...], line: int
) -> None:
    assert line_of(TEXT, path) == line
