"""What each service takes of the machine's memory at most while the whole demo is played: 256 MiB is the goal."""

import asyncio
import contextlib
import re
import tempfile
import time
from pathlib import Path

from aegis.cli.demo.play import Play
from aegis.cli.demo.stage import Stage, Theatre
from aegis.cli.demo.story import find_stories
from aegis.cli.platform.stack import Ports
from aegis.kit import embedded
from aegis.simulator.together.databases import Databases

GOAL_MIB = 256
SEED = 1


def peak_mib(pid: int) -> float:
    """Read the highest resident size so far (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found.group(1)) / 1024 if found else 0.0


async def watch(stage: Stage, peaks: dict[str, float]) -> None:
    while True:
        await asyncio.sleep(0.2)
        for name, process in stage.stack.processes.items() if hasattr(stage, "stack") else ():
            with contextlib.suppress(OSError):
                if process.is_running and process.pid is not None:
                    peaks[name] = max(peaks.get(name, 0.0), peak_mib(process.pid))


async def measure() -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aegis-memory-")))
        databases = Databases(stack.enter_context(embedded.postgres(durable=False)))
        redis_url = stack.enter_context(embedded.redis())
        await databases.prepare()
        most: dict[str, float] = {}
        # One after the other: how many are played at once changes nothing for a single process.
        for story in find_stories(Path("examples")):
            theatre = Theatre(databases, redis_url, folder, None, SEED)
            stage = Stage(story, theatre, ports=Ports.any(), epoch=time.time())  # noqa: TID251 (the clock's epoch)
            peaks: dict[str, float] = {}
            watching = asyncio.create_task(watch(stage, peaks))
            endings = await Play(stage).run()
            watching.cancel()
            told = ", ".join(f"{service} {mib:.0f} MiB" for service, mib in sorted(peaks.items()))
            print(f"{story.name:14} {told}; ended {', '.join(one.result for one in endings)}", flush=True)
            most |= {service: max(mib, most.get(service, 0.0)) for service, mib in peaks.items()}
    for service, mib in sorted(most.items()):
        print(f"{'the whole demo':14} {service:10} {mib:6.0f} MiB, {mib / GOAL_MIB:4.0%} of the goal")


if __name__ == "__main__":
    asyncio.run(measure())
