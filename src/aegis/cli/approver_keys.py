"""The commands of `aegis approver-keys`: a signature that nobody else can give, not even the Backend."""

import stat
from pathlib import Path
from typing import Annotated

import typer

from aegis.cli.files import read_text, told
from aegis.cli.output import Format, Output, print_json, say
from aegis.cli.platform.secrets import random_key
from aegis.kit.errors import ConflictError, InvalidError
from aegis.kit.signing import PrivateKey

app = typer.Typer(help="Keys for approvals that the Executor itself checks.", no_args_is_help=True)

Person = Annotated[str, typer.Argument(help="Whose key it is, as `aegis login` knows them.")]
KeyFile = Annotated[Path, typer.Argument(help="The private half; it stays with this person.")]
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@app.command()
def new(person: Person, file: KeyFile, output: Output = Format.TABLE) -> None:
    """Make a key, and say what the cluster has to know of it."""
    key = random_key()
    with told(file, "write", "file"):
        if not file.parent.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            # Readable by nobody else from its first moment on; a key that is there is never overwritten.
            file.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            raise ConflictError(
                f"there is a file {file} already",
                field="file",
                value=str(file),
                hint="`aegis approver-keys show` says what the cluster has to know of a key.",
            ) from None
        file.write_text(f"{key}\n")
    _tell(person, PrivateKey.from_text(key), output)


@app.command()
def show(person: Person, file: KeyFile, output: Output = Format.TABLE) -> None:
    """Say again what the cluster has to know of a key."""
    _tell(person, read_key(file), output)


def read_key(file: Path) -> PrivateKey:
    """Return the private key in a file, unless others can read it too."""
    text = read_text(file, "key")
    mode = file.stat().st_mode
    if mode & _OTHERS:
        raise InvalidError(
            f"others can read {file}", field="key", value=str(file), hint=f"`chmod 600 {file}`, or make a new one."
        )
    try:
        return PrivateKey.from_text(text.strip())
    except ValueError as error:
        raise InvalidError(
            f"{file} holds no private key",
            field="key",
            value=str(file),
            hint="`aegis approver-keys new` makes one: 32 bytes in base64.",
        ) from error


def _tell(person: str, key: PrivateKey, output: Format) -> None:
    actor, public = f"person:{person}", key.public.to_text()
    if output is Format.JSON:
        print_json({"approver": actor, "key_id": key.id, "public_key": public})
        return
    say(f"public key: {public} (id {key.id})")
    say("")
    say("A line for `approver-keys` in the ConfigMap aegis-guardrails of the Executor's namespace:")
    say("")
    say(f"{actor}: {public}")
    say("")
    say("docs/guides/signed-approvals.md has the whole ConfigMap.")
