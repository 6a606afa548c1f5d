"""The canonical signals: what recording rules define, the AI Engine asks for, and the simulator serves.

A series has the labels `namespace`, `kind` and `workload`; signals of a revision add `revision` (the
pod-template-hash); signals of a call add `peer_namespace`, `peer_kind` and `peer_workload`.
A signal without data has no sample: never NaN, never an invented zero.
"""

from dataclasses import dataclass
from typing import Literal

PREFIX = "aegis:"


@dataclass(frozen=True)
class Signal:
    name: str
    unit: Literal["1/s", "ratio", "s", "bytes", "total", "1"]
    bad: Literal["high", "low", "either"]
    """Which way is worse for users."""
    floor: float
    """A change smaller than this is not worth a finding, however unusual."""
    scope: Literal["workload", "revision", "call"] = "workload"
    fine_below: float = 0.0
    """Up to here nobody is the worse for it, however unusual it is: memory that fits its limit, say."""

    @property
    def metric(self) -> str:
        return PREFIX + self.name


REQUEST_RATE = Signal("request_rate", "1/s", "either", 1.0)
ERROR_RATIO = Signal("error_ratio", "ratio", "high", 0.02)
LATENCY = Signal("latency_seconds", "s", "high", 0.025)
CPU_USAGE = Signal("cpu_usage_ratio", "ratio", "high", 0.15, fine_below=0.7)
CPU_THROTTLED = Signal("cpu_throttled_ratio", "ratio", "high", 0.2, fine_below=0.25)
MEMORY_USAGE = Signal("memory_usage_ratio", "ratio", "high", 0.1, fine_below=0.9)
MEMORY_BYTES = Signal("memory_usage_bytes", "bytes", "high", 16 * 2**20)
RESTARTS = Signal("restarts_total", "total", "high", 1.0)
POOL_USAGE = Signal("pool_usage_ratio", "ratio", "high", 0.2)
CONNECTIONS_USAGE = Signal("connections_usage_ratio", "ratio", "high", 0.2)
CONNECTIONS_REFUSED = Signal("connections_refused_total", "total", "high", 1.0)
QUEUE_LENGTH = Signal("queue_length", "1", "high", 10.0)
REVISION_REQUEST_RATE = Signal("revision_request_rate", "1/s", "either", 1.0, "revision")
REVISION_ERROR_RATIO = Signal("revision_error_ratio", "ratio", "high", 0.02, "revision")
CALL_RATE = Signal("call_rate", "1/s", "either", 1.0, "call")
CALL_ERROR_RATIO = Signal("call_error_ratio", "ratio", "high", 0.02, "call")
CALL_LATENCY = Signal("call_latency_seconds", "s", "high", 0.025, "call")

SIGNALS: tuple[Signal, ...] = (
    REQUEST_RATE, ERROR_RATIO, LATENCY, CPU_USAGE, CPU_THROTTLED, MEMORY_USAGE, MEMORY_BYTES, RESTARTS,
    POOL_USAGE, CONNECTIONS_USAGE, CONNECTIONS_REFUSED, QUEUE_LENGTH, REVISION_REQUEST_RATE,
    REVISION_ERROR_RATIO, CALL_RATE, CALL_ERROR_RATIO, CALL_LATENCY,
)  # fmt: skip
