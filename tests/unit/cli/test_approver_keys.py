"""An approver's own signature, from the key's making to the Executor that checks it."""

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from tests.servers import Templates
from tests.services.backend.rig import policy
from tests.services.executor.rig import Rig as ExecutorRig
from tests.unit.cli.conftest import Cli, Installed

from aegis.clients.backend import BackendClient
from aegis.kit.database import Database
from aegis.kit.signing import PrivateKey, PublicKey

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "signed-approvals.md"


@pytest.fixture
def executor(cli: Installed, templates: Templates) -> Iterator[ExecutorRig]:
    """A real Executor that fetches from the Backend which the commands speak to; Ann and Bob have keys."""
    url = asyncio.run(templates.executor())

    async def install() -> ExecutorRig:
        made = ExecutorRig(Database(url, pool_size=3))
        made.backend = BackendClient(cli.rig.as_("executor"))  # type: ignore[assignment]
        made.restart()
        await made.read_health()
        return made

    async def close(made: ExecutorRig) -> None:
        await made.close()
        await made.database.close()

    made = cli.do(install())
    cli.rig.directory.add(made.ref())
    cli.do(cli.rig.put_policy(policy("{name: ask, effect: require_approval}", name="ask")))
    cli.tells("resume")
    yield made
    cli.do(close(made))
    asyncio.run(templates.drop(url))


def entry_of(cli: Installed, person: str, file: Path) -> str:
    """Make a key, and return the line of the ConfigMap that the command prints."""
    told = cli.tells("approver-keys", "new", person, str(file))
    return next(line for line in told.splitlines() if line.startswith("person:"))


def awaiting(cli: Installed, executor: ExecutorRig) -> str:
    """Bring a remediation to where it waits for a yes to a plan that this Executor has made."""
    asked = cli.json("remediations", "request", "shop/Deployment/web", "rollback_rollout", "--because", "it crashes",
                     name="ole")  # fmt: skip

    async def rehearse() -> None:
        await cli.rig.backend.step()
        await executor.executor.fetch(wait=timedelta())
        await cli.rig.backend.step()

    cli.do(rehearse())
    return str(asked["remediation_id"])


def carried_out(cli: Installed, executor: ExecutorRig) -> None:
    async def carry_out() -> None:
        await cli.rig.backend.step()
        await executor.executor.fetch(wait=timedelta())
        await executor.executor.step()

    cli.do(carry_out())


def test_what_an_approver_signs_the_executor_believes(cli: Installed, executor: ExecutorRig, tmp_path: Path) -> None:
    entry = entry_of(cli, "ann", tmp_path / "ann.key")
    executor.config(policy_floor="rollback_rollout: 1", approver_keys=entry)
    remediation_id = awaiting(cli, executor)

    told = cli.tells("remediations", "approve", remediation_id, "--key", str(tmp_path / "ann.key"), name="ann")
    carried_out(cli, executor)

    key_id = PublicKey.from_text(yaml.safe_load(entry)["person:ann"]).id
    assert f"signed with key {key_id}" in told
    assert len(executor.written) == 1
    assert f"person:ann approved signed {key_id}" in cli.tells("remediations", "show", remediation_id)


@pytest.mark.parametrize(("approver", "key"), [("ann", None), ("ann", "stranger.key"), ("bob", "ann.key")])
def test_no_signature_a_foreign_one_and_a_borrowed_one_are_refused(
    cli: Installed, executor: ExecutorRig, tmp_path: Path, approver: str, key: str | None
) -> None:
    entries = [entry_of(cli, person, tmp_path / f"{person}.key") for person in ("ann", "bob")]
    entry_of(cli, approver, tmp_path / "stranger.key")
    executor.config(policy_floor="rollback_rollout: 1", approver_keys="\n".join(entries))
    remediation_id = awaiting(cli, executor)
    signing = ("--key", str(tmp_path / key)) if key else ()

    cli.tells("remediations", "approve", remediation_id, *signing, name=approver)
    carried_out(cli, executor)

    shown = cli.json("remediations", "show", remediation_id)
    assert (shown["state"], shown["outcomes"][-1]["guardrail"]) == ("refused", "policy_floor_is_met")
    assert executor.written == []


def test_what_the_guide_says_works_two_sign_and_it_is_done(
    cli: Installed, executor: ExecutorRig, tmp_path: Path
) -> None:
    config_map, rules = (
        yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    )
    data = config_map["data"]
    entries = [entry_of(cli, person, tmp_path / f"{person}.key") for person in ("ann", "bob")]
    assert [one.partition(":")[0] for one in data["approver-keys"].splitlines()] == ["person"] * len(entries)
    executor.config(policy_floor=data["policy-floor"], approver_keys="\n".join(entries))
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(rules))
    cli.tells("policies", "save", str(tmp_path / "policy.yaml"))
    remediation_id = awaiting(cli, executor)

    for person in ("ann", "bob"):
        carried_out(cli, executor)
        assert executor.written == []
        key = str(tmp_path / f"{person}.key")
        cli.tells("remediations", "approve", remediation_id, "--key", key, name=person)
    carried_out(cli, executor)

    assert len(executor.written) == 1


def test_a_key_is_written_for_nobody_else_and_never_over_another(alone: Cli, tmp_path: Path) -> None:
    file = tmp_path / "ann.key"

    told = alone.json("approver-keys", "new", "ann", str(file))

    assert file.stat().st_mode & 0o777 == 0o600
    key = PrivateKey.from_text(file.read_text().strip())
    assert told == {"approver": "person:ann", "key_id": key.id, "public_key": key.public.to_text()}
    assert file.read_text().strip() not in alone.tells("approver-keys", "show", "ann", str(file))
    assert alone.json("approver-keys", "show", "ann", str(file)) == told
    assert "there is a file" in alone.refuses("approver-keys", "new", "ann", str(file))
    assert "cannot write" in alone.refuses("approver-keys", "new", "ann", str(file / "ann.key"))
    assert PrivateKey.from_text(file.read_text().strip()).id == key.id


def test_the_folder_of_a_key_is_made_for_nobody_else(alone: Cli, tmp_path: Path) -> None:
    file = tmp_path / ".aegis" / "approver.key"

    alone.tells("approver-keys", "new", "ann", str(file))

    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_guide_says_who_may_approve_with_a_key() -> None:
    commands = [line.partition("aegis ")[2] for line in GUIDE.read_text().splitlines() if line.startswith("$ ")]

    assert commands.index("people add ann --role approver") < commands.index("login URL --name ann")
    assert "remediations approve ID --key ~/.aegis/approver.key" in commands


def test_a_key_that_others_can_read_or_that_is_none_is_refused(alone: Cli, tmp_path: Path) -> None:
    file = tmp_path / "ann.key"
    alone.tells("approver-keys", "new", "ann", str(file))
    file.chmod(0o640)
    assert "chmod 600" in alone.refuses("approver-keys", "show", "ann", str(file))

    file.chmod(0o600)
    file.write_text("none")
    assert "holds no private key" in alone.refuses("approver-keys", "show", "ann", str(file))
    assert "cannot read" in alone.refuses("approver-keys", "show", "ann", str(tmp_path / "none"))
