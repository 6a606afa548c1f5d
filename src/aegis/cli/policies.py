"""The commands of `aegis policies`."""

from pathlib import Path
from typing import Annotated

import typer

from aegis.cli import api
from aegis.cli.files import read_text
from aegis.cli.output import Format, Output, print_json, print_rows, say
from aegis.kit.errors import InvalidError
from aegis.policy.rules import Policy, parse_policy

app = typer.Typer(help="What is allowed.", no_args_is_help=True)

PolicyFile = Annotated[Path, typer.Argument(help="A YAML file with one policy.")]


@app.command("list")
def list_(output: Output = Format.TABLE) -> None:
    """Show the policies in force."""
    found = api.get("/api/v1/policies")["policies"]
    if output is Format.TABLE:
        found = [
            policy | {"rules": [rule.name for rule in parse_policy(policy["source"]).spec.rules]} for policy in found
        ]
    columns = ("name", "version", "saved_by", "saved_at", "rules")
    print_rows(found, columns=columns, output=output, empty="no policies: silence means no")


@app.command()
def test(file: PolicyFile, output: Output = Format.TABLE) -> None:
    """Check a policy, here and now, without saving it."""
    policy = _parsed(read_text(file), file)
    rules = [
        {
            "rule": rule.name,
            "effect": rule.effect,
            "actions": [str(action) for action in rule.actions],
            "when": rule.when,
        }
        for rule in policy.spec.rules
    ]
    print_rows(rows=rules, columns=("rule", "effect", "actions", "when"), output=output, empty="")


@app.command()
def save(file: PolicyFile) -> None:
    """Put a policy in force; the version before stays readable."""
    source = read_text(file)
    name = _parsed(source, file).name
    answer = api.put(f"/api/v1/policies/{name}", {"source": source})
    say(f"policy {name} is in force as version {answer['version']}")


@app.command()
def delete(name: str) -> None:
    """Take a policy out of force."""
    api.delete(f"/api/v1/policies/{name}")
    say(f"policy {name} is no longer in force")


@app.command()
def explain(remediation_id: str, output: Output = Format.TABLE) -> None:
    """Show every rule that speaks of a remediation, and how it comes out now."""
    answer = api.get(f"/api/v1/remediations/{remediation_id}/explanation")
    if output is Format.JSON:
        print_json(answer)
        return
    decision = answer["decision"]
    if decision is not None:
        say(f"{decision['effect']} by {decision['rule'] or 'silence'}: {'; '.join(decision['reasons'])}")
    columns = ("rule", "effect", "condition", "came_out", "counts", "because")
    print_rows(answer["rules"], columns=columns, output=output, empty="no rule speaks of it: silence means no")


def _parsed(source: str, file: Path) -> Policy:
    try:
        return parse_policy(source)
    except InvalidError as error:
        raise InvalidError(f"{file}: {error.message}", mistakes=error.mistakes) from error
