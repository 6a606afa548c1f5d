"""Amounts of CPU, memory and things, as `100m`, `64Mi` or `2`."""

import re
from fractions import Fraction

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
}
_PATTERN = re.compile(r"^([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)([eE][+-]?\d+|[A-Za-z]*)$")


def quantity(text: object) -> Fraction:
    """Read an amount.

    >>> quantity("250m"), quantity("1Ki"), quantity(2)
    (Fraction(1, 4), Fraction(1024, 1), Fraction(2, 1))

    Raises:
        ValueError: the text is not an amount.
    """
    matched = _PATTERN.match(str(text))
    if matched is None:
        raise ValueError(f"quantity {text!r} must match the form <number><suffix>, e.g. 100m or 64Mi")
    number, suffix = Fraction(matched[1]), matched[2]
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    if suffix in _DECIMAL:
        return number * _DECIMAL[suffix]
    if suffix[:1] in "eE" and suffix[1:].lstrip("+-").isdigit():
        return number * Fraction(10) ** int(suffix[1:])
    raise ValueError(f"quantity {text!r} has the unknown suffix {suffix!r}")


def written(amount: Fraction, *, like: str = "") -> str:
    """Write an amount the canonical way, in binary units if `like` uses them.

    >>> written(Fraction(134217728), like="1Gi"), written(Fraction(1, 4)), written(Fraction(3))
    ('128Mi', '250m', '3')
    """
    if like[-1:] == "i" and amount.denominator == 1:
        return _with_largest_unit(int(amount), _BINARY)
    if amount.denominator != 1:
        scale = next((suffix for suffix in ("m", "u") if (amount / _DECIMAL[suffix]).denominator == 1), "n")
        return f"{-(-amount // _DECIMAL[scale])}{scale}"
    return _with_largest_unit(int(amount), {unit: int(size) for unit, size in _DECIMAL.items() if size > 1})


def _with_largest_unit(amount: int, units: dict[str, int]) -> str:
    fitting = [(size, unit) for unit, size in units.items() if amount and amount % size == 0]
    size, unit = max(fitting, default=(1, ""))
    return f"{amount // size}{unit}"
