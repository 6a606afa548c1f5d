"""Kubernetes quantities as numbers."""

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


def number_of(quantity: str | float) -> float:
    """Return a quantity in its base unit (cores, bytes, pieces).

    >>> number_of("250m"), number_of("64Mi"), number_of("2"), number_of(3)
    (0.25, 67108864.0, 2.0, 3.0)
    """
    text = str(quantity)
    for suffix, factor in _BINARY.items():
        if text.endswith(suffix):
            return float(text[: -len(suffix)]) * factor
    if text[-1:] in _DECIMAL and not text[-1:].isdigit():
        return float(text[:-1]) * _DECIMAL[text[-1]]
    return float(text)


def bytes_of(quantity: str | float) -> int:
    return round(number_of(quantity))


def mebibytes(size: int) -> str:
    """Return bytes as whole mebibytes, rounded up.

    >>> mebibytes(100 * 2**20 + 1)
    '101Mi'
    """
    return f"{-(-size // 2**20)}Mi"
