"""`aegis demo`: break a simulated cluster in several ways, heal it, and show what happened."""

import asyncio
import contextlib
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from aegis.cli.demo.play import Ending, Play
from aegis.cli.demo.show import document_of, print_problems, print_table
from aegis.cli.demo.stage import Stage, Theatre
from aegis.cli.demo.story import Story, find_stories
from aegis.cli.files import writable_folder
from aegis.cli.output import Format, Output, errors, print_json
from aegis.cli.platform.stack import Ports
from aegis.kit import embedded
from aegis.kit.errors import InvalidError
from aegis.simulator.together.databases import Databases

SEEDS = 10**6


def demo(
    seed: Annotated[int | None, typer.Option(help="Draws names, topology and times; random if not given.")] = None,
    story: Annotated[list[str] | None, typer.Option(help="Only this story; may be given more than once.")] = None,
    examples: Annotated[Path, typer.Option(help="Where the stories are.")] = Path("examples"),
    rate: Annotated[
        float | None,
        typer.Option(min=1, max=100, help="Seconds of a story per second of yours; as the story says if not given."),
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, help="How many stories side by side.")] = 3,
    keep: Annotated[
        Path | None,
        typer.Option(help="Keep logs and audit exports in this folder; they are kept anyway if a story failed."),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Break a simulated cluster in several ways, heal it, and show what happened.

    Exits with 0 only if every story ended as it must.
    """
    drawn = seed if seed is not None else random.SystemRandom().randrange(SEEDS)
    chosen = _chosen(find_stories(examples), story)
    # Errors' console: standard output stays one JSON document with `--output json`.
    errors.print(f"seed {drawn}, {len(chosen)} stories; `aegis demo --seed {drawn}` repeats it", highlight=False)
    with _folder(keep) as (folder, leave_it):
        try:
            endings = asyncio.run(_play_all(chosen, seed=drawn, rate=rate, at_once=at_once, folder=folder))
        except asyncio.CancelledError:
            raise typer.Exit(128 + signal.SIGTERM) from None
        if output is Format.JSON:
            print_json(document_of(endings, seed=drawn))
        else:
            print_table(endings)
            print_problems(endings)
        wrong = [one for one in endings if not one.ok]
        if wrong:
            leave_it()
            _tell_where_to_look(wrong, folder, seed=drawn)
            raise typer.Exit(1)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[tuple[Path, Callable[[], object]]]:
    """Yield where logs and exports go, and what to call so that they stay there."""
    with contextlib.ExitStack() as stack:
        if keep is None:
            folder = Path(tempfile.mkdtemp(prefix="aegis-demo-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        else:
            folder = writable_folder(keep, "--keep")
        yield folder, stack.pop_all


def _tell_where_to_look(wrong: Sequence[Ending], folder: Path, *, seed: int) -> None:
    again = " ".join(f"--story {name}" for name in dict.fromkeys(one.story.partition("/")[0] for one in wrong))
    errors.print(f"The logs and the audit trail of each story are in {folder}", highlight=False, soft_wrap=True)
    errors.print(
        f"[bold]hint:[/bold] on a busy machine, `aegis demo --seed {seed} --at-once 1 {again}` has it to itself",
        highlight=False,
        soft_wrap=True,
    )


def _chosen(stories: Sequence[Story], names: Sequence[str] | None) -> list[Story]:
    if not names:
        return list(stories)
    known = {story.name: story for story in stories}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidError(
            f"there is no story {unknown[0]}", field="--story", value=unknown[0], hint=f"There are {', '.join(known)}."
        )
    return [known[name] for name in names]


async def _play_all(
    stories: Sequence[Story], *, seed: int, rate: float | None, at_once: int, folder: Path
) -> list[Ending]:
    places = asyncio.Semaphore(at_once)
    # Whoever ends the demo ends all that it started: a cancelled play tears its stage down.
    playing = asyncio.current_task()
    assert playing is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(embedded.postgres(durable=False))
        redis_url = stack.enter_context(embedded.redis())
        databases = Databases(server)
        await databases.prepare()
        theatre = Theatre(databases, redis_url, folder, rate, seed)
        # The longest first: it runs beside all the others.
        order = sorted(stories, key=lambda story: -story.within_s)
        first = {order[0].name: _preferred_ports()}
        played = await asyncio.gather(*(_play(story, theatre, places, first.get(story.name)) for story in order))
    by_name = {story.name: endings for story, endings in zip(order, played, strict=True)}
    return [ending for story in stories for ending in by_name[story.name]]


def _preferred_ports() -> Ports:
    ports = Ports.preferred()
    if ports != Ports(3000, 8000, 4000):
        errors.print(
            f"ports 3000, 8000, 4000 are not all free: using {ports.backend}, {ports.ai_engine}, {ports.executor}"
        )
    return ports


async def _play(story: Story, theatre: Theatre, places: asyncio.Semaphore, ports: Ports | None) -> list[Ending]:
    async with places:
        began = time.monotonic()
        errors.print(f"[dim]{story.name}: {story.title}[/dim]", highlight=False)
        stage = Stage(story, theatre, ports=ports or Ports.any(), epoch=time.time())  # noqa: TID251 (the clock's epoch)
        delay_s = random.Random(f"{theatre.seed} {story.name}").uniform(0, 30)  # noqa: S311 (a seed is one demo)
        endings = await Play(stage, delay_s=delay_s).run()
        for ending in endings:
            _tell(ending, took_s=time.monotonic() - began)
        return endings


def _tell(ending: Ending, *, took_s: float) -> None:
    mark = "[green]ok[/green]" if ending.ok else "[red]not as it must[/red]"
    cause = f", cause {ending.cause}" if ending.cause else ""
    errors.print(f"{ending.story}: {mark}, ended {ending.result}{cause} ({took_s:.0f} s)", highlight=False)
    for problem in ending.problems:
        errors.print(f"  {problem}", highlight=False, markup=False)
