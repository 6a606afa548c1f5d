"""The commands of `aegis audit`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import orjson
import typer
from pydantic import ValidationError

from aegis.cli import api
from aegis.cli.output import Format, Output, print_json, print_rows, say
from aegis.contracts.audit import AuditEntry, Checkpoint, broken_links
from aegis.kit.errors import ConflictError, InvalidError
from aegis.kit.mistakes import mistake_of
from aegis.kit.signing import PublicKey

app = typer.Typer(help="Who did what, and the proof of it.", no_args_is_help=True)


@app.command("list")
def list_(
    subject: Annotated[str | None, typer.Option(help="Only what happened to this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    output: Output = Format.TABLE,
) -> None:
    """Show the newest entries."""
    found = api.get("/api/v1/audit/entries", subject=subject, limit=limit, newest=True)["entries"]
    print_rows(
        found, columns=("sequence", "at", "actor", "event", "subject", "detail"), output=output, empty="nothing yet"
    )


@app.command()
def export(file: Annotated[Path, typer.Argument(help="Where to write it, one JSON object a line.")]) -> None:
    """Write the whole trail to a file that `aegis audit verify` checks."""
    count = 0
    with file.open("wb") as out:
        for line in api.lines("/api/v1/audit/export"):
            out.write(line + b"\n")
            count += 1
    say(f"{count} lines are in {file}")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What `aegis audit export` wrote.")],
    key: Annotated[str, typer.Option(help="The Backend's public key (base64), or a file that holds it.")],
    output: Output = Format.TABLE,
) -> None:
    """Check that nothing in an export was altered, removed or cut off. Needs the public key and nothing else."""
    public_key = read_key(key)
    entries, checkpoints = read_export(file)
    problems = broken_links(entries, checkpoints, key=public_key)
    if output is Format.JSON:
        print_json({"entries": len(entries), "checkpoints": len(checkpoints), "ok": not problems, "problems": problems})
    elif not problems:
        say(f"{len(entries)} entries and {len(checkpoints)} checkpoints: the chain holds")
    if problems:
        raise ConflictError("the chain is broken:\n  " + "\n  ".join(problems[:20]))


def read_export(file: Path) -> tuple[list[AuditEntry], list[Checkpoint]]:
    """Return the entries and checkpoints of an export; InvalidError names the line that is neither."""
    entries, checkpoints = [], []
    for number, line in enumerate(_lines(file), start=1):
        try:
            match orjson.loads(line):
                case {"entry": entry}:
                    entries.append(AuditEntry.model_validate(entry))
                case {"checkpoint": checkpoint}:
                    checkpoints.append(Checkpoint.model_validate(checkpoint))
                case _:
                    raise InvalidError(f"{file}:{number} is neither an entry nor a checkpoint", field="file")
        except (orjson.JSONDecodeError, ValidationError) as error:
            why = _first_of(error) if isinstance(error, ValidationError) else error
            raise InvalidError(f"{file}:{number} cannot be read: {why}", field="file", value=str(file)) from error
    return entries, checkpoints


def _first_of(error: ValidationError) -> str:
    first = mistake_of(error.errors()[0])
    return f"{first.field} {first.message}"


def _lines(file: Path) -> Iterable[bytes]:
    try:
        return file.read_bytes().splitlines()
    except OSError as error:
        raise InvalidError(f"cannot read {file}: {error.strerror}", field="file", value=str(file)) from error


def read_key(text: str) -> PublicKey:
    file = Path(text)
    try:
        return PublicKey.from_text(file.read_text().strip() if file.is_file() else text)
    except (ValueError, OSError) as error:
        raise InvalidError(
            f"that is not an Ed25519 public key in base64: {error}", field="--key", value=text,
            hint="`aegis status` shows the Backend's.",
        ) from error  # fmt: skip
