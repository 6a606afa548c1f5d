"""The commands of `aegis incidents`."""

from typing import Annotated, Any

import typer

from aegis.cli import api
from aegis.cli.output import Format, Output, print_one, print_rows, say

app = typer.Typer(help="What is wrong, since when, and why.", no_args_is_help=True)


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help="open, acknowledged or resolved.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    output: Output = Format.TABLE,
) -> None:
    """Show incidents, newest first."""
    found = api.get("/api/v1/incidents", state=state, limit=limit)["incidents"]
    rows = [_row(incident) | incident for incident in found] if output is Format.JSON else [_row(one) for one in found]
    columns = ("id", "state", "severity", "opened", "cause", "title")
    print_rows(rows, columns=columns, output=output, empty="no incidents")


@app.command()
def show(incident_id: str, output: Output = Format.TABLE) -> None:
    """Show one incident: its findings, and what may have caused it."""
    incident = api.get(f"/api/v1/incidents/{incident_id}")
    if output is Format.TABLE:
        incident = _row(incident) | {
            "affected": [_name(workload) for workload in incident["affected"]],
            "hypotheses": [_hypothesis(one) for one in (incident["diagnosis"] or {}).get("hypotheses", [])],
            "findings": [finding["summary"] or finding["fingerprint"] for finding in incident["findings"]],
        }
    fields = ("id", "title", "state", "severity", "opened", "resolved", "cause", "affected", "hypotheses", "findings")
    print_one(incident, fields=fields, output=output)


@app.command()
def acknowledge(incident_id: str) -> None:
    """Say that you are looking at it."""
    api.post(f"/api/v1/incidents/{incident_id}/acknowledge")
    say(f"{incident_id} is acknowledged")


def _row(incident: dict[str, Any]) -> dict[str, Any]:
    hypotheses = (incident["diagnosis"] or {}).get("hypotheses") or [{}]
    return {
        "id": incident["id"],
        "state": incident["state"],
        "severity": incident["severity"],
        "opened": incident["opened_at"],
        "resolved": incident["resolved_at"],
        "cause": hypotheses[0].get("cause", "-"),
        "title": incident["title"],
    }


def _name(workload: dict[str, str]) -> str:
    return f"{workload['namespace']}/{workload['kind']}/{workload['name']}"


def _hypothesis(one: dict[str, Any]) -> str:
    evidence = "; ".join(item["text"] for item in one["evidence"])
    return f"{one['confidence']:.2f} {one['cause']} of {_name(one['subject'])}: {evidence or one['summary']}"
