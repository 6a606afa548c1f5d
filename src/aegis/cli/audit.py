"""The commands of `aegis audit`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from pydantic import ValidationError

from aegis.cli import api
from aegis.cli.files import replacing, told
from aegis.cli.output import Format, Output, print_json, print_rows, say
from aegis.contracts.audit import AuditEntry, Checkpoint, Head, broken_links, is_signed_by, not_countersigned
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
    """Write the whole trail to a file that `aegis audit verify` checks.

    An earlier export under that name stays until the new one is complete.
    """
    count = 0
    with told(file, "write", "file"), replacing(file) as out:
        for line in api.lines("/api/v1/audit/export"):
            out.write(line + b"\n")
            count += 1
    say(f"{count} lines are in {file}")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="What `aegis audit export` wrote.")],
    key: Annotated[str, typer.Option(help="The Backend's public key (base64), or a file that holds it.")],
    witness_key: Annotated[
        list[str] | None,
        typer.Option(help="The Executor's public witness key, or a file that holds it; more than one if it changed."),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            help="SEQUENCE:HASH, an entry that was the last one once: as an earlier `verify` or `status` said."
        ),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Check an export: that nothing in it was altered, removed or put in. Needs public keys and nothing else.

    The Backend's key alone cannot tell an end that was cut off at a checkpoint from an export of that day: `--expect`
    can. It proves nothing against whoever holds the Backend's private key: `--witness-key` does, up to the last
    checkpoint that the Executor has countersigned. docs/guides/audit-trail.md says more.
    """
    public_key = read_key(key, "--key")
    witnesses = [read_key(one, "--witness-key") for one in witness_key or []]
    expected = _head(expect) if expect is not None else None
    entries, checkpoints = read_export(file)
    if not entries and not checkpoints:
        raise InvalidError(
            f"{file} holds nothing: no entry and no checkpoint", field="file", value=str(file),
            hint="A trail is never empty: `aegis audit export` writes all of it.",
        )  # fmt: skip
    problems = broken_links(entries, checkpoints, key=public_key, witnesses=witnesses or None, expected=expected)
    last = entries[-1] if entries else None
    found = {
        "entries": len(entries),
        "checkpoints": len(checkpoints),
        "not_countersigned": not_countersigned(checkpoints) if witnesses else None,
        "last": {"sequence": last.sequence, "hash": last.hash, "at": last.at} if last is not None else None,
        "ok": not problems,
        "problems": problems,
    }
    if output is Format.JSON:
        print_json(found)
    elif not problems:
        _tell(found)
    if problems:
        raise ConflictError(
            "the chain is broken:\n  " + "\n  ".join(problems[:20]),
            hint=_why_broken(checkpoints, public_key),
        )


def _why_broken(checkpoints: Sequence[Checkpoint], key: PublicKey) -> str:
    """Return as a hint what is the likely reason: one wrong key fits no checkpoint at all."""
    if checkpoints and not any(is_signed_by(key, one) for one in checkpoints):
        named = " or ".join(dict.fromkeys(one.key_id for one in checkpoints))
        return (
            f"No checkpoint fits key {key.id}; they name {named}. Is `--key` the Backend's public key, not the "
            "Executor's witness key? `aegis status` shows both. If it is, this is another trail, or a forged one."
        )
    return "Somebody has altered the trail since it was sealed: compare it with an earlier export."


def _tell(found: dict[str, Any]) -> None:
    say(f"{found['entries']} entries and {found['checkpoints']} checkpoints: the chain holds")
    last = found["last"]
    if last is not None:
        say(f"last entry: {last['sequence']}:{last['hash']} of {last['at'].isoformat()}")
    if found["not_countersigned"] is None:
        say("countersignatures were not looked at: --witness-key is needed")
    else:
        say(f"countersigned by the Executor, but for the newest {found['not_countersigned']} checkpoints")


def _head(text: str) -> Head:
    sequence, _, chain_hash = text.strip().partition(":")
    try:
        return Head.model_validate({"sequence": sequence, "hash": chain_hash.lower()})
    except ValidationError as error:
        raise InvalidError(
            f"{text!r} is not SEQUENCE:HASH", field="--expect", value=text,
            hint="As `aegis status` shows it beside `audit`: a number, a colon and 64 hexadecimal digits.",
        ) from error  # fmt: skip


def read_export(file: Path) -> tuple[list[AuditEntry], list[Checkpoint]]:
    """Return the entries and checkpoints of an export; InvalidError names the line that is neither."""
    entries, checkpoints = [], []
    with told(file, "read", "file"):
        lines = file.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
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


def read_key(text: str, option: str) -> PublicKey:
    try:
        file = Path(text)
        return PublicKey.from_text(file.read_text().strip() if file.is_file() else text)
    except (ValueError, OSError) as error:
        raise InvalidError(
            f"{option} {text!r} is not an Ed25519 public key in base64, and no file that holds one", field=option,
            value=text, hint="`aegis status` shows the keys.",
        ) from error  # fmt: skip
