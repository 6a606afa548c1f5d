"""Users: so many requests a second, each on a connection of its own, and what became of them."""

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

GIVES_UP_AFTER_S = 5.0


@dataclass
class Traffic:
    """Requests to an address inside the testbed, from when the block is entered until it is left.

    A connection that is kept alive would hide that an endpoint is gone, so none is.
    """

    address: str
    per_second: float
    codes: Counter[int] = field(default_factory=Counter)
    """How often each status came back; 0 means no answer."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._pacing = threading.Thread(target=self._pace)
        self._pacing.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pacing.join()
        for thread in self._threads:
            thread.join()

    @property
    def sent(self) -> int:
        return self.codes.total()

    @property
    def failed(self) -> int:
        return sum(count for code, count in self.codes.items() if code != http.client.OK)

    def _pace(self) -> None:
        at = time.monotonic()
        while not self._stop.wait(max(0.0, at - time.monotonic())):
            at += 1 / self.per_second
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._ask)
            thread.start()
            self._threads.append(thread)

    def _ask(self) -> None:
        code = 0
        connection = http.client.HTTPConnection(self.address, timeout=GIVES_UP_AFTER_S)
        try:
            connection.request("GET", "/")
            code = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        with self._lock:
            self.codes[code] += 1
