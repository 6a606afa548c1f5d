"""A web service that can be told to go wrong, by its environment. It needs Python's standard library and nothing else.

GREETING           what it answers
EXIT_CODE          ends with this code
EXIT_AFTER_S       so long after its start; at once where it is not given
READY              `no`: never says that it is ready
ERROR_SHARE        answers this share of requests with 500
CPU_MS             processor time that each request costs
HOLD_MIB           memory that it takes at start, and keeps
LEAK_MIB_PER_S     memory that it takes each second, and keeps
NEEDS              URL of another service that each request asks; its failure is answered with 502
CONNECTIONS        how many connections to NEEDS it keeps open; a request needs one of them
CONNECTIONS_MOST   beyond so many open connections, a new one gets 503

It answers on port 8080: `/metrics` for Prometheus, `/ready` for the kubelet, all else to users.
"""

import http.client
import os
import queue
import random
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PORT = 8080
ASKS_WITHIN_S = 2.0
RECONNECTS_AFTER_S = 1.0
MIB = 1 << 20
OK, FAILED, UPSTREAM_FAILED, BUSY = 200, 500, 502, 503

kept: list[bytearray] = []
dice = random.SystemRandom()


def number(name: str) -> float:
    return float(os.environ.get(name) or 0)


def take(mib: float) -> None:
    """Take memory, really: each page is written to."""
    block = bytearray(int(mib * MIB))
    block[::4096] = b"x" * len(block[::4096])
    kept.append(block)


def leak(mib_per_s: float) -> None:
    while True:
        take(mib_per_s)
        time.sleep(1)


def leave(code: int) -> None:
    print(f"giving up: EXIT_CODE is {code}", file=sys.stderr, flush=True)
    os._exit(code)


def burn(milliseconds: float) -> None:
    until = time.thread_time() + milliseconds / 1000
    while time.thread_time() < until:
        pass


class Pool:
    """Connections to another service; who finds none free waits for one, and fails after a while."""

    def __init__(self, url: str, size: int) -> None:
        self._address = urlsplit(url).netloc
        self._free: queue.Queue[http.client.HTTPConnection] = queue.Queue()
        for _ in range(size):
            threading.Thread(target=self._open, daemon=True).start()

    def ask(self) -> bool:
        """Ask over a free connection, and return whether the answer was a good one."""
        try:
            connection = self._free.get(timeout=ASKS_WITHIN_S)
        except queue.Empty:
            return False
        if is_well := answers(connection):
            self._free.put(connection)
        else:
            connection.close()
            threading.Thread(target=self._open, daemon=True).start()
        return is_well

    def _open(self) -> None:
        while True:
            connection = http.client.HTTPConnection(self._address, timeout=ASKS_WITHIN_S)
            if answers(connection):
                self._free.put(connection)
                return
            connection.close()
            time.sleep(RECONNECTS_AFTER_S)


def answers(connection: http.client.HTTPConnection) -> bool:
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return False
    return answer.status == OK


class Metrics:
    """What Prometheus is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: Counter[int] = Counter({OK: 0})
        self._seconds = 0.0
        self._open = 0

    def answered(self, code: int, seconds: float) -> None:
        with self._lock:
            self._answered[code] += 1
            self._seconds += seconds

    def opened(self, change: int) -> int:
        """Count a connection that was opened or closed, and return how many are open."""
        with self._lock:
            self._open += change
            return self._open

    def text(self) -> str:
        with self._lock:
            lines = [f'http_requests_total{{code="{code}"}} {count}' for code, count in self._answered.items()]
            lines.append(f"http_request_duration_seconds_sum {self._seconds}")
            lines.append(f"http_request_duration_seconds_count {sum(self._answered.values())}")
            lines.append(f"open_connections {self._open}")
        return "\n".join(lines) + "\n"


metrics = Metrics()
pool = Pool(os.environ["NEEDS"], int(number("CONNECTIONS") or 4)) if os.environ.get("NEEDS") else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        most = number("CONNECTIONS_MOST")
        self._refused = metrics.opened(+1) > most > 0

    def finish(self) -> None:
        metrics.opened(-1)
        super().finish()

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(OK, metrics.text())
        elif self.path == "/ready":
            self._answer(BUSY if os.environ.get("READY") == "no" else OK, "")
        else:
            began = time.monotonic()
            code = self._serve()
            metrics.answered(code, time.monotonic() - began)
            self._answer(code, os.environ.get("GREETING", "hello") if code == OK else "")

    def _serve(self) -> int:
        if self._refused:
            self.close_connection = True
            return BUSY
        burn(number("CPU_MS"))
        if dice.random() < number("ERROR_SHARE"):
            return FAILED
        return OK if pool is None or pool.ask() else UPSTREAM_FAILED

    def _answer(self, code: int, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    if code := int(number("EXIT_CODE")):
        threading.Timer(number("EXIT_AFTER_S"), leave, args=(code,)).start()
    if hold := number("HOLD_MIB"):
        take(hold)
    if rate := number("LEAK_MIB_PER_S"):
        threading.Thread(target=leak, args=(rate,), daemon=True).start()
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()


if __name__ == "__main__":
    main()
