"""A child process is ready when that very process says so."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from tests.running import running

from aegis.cli.platform.processes import Process
from aegis.kit.embedded import free_port
from aegis.kit.errors import UpstreamError

SERVICE = """
import asyncio, sys
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from aegis.kit.clock import SystemClock
from aegis.kit.http import add_operations
from aegis.kit.runner import run_service

async def nothing():
    return None

app = FastAPI()
add_operations(app, registry=CollectorRegistry(), unready=nothing)
port = int(sys.argv[1])
asyncio.run(run_service(app, host="127.0.0.1", port=port, clock=SystemClock(), loops=[], close=nothing))
"""


def service(folder: Path, port: int) -> Process:
    return Process("service", ["-c", SERVICE, str(port)], settings={}, log=folder / "log")


async def test_a_process_is_ready_when_it_says_so_itself(tmp_path: Path) -> None:
    port = free_port()
    process = service(tmp_path, port)
    await process.start()

    await process.ready(f"http://127.0.0.1:{port}/ready")

    assert process.is_running
    await process.stop()
    assert not process.is_running


async def test_what_another_process_answers_on_its_port_makes_it_not_ready(tmp_path: Path) -> None:
    stranger = FastAPI()
    stranger.get("/ready")(lambda: {"status": "ready"})

    async def nothing() -> None:
        pass

    with running(stranger, close=nothing) as taken:
        process = service(tmp_path, int(taken.url.rpartition(":")[2]))
        await process.start()

        with pytest.raises(UpstreamError, match="another process answers") as failed:
            await process.ready(f"{taken.url}/ready")

    assert "address already in use" in str(failed.value)
    assert not process.is_running


async def test_one_that_ends_is_told_from_one_that_takes_too_long(tmp_path: Path) -> None:
    broken = Process("broken", ["-c", "raise SystemExit(7)"], settings={}, log=tmp_path / "broken.log")
    slow = Process("slow", ["-c", "import time; time.sleep(600)"], settings={}, log=tmp_path / "slow.log")
    nowhere = f"http://127.0.0.1:{free_port()}/ready"

    await broken.start()
    with pytest.raises(UpstreamError, match="broken ended with code 7 before it was ready"):
        await broken.ready(nowhere)
    await slow.start()
    with pytest.raises(UpstreamError, match="slow took longer than 0 s before it was ready") as refusal:
        await slow.ready(nowhere, within_s=0)

    assert "too busy" in refusal.value.hint
    await slow.stop()
