"""The commands of `aegis remediations`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import TypeAdapter, ValidationError

from aegis.cli import api
from aegis.cli.approver_keys import read_key
from aegis.cli.output import Format, Output, print_json, print_one, print_rows, say
from aegis.contracts.actions import Action
from aegis.contracts.approvals import Verdict, consent_bytes
from aegis.contracts.remediations import RemediationState
from aegis.kit.errors import InvalidError
from aegis.kit.mistakes import Mistake, mistake_of

app = typer.Typer(help="What Aegis did, does and would do about it.", no_args_is_help=True)

_ACTION: TypeAdapter[Action] = TypeAdapter(Action)
_LISTED = ("id", "state", "action", "target", "reason")
_COLUMNS = ("id", "state", "action", "target", "cause", "proposed_by", "reason")


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help="Such as awaiting_approval, kept or undone.")] = None,
    incident: Annotated[str | None, typer.Option(help="Only those of one incident.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    output: Output = Format.TABLE,
) -> None:
    """Show remediations, newest first."""
    found = api.get("/api/v1/remediations", state=state, incident_id=incident, limit=limit)["remediations"]
    rows = found if output is Format.JSON else [_row(one) for one in found]
    print_rows(rows, columns=_LISTED, output=output, empty="no remediations")


@app.command()
def show(remediation_id: str, output: Output = Format.TABLE) -> None:
    """Show one remediation: its plan, what checks and policy said, and what came of it."""
    found = api.get(f"/api/v1/remediations/{remediation_id}")
    if output is Format.JSON:
        print_json(found)
        return
    plan = found["plan"] or {}
    row = _row(found) | {
        "rationale": found["proposal"]["rationale"],
        "plan": plan.get("summary"),
        "plan_hash": plan.get("hash"),
        "requests": plan.get("requests"),
        "changes": [_change(change) for change in plan.get("changes", [])],
        "undo": [_change(change) for change in plan.get("undo_changes", [])],
        "checks": [f"{check['verdict']:<12} {check['name']} {check['reason']}" for check in found["checks"]],
        "decision": _decision(found["decision"]),
        "awaits": _awaited(found),
        "approvals": [_approval(one) for one in found["approvals"]],
        "history": [f"{one['at']} {one['stage']}: {one['reason']}" for one in found["outcomes"]],
    }
    fields = (*_COLUMNS, "rationale", "plan", "plan_hash", "requests", "changes", "undo", "checks", "decision",
              "awaits", "approvals", "history")  # fmt: skip
    print_one(row, fields=fields, output=output)


@app.command()
def request(
    workload: Annotated[
        str, typer.Argument(help="namespace/Kind/name, such as shop/Deployment/web; a Pod for evict_pod.")
    ],
    action: Annotated[str, typer.Argument(help="Such as raise_memory or rollback_rollout.")],
    because: Annotated[str, typer.Option(help="Why you want it; kept in the audit trail.")],
    incident: Annotated[
        str | None,
        typer.Option(help="The incident it is for: its cause counts, and it is cancelled when that resolves."),
    ] = None,
    parameter: Annotated[list[str] | None, typer.Option("--set", help="name=value, such as container=web.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Ask for an action. It is rehearsed and decided like any other; you cannot approve it yourself.

    It stands by itself unless `--incident` names what it is for. Where the same waits to be done already, you join it.
    """
    namespace, kind, name = _workload(workload)
    asked = _asked(action, parameter or [])
    body = {"namespace": namespace, "kind": kind, "name": name, "action": asked, "reason": because}
    body |= {"incident_id": incident} if incident is not None else {}
    answer = api.post("/api/v1/remediations", body)
    if output is Format.JSON:
        print_json(answer)
    else:
        say(f"{answer['remediation_id']} is requested; `aegis remediations show` shows its plan soon")


@app.command()
def approve(
    remediation_id: str,
    plan: Annotated[str | None, typer.Option(help="The plan's hash; by default the one shown now.")] = None,
    comment: Annotated[str, typer.Option()] = "",
    key: Annotated[
        Path | None,
        typer.Option(help="Sign with this approver's key, where the Executor's policy floor asks for signatures."),
    ] = None,
) -> None:
    """Say yes to exactly the plan that is shown."""
    path = f"/api/v1/remediations/{remediation_id}"
    plan_hash = plan or (api.get(path)["plan"] or {}).get("hash", "")
    signed = _signed(remediation_id, plan_hash, key) if key is not None else {}
    api.post(f"{path}/approve", {"plan_hash": plan_hash, "comment": comment, **signed})
    by_key = f", signed with key {signed['key_id']}" if signed else ""
    given, needed = _approvals_of(api.get(path))
    enough = "is approved" if given >= needed else f"has {given} of {needed} approvals"
    say(f"{remediation_id} {enough}, for plan {plan_hash[:12]}{by_key}")
    if not signed:
        say("It is not signed: a policy floor of the Executor may ask for signatures (docs/guides/signed-approvals.md)")


@app.command()
def reject(remediation_id: str, comment: Annotated[str, typer.Option()] = "") -> None:
    """Say no."""
    api.post(f"/api/v1/remediations/{remediation_id}/reject", {"comment": comment})
    say(f"{remediation_id} is rejected")


@app.command()
def undo(remediation_id: str) -> None:
    """Take back what was done, as far as the fields still hold it."""
    api.post(f"/api/v1/remediations/{remediation_id}/undo")
    say(f"{remediation_id} is being taken back")


@app.command()
def keep(remediation_id: str) -> None:
    """Keep for good what is held: it is not given back when its time is over."""
    api.post(f"/api/v1/remediations/{remediation_id}/keep")
    say(f"{remediation_id} is kept")


def _signed(remediation_id: str, plan_hash: str, file: Path) -> dict[str, str]:
    """Return this person's own signature, over the very bytes that the Executor checks it against."""
    key = read_key(file)
    consent = consent_bytes(
        remediation_id=remediation_id,
        plan_hash=plan_hash,
        approver=api.get("/api/v1/me")["actor"],
        verdict=Verdict.APPROVED,
    )
    return {"key_id": key.id, "signature": key.sign(consent)}


def _row(found: dict[str, Any]) -> dict[str, Any]:
    proposal = found["proposal"]
    target = proposal["target"]
    return {
        "id": found["id"],
        "state": found["state"],
        "action": proposal["action"]["kind"],
        "target": f"{target['namespace']}/{target['kind']}/{target['name']}",
        "cause": proposal["cause"],
        "proposed_by": proposal["proposed_by"],
        "reason": found["reason"],
    }


def _approval(approval: dict[str, Any]) -> str:
    signed = f"signed {approval['key_id']} " if approval["signature"] else ""
    return f"{approval['approver']} {approval['verdict']} {signed}{approval['comment']}"


def _approvals_of(found: dict[str, Any]) -> tuple[int, int]:
    """Return how many have said yes to its plan, and how many have to."""
    plan = (found["plan"] or {}).get("hash")
    said_yes = {
        one["approver"] for one in found["approvals"] if one["verdict"] == Verdict.APPROVED and one["plan_hash"] == plan
    }
    return len(said_yes), max(1, (found["decision"] or {}).get("approvals_needed", 0))


def _awaited(found: dict[str, Any]) -> str | None:
    """Return whose yes is waited for, and until when."""
    if found["state"] != RemediationState.AWAITING_APPROVAL:
        return None
    given, needed = _approvals_of(found)
    role = found["decision"]["approver_role"]
    approvals = "approval" if needed == 1 else "approvals"
    return f"{needed} {approvals} by role {role}, {given} given, until {found['expires_at']}"


def _change(change: dict[str, Any]) -> str:
    return f"{change['path']}: {change['before']} -> {change['after']}"


def _decision(decision: dict[str, Any] | None) -> str | None:
    return f"{decision['effect']}: {'; '.join(decision['reasons'])}" if decision else None


def _workload(text: str) -> tuple[str, str, str]:
    match text.split("/"):
        case [namespace, kind, name]:
            return namespace, kind, name
        case [namespace, name]:
            return namespace, "Deployment", name
        case _:
            raise InvalidError(
                f"{text!r} is not namespace/Kind/name",
                field="workload",
                value=text,
                hint="Such as shop/Deployment/web.",
            )


def _asked(kind: str, settings: Sequence[str]) -> dict[str, Any]:
    """Return the action as the Backend takes it: what each setting is to be, the action's own fields say."""
    asked = {"kind": kind}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidError(f"--set {text!r} is not name=value", field="--set", value=text)
        if name in asked:
            raise InvalidError(
                f"--set {text!r}: {name} is {asked[name]!r} already", field="--set", value=text,
                hint="Name the action once, before its settings, and each of these once.",
            )  # fmt: skip
        asked[name] = value
    try:
        return _ACTION.validate_python(asked).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        mistakes = [mistake_of(one) for one in error.errors()]
        raise InvalidError(
            f"{kind}: " + "; ".join(_in_words(one) for one in mistakes), mistakes=mistakes, hint=_settings_of(kind)
        ) from error


def _in_words(mistake: Mistake) -> str:
    got = f" (got {mistake.value!r})" if mistake.value is not None else ""
    return f"{mistake.location[-1]} {mistake.message}{got}"


def _settings_of(kind: str) -> str:
    """Return which settings an action takes, as a hint."""
    for action in get_args(get_args(Action)[0]):
        if action.model_fields["kind"].default == kind:
            settings = " and ".join(f"`--set {name}=…`" for name in action.model_fields if name != "kind")
            return f"It takes {settings or 'no settings'}."
    return ""
