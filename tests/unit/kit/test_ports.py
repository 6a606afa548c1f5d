"""A port is nobody else's between being drawn and being listened on."""

import pytest

from aegis.kit import embedded
from aegis.kit.embedded import free_port


def test_no_port_is_handed_out_twice_though_nobody_listens_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PORTS", range(29_000, 29_004))
    monkeypatch.setattr(embedded, "_given", {29_000, 29_001})
    monkeypatch.setattr(embedded, "_is_free", lambda _: True)

    assert {free_port(), free_port()} == {29_002, 29_003}
    with pytest.raises(OSError, match="no free port"):
        free_port()


def test_a_preferred_port_is_preferred_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_given", set[int]())
    port = free_port()
    embedded._given.clear()

    assert free_port(port) == port
    assert free_port(port) != port
