"""`aegis status`."""

from typing import Any

from aegis.cli.api import Api, connect
from aegis.cli.output import Format, Output, print_one
from aegis.kit.errors import NotFoundError

ON = "on"


def status(output: Output = Format.TABLE) -> None:
    """Say in one look whether all is well: paused or not, storm or not, what is open, what is under way."""
    with connect() as api:
        row = _look(api)
    print_one(row, fields=tuple(row), output=output)
    if output is Format.TABLE and row["actions"] != ON:
        print_one({"hint": "`aegis resume` lets Aegis act"}, fields=("hint",), output=output)


def _look(api: Api) -> dict[str, Any]:
    pause = api.get("/api/v1/pause")
    try:
        storm = api.get("/api/v1/storm")
    except NotFoundError:
        storm = None
    keys, head = api.get("/api/v1/audit/key"), api.get("/api/v1/audit/head")
    return {
        "backend": api.url,
        "public_key": keys["public_key"],
        "witness_key": keys["witness_public_key"],
        "audit": f"{head['sequence']}:{head['hash']}" if head else None,
        "actions": f"paused: {pause['reason']}" if pause["paused"] else ON,
        "storm": f"since {storm['since']}" if storm and storm["active"] else "none",
        "incidents": api.get("/api/v1/incidents/counts"),
        "remediations": api.get("/api/v1/remediations/counts"),
    }
