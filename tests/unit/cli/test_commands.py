"""What each command prints for people and for machines, and what it says when it cannot."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import text
from tests.servers import KEYS
from tests.services.backend.rig import Rig, policy
from tests.services.backend.test_incidents import alert, fire, tell
from tests.services.backend.test_incidents import report as a_report
from tests.unit.cli.conftest import Answering, Cli, Installed

from aegis.cli.main import app
from aegis.cli.output import Format, console, print_one
from aegis.contracts.outcomes import Stage
from aegis.kit.embedded import free_port
from aegis.kit.signing import PrivateKey

RECORDINGS = Path(__file__).parent.parent / "ai_engine" / "recordings"
HOSTILE = "[/red] [bold] \N{BELL}"
"""What Rich would take for markup, in the name of something."""


def written(folder: Path, source: str) -> str:
    file = folder / "policy.yaml"
    file.write_text(source)
    return str(file)


# Looking


def test_status_says_in_one_look_whether_all_is_well(cli: Installed, public_key: str) -> None:
    cli.do(fire(cli.rig, alert()))

    status = cli.json("status")

    assert status["actions"].startswith("paused")
    assert status["incidents"] == {"open": 1}
    assert status["public_key"] == public_key
    assert "aegis resume" in cli.tells("status")
    assert cli.json("status", name="eve")["incidents"] == {}


def test_status_counts_what_is_open_however_old_and_buried_it_is(cli: Installed) -> None:
    cli.do(fire(cli.rig, alert()))
    cli.do(cli.rig.propose())
    cli.do(bury(cli.rig, "incidents", "opened_at", "id", "key", count=600, over="resolved"))
    unique = ("id", "order_id", "proposal_id", "dedupe_key")
    cli.do(bury(cli.rig, "remediations", "proposed_at", *unique, count=600, over="kept"))

    status = cli.json("status")

    assert status["incidents"]["open"] == 1
    assert status["remediations"]["proposed"] == 1
    assert sum(status["remediations"].values()) == 601
    assert cli.json("status", name="eve")["remediations"] == {}


async def bury(rig: Rig, table: str, at: str, *under: str, count: int, over: str) -> None:
    """Copy the rows of a table so many times, as what is newer and over; `under` are the columns that are unique."""
    names = ", ".join(f"'{column}', {column} || '-' || number" for column in under)
    changes = f"jsonb_build_object({names}, 'state', '{over}', '{at}', one.{at} + interval '1 hour')"
    copy = f"(jsonb_populate_record(one, {changes})).*"
    async with rig.database.transaction() as tx:
        await tx.execute(
            text(f"INSERT INTO {table} SELECT {copy} FROM {table} one, generate_series(1, {count}) number")
        )


def test_incidents_are_listed_shown_and_acknowledged(cli: Installed) -> None:
    cli.do(fire(cli.rig, alert()))

    [incident] = cli.json("incidents", "list")
    assert cli.json("incidents", "show", incident["id"])["title"] == "shop/Deployment/web: web is slow"
    assert "web is slow" in cli.tells("incidents", "show", incident["id"])
    cli.tells("incidents", "acknowledge", incident["id"], name="ole")

    assert [one["id"] for one in cli.json("incidents", "list", "--state", "acknowledged")] == [incident["id"]]
    assert "no incidents" in cli.tells("incidents", "list", "--state", "open")


def test_texts_of_the_cluster_are_shown_to_the_letter(cli: Installed) -> None:
    cli.do(fire(cli.rig, alert(annotations={"summary": HOSTILE})))

    [incident] = cli.json("incidents", "list")

    assert "[/red] [bold]" in cli.tells("incidents", "list")
    assert "[/red] [bold]" in cli.tells("incidents", "show", incident["id"])


def test_a_remediation_goes_from_request_to_undo(cli: Installed) -> None:
    rig = cli.rig
    cli.do(rig.put_policy(policy("{name: ask, effect: require_approval}", name="ask")))

    asked = cli.json("remediations", "request", "shop/Deployment/web", "rollback_rollout", "--because", "it crashes",
                     name="ole")  # fmt: skip
    remediation_id = asked["remediation_id"]
    planned = cli.do(rig.rehearse())
    assert [one["state"] for one in cli.json("remediations", "list")] == ["awaiting_approval"]
    shown = cli.tells("remediations", "show", remediation_id)
    assert planned.hash in "".join(shown.split())
    assert "it crashes" in shown

    assert "somebody else" not in cli.refuses("remediations", "approve", remediation_id, name="vic")
    wrong = cli.refuses("remediations", "approve", remediation_id, "--plan", "b" * 64, name="ann")
    assert "you approve another" in wrong
    assert f"hint: `aegis remediations show {remediation_id}`" in wrong
    assert planned.hash[:12] in cli.tells("remediations", "approve", remediation_id, name="ann")

    cli.do(rig.backend.step())
    order = cli.do(rig.order())
    cli.do(rig.report(order, Stage.ACTING, Stage.SETTLING, Stage.HELD))
    cli.tells("remediations", "keep", remediation_id, name="ole")
    assert cli.do(rig.order()).purpose == "keep"
    cli.do(rig.report(order, Stage.KEPT, first=4, reason="all is well"))
    assert "kept: all is well" in cli.tells("remediations", "show", remediation_id)
    cli.tells("remediations", "undo", remediation_id, name="ole")
    assert cli.json("remediations", "list", "--state", "kept", "--limit", "1")[0]["id"] == remediation_id


def test_whoever_requested_it_cannot_approve_it(cli: Installed) -> None:
    cli.do(cli.rig.put_policy(policy("{name: ask, effect: require_approval}", name="ask")))
    answer = cli.json("remediations", "request", "shop/web", "scale_workload", "--because", "x", "--set", "replicas=4")
    cli.do(cli.rig.rehearse())

    said = cli.refuses("remediations", "approve", answer["remediation_id"])

    assert "person:ada requested this; somebody else has to approve it" in said


def test_of_two_approvals_the_first_is_told_as_one_of_two(cli: Installed) -> None:
    cli.do(cli.rig.put_policy(policy("{name: ask, effect: require_approval, approvals: {count: 2}}", name="ask")))
    remediation_id = cli.do(cli.rig.propose())
    cli.do(cli.rig.rehearse())
    until = cli.json("remediations", "show", remediation_id)["expires_at"]
    assert f"2 approvals by role approver, 0 given, until {until}" in cli.tells("remediations", "show", remediation_id)

    first = cli.tells("remediations", "approve", remediation_id, name="ann")
    assert f"{remediation_id} has 1 of 2 approvals" in first
    assert "a policy floor of the Executor may ask for signatures" in first
    assert "2 approvals by role approver, 1 given" in cli.tells("remediations", "show", remediation_id)

    assert f"{remediation_id} is approved" in cli.tells("remediations", "approve", remediation_id, name="bob")


def test_a_no_is_kept_with_its_comment(cli: Installed) -> None:
    remediation_id, _ = cli.do(cli.rig.awaiting())

    cli.tells("remediations", "reject", remediation_id, "--comment", "not today", name="bob")

    assert cli.json("remediations", "show", remediation_id)["reason"] == "rejected by person:bob: not today"


def test_policies_are_tested_saved_listed_explained_and_deleted(cli: Installed, tmp_path: Path) -> None:
    file = written(tmp_path, policy("{name: never, effect: deny, because: " + "'[/x] no'" + "}"))
    assert cli.json("policies", "test", file)[0]["rule"] == "never"
    cli.tells("policies", "save", file)
    assert {one["name"] for one in cli.json("policies", "list")} == {"default", "p"}
    assert "never" in cli.tells("policies", "list")

    remediation_id = cli.do(cli.rig.propose())
    cli.do(cli.rig.rehearse())
    explained = cli.json("policies", "explain", remediation_id)
    assert explained["decision"]["effect"] == "deny"
    assert "[/x] no" in cli.tells("policies", "explain", remediation_id)

    cli.tells("policies", "delete", "p")
    assert {one["name"] for one in cli.json("policies", "list")} == {"default"}


def test_a_bad_policy_is_refused_with_field_value_and_place(alone: Cli, tmp_path: Path) -> None:
    file = written(tmp_path, policy("{name: a, effect: allow, when: 'confidence >'}"))

    said = alone.refuses("policies", "test", file)

    assert f"{file}: line 6: spec.rules[0](a).when is no condition: line 1, column 13" in said
    assert "hint" not in said, "it would name the command that was just given"
    assert "cannot read" in alone.refuses("policies", "test", "nowhere.yaml")


def test_an_export_verifies_and_an_altered_one_is_found(cli: Installed, tmp_path: Path, public_key: str) -> None:
    cli.tells("pause", "just to be sure", name="ann")
    cli.tells("resume")
    file = tmp_path / "export.ndjson"
    cli.tells("audit", "export", str(file))

    verified = cli.json("audit", "verify", str(file), "--key", public_key)
    assert verified["ok"]
    assert verified["entries"] == len(cli.json("audit", "list", "--limit", "1000"))
    (tmp_path / "key").write_text(public_key + "\n")
    assert "the chain holds" in cli.tells("audit", "verify", str(file), "--key", str(tmp_path / "key"))

    file.write_text(file.read_text().replace("just to be sure", "because I said so"))
    result = cli.run("audit", "verify", str(file), "--key", public_key, "--output", "json")
    assert result.exit_code == 1
    assert "was altered" in json.loads(result.stdout)["problems"][0]
    assert "the chain is broken" in cli.refuses("audit", "verify", str(file), "--key", public_key)


def test_what_status_said_proves_that_an_export_is_not_cut_off(cli: Installed, tmp_path: Path, public_key: str) -> None:
    file, witness = tmp_path / "export.ndjson", PrivateKey.from_text(KEYS.witness).public.to_text()
    verify = ("audit", "verify", str(file), "--key", public_key)
    cli.tells("pause", "just to be sure")
    cli.tells("audit", "export", str(file))
    short = file.read_text()
    cli.tells("resume")
    cli.tells("audit", "export", str(file))
    known = cli.json("status")["audit"]

    assert f"last entry: {known} of" in cli.tells(*verify, "--expect", known)
    assert "not looked at" in cli.tells(*verify)
    assert cli.json(*verify, "--witness-key", witness)["not_countersigned"] == 2

    file.write_text(short)
    assert "the chain holds" in cli.tells(*verify)
    assert "the end was cut off" in cli.refuses(*verify, "--expect", known)
    assert "is not SEQUENCE:HASH" in cli.refuses(*verify, "--expect", "12")
    assert "--witness-key 'none'" in cli.refuses(*verify, "--witness-key", "none")


def test_a_key_that_fits_no_checkpoint_is_asked_about(cli: Installed, tmp_path: Path, public_key: str) -> None:
    file, witness = tmp_path / "export.ndjson", PrivateKey.from_text(KEYS.witness).public
    cli.tells("pause", "just to be sure")
    cli.tells("audit", "export", str(file))

    said = cli.refuses("audit", "verify", str(file), "--key", witness.to_text())
    assert f"No checkpoint fits key {witness.id}" in said
    assert "Is `--key` the Backend's public key, not the Executor's witness key?" in said
    assert "altered" not in said

    file.write_text(file.read_text().replace("just to be sure", "because I said so"))
    assert "Somebody has altered the trail" in cli.refuses("audit", "verify", str(file), "--key", public_key)


def test_an_export_that_holds_nothing_does_not_hold(alone: Cli, tmp_path: Path, public_key: str) -> None:
    file = tmp_path / "export"
    file.touch()

    assert "holds nothing: no entry and no checkpoint" in alone.refuses(
        "audit", "verify", str(file), "--key", public_key
    )


def test_what_is_no_export_or_no_key_is_named(alone: Cli, tmp_path: Path, public_key: str) -> None:
    file = tmp_path / "export"
    for content, complaint in (("[]\n", ":1 is neither"), ("{", ":1 cannot be read"), ('{"entry": {}}', ":1 cannot")):
        file.write_text(content)
        said = alone.refuses("audit", "verify", str(file), "--key", public_key)
        assert complaint in said.replace(" :", ":"), said
    assert "public key" in alone.refuses("audit", "verify", str(file), "--key", "none")
    assert "cannot read" in alone.refuses("audit", "verify", str(tmp_path / "none"), "--key", public_key)


def test_pause_and_resume_and_who_may(cli: Installed) -> None:
    cli.tells("resume", "all is set up")
    assert cli.json("status")["actions"] == "on"
    cli.tells("pause", "it is on fire", name="eve")
    assert cli.json("status")["actions"] == "paused: it is on fire"

    said = cli.refuses("resume", name="ann")

    assert "person:ann may not administer here" in said
    assert "hint: An admin grants roles" in said


def test_people_are_added_and_listed_and_notifications_shown(cli: Installed) -> None:
    cli.tells("people", "add", "kim", "--role", "operator", "--password", "a long enough one", "--namespace", "shop-*")
    assert "kim" in {one["name"] for one in cli.json("people", "list")}
    assert "password" in cli.refuses("people", "add", "lee", "--role", "viewer", "--password", "short")

    cli.do(tell(cli.rig, a_report(needs_person="the store is down")))
    assert cli.json("notifications", "list")[0]["kind"] == "needs_person"


# Who am I, and is anybody there?


def test_a_session_is_remembered_for_nobody_else_and_forgotten(cli: Installed) -> None:
    result = cli.run("login", cli.url, "--name", "admin", "--password", "correct horse battery", name="", AEGIS_URL="")
    assert result.exit_code == 0, result.output
    kept = cli.home / "session.json"
    assert kept.stat().st_mode & 0o077 == 0
    assert cli.run("status", name="", AEGIS_URL="").exit_code == 0

    assert cli.run("logout", name="", AEGIS_URL="").exit_code == 0
    assert not kept.exists()
    assert "which Backend?" in cli.run("status", name="", AEGIS_URL="").stderr


def test_errors_say_what_happened_and_what_to_do(cli: Installed, alone: Cli) -> None:
    assert "hint: `aegis login` starts a new one" in cli.refuses("status", name="stranger")
    assert "hint: `aegis incidents list` shows them." in cli.refuses("incidents", "show", "inc-none")
    assert "hint: Such as shop/Deployment/web." in cli.refuses("remediations", "request", "web", "x", "--because", "y")
    assert "--set 'replicas' is not name=value" in cli.refuses(
        "remediations", "request", "shop/web", "scale_workload", "--because", "y", "--set", "replicas"
    )
    assert "query.state" in cli.refuses("remediations", "list", "--state", "done")
    wrong = cli.run("login", cli.url, "--name", "admin", "--password", "wrong")
    assert (wrong.exit_code, "name or password is wrong" in wrong.stderr) == (1, True)
    alone.url = f"http://127.0.0.1:{free_port()}"
    assert "hint: Is it running? `aegis up` starts one here." in alone.refuses("status")
    for nonsense in ("nonsense", "ftp://x", "http://x:port"):
        alone.url = nonsense
        assert "is no address of a Backend" in alone.refuses("status")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"body": "<html>Log in</html>"}, "HTTP 200 with text/html"),
        ({"body": '["nope"]', "status": 404, "content_type": "application/json"}, "HTTP 404 with application/json"),
        ({"body": "<html>Bad gateway</html>", "status": 502}, "HTTP 502 with text/html"),
    ],
)
def test_whoever_answers_and_is_no_backend_is_told_as_such(
    alone: Cli, tmp_path: Path, answering: Answering, answer: dict[str, Any], told: str
) -> None:
    file = tmp_path / "trail"
    with answering(**answer) as alone.url:
        for command in (("status",), ("incidents", "list"), ("audit", "export", str(file))):
            said = alone.refuses(*command)
            assert f"error: no Backend answers at {alone.url}/api/v1/" in said
            assert told in said
            assert "hint: Is that the Backend's address and port?" in said
    assert not file.exists()


def test_whoever_gives_no_session_is_not_remembered(alone: Cli, answering: Answering) -> None:
    with answering("[]", content_type="application/json") as url:
        assert f"what answers at {url} gives no session" in alone.refuses(
            "login", url, "--name", "a", "--password", "b"
        )
    assert not (alone.home / "session.json").exists()


@pytest.mark.parametrize(
    ("action", "settings", "told"),
    [
        ("raise_memory", ["container=2", "factor=nan"], "raise_memory: factor must be a finite number (got 'nan')"),
        ("raise_memory", ["factor=9"], "container is missing; factor must be at most 4"),
        ("raise_memory", ["container=web", "kind=evict_pod"], "--set 'kind=evict_pod': kind is 'raise_memory' already"),
        ("scale_workload", ["replicas=2", "replicas=3"], "--set 'replicas=3': replicas is '2' already"),
        (
            "scale_workload",
            ["replicas=many"],
            "replicas must be a whole number (got 'many') hint: It takes `--set repl",
        ),
        ("evict_pod", ["now=true"], "now is not known here (got 'true') hint: It takes no settings."),
        ("scale", [], "kind is not one of 'rollback_rollout', 'restart_workload'"),
    ],
)
def test_a_setting_that_an_action_does_not_take_is_named(
    alone: Cli, action: str, settings: list[str], told: str
) -> None:
    given = [part for setting in settings for part in ("--set", setting)]

    assert told in alone.refuses("remediations", "request", "shop/web", action, "--because", "y", *given)


def test_a_setting_is_what_its_action_says_it_is(cli: Installed) -> None:
    asked = cli.json(
        "remediations", "request", "shop/web", "raise_memory", "--because", "y",
        "--set", "container=2", "--set", "factor=1.5",
    )  # fmt: skip

    action = cli.json("remediations", "show", asked["remediation_id"])["proposal"]["action"]
    assert action == {"kind": "raise_memory", "container": "2", "factor": 1.5}


@pytest.mark.parametrize(
    ("setting", "nearest"),
    [("AEGIS_NOPE=1", "AEGIS_HOST"), ("AEGIS_METRIC_INTERVAL=PT5S", "AEGIS_METRICS_INTERVAL")],
)
def test_a_setting_that_no_service_has_is_refused_before_anything_is_started(
    alone: Cli, setting: str, nearest: str
) -> None:
    said = alone.refuses("up", "--kubeconfig", "nowhere", "--set", setting)

    assert f"{setting.partition('=')[0]} is no setting of any of the three services" in said
    assert nearest in said.partition("hint: The nearest are")[2]
    taken = ("AEGIS_METRICS_INTERVAL=PT5S", "AEGIS_SESSION_LIFETIME=PT5S", "AEGIS_COOLDOWN=PT5S")
    for one in taken:
        assert "there is no kubeconfig nowhere" in alone.refuses("up", "--kubeconfig", "nowhere", "--set", one)


def test_the_doctor_tells_what_is_there_and_what_is_missing(cli: Installed, alone: Cli) -> None:
    found = {one["check"]: one for one in json.loads(cli.run("doctor", "--output", "json").stdout)}
    assert found["Backend"]["found"] == f"{cli.url} is ready"
    assert found["Python 3.11 or newer"]["result"] == "ok"

    alone.url = f"http://127.0.0.1:{free_port()}"
    result = alone.run("doctor", "--output", "json")
    assert result.exit_code == 1
    [backend] = [one for one in json.loads(result.stdout) if one["check"] == "Backend"]
    assert (backend["result"], "running" in backend["hint"]) == ("missing", True)


# Recordings and stories


def test_a_recording_is_replayed(alone: Cli) -> None:
    file = RECORDINGS / "crashloop-exit-at-start-left.jsonl.gz"

    [run] = alone.json("replay", str(file))["runs"]

    assert any("rollback_rollout Deployment/web" in one for one in run["would_do"])


def test_what_is_no_recording_is_named(alone: Cli, tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl.gz"
    file.write_text("not compressed")

    assert "is no recording" in alone.refuses("replay", str(file))
    assert "there is no recording at" in alone.refuses("replay", str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ('[{"file": "runs/a.jsonl.gz", "fault": false}]', "labels.json: [0].id is missing"),
        (
            '[{"id": "a", "fault": false}, {"id": "b", "fault": "perhaps"}]',
            "[1].fault must be true or false (got 'perh",
        ),
        ('[{"id": "a", "fault": true}]', "[0] a run with a fault has a root_cause and a fault_start"),
        ('[{"id": "a", "fault": false, "actions": ["dance"]}]', "[0].actions[0] is not one of 'rollback_rollout'"),
        ("{}", "must be a list"),
        ("{", "is not JSON"),
    ],
)
def test_a_label_that_is_wrong_is_named(alone: Cli, tmp_path: Path, labels: str, told: str) -> None:
    (tmp_path / "labels.json").write_text(labels)

    said = alone.refuses("replay", str(tmp_path))

    assert told in said
    assert "hint: docs/guides/real-cluster.md says what a label holds." in said


@pytest.mark.parametrize(
    ("story", "named"),
    [
        ("name: x\n", "title is missing"),
        ("name: x\ntitle: t\nsteps: []\ncases: []\n", "cases must have at least 1"),
        ("name: X!\ntitle: t\nsteps: []\ncases: [{fault: f, at_s: 1, expect: {result: kept}}]\n",
         "name must look like"),
        ("name: x\ntitle: t\nsteps: []\ncases: [{fault: f, at_s: 1, expect: {result: kept, colour: red}}]\n",
         "cases[0].expect.colour is not known here (got 'red')"),
        ("name: x\ntitle: t\nsteps: []\ncases: [{fault: f, at_s: soon, expect: {result: kept}}]\n",
         "cases[0].at_s must be a number"),
        ("- a list\n", "must be an object"),
        ("{", "is no YAML"),
        ("a: 2026-99-99", "is no YAML"),
    ],
)  # fmt: skip
def test_a_story_that_is_wrong_names_file_and_field(alone: Cli, tmp_path: Path, story: str, named: str) -> None:
    (tmp_path / "01-x").mkdir()
    (tmp_path / "01-x" / "story.yaml").write_text(story)

    said = alone.refuses("demo", "--examples", str(tmp_path))

    assert "01-x/story.yaml" in said.replace(" ", "")
    assert named.replace(" ", "") in said.replace(" ", "")


def test_a_story_that_is_not_there_says_which_are(alone: Cli) -> None:
    said = alone.refuses("demo", "--story", "nothing", "--examples", "examples")

    assert "there is no story nothing" in said
    assert "bad-revision" in said
    said = alone.refuses("demo", "--examples", "nowhere")
    assert "no stories in nowhere" in said
    assert "hint: `--examples FOLDER`" in said


def test_every_line_of_a_value_stands_below_its_first() -> None:
    with console.capture() as captured:
        print_one({"id": "rem-1", "checks": ["a", "b"]}, fields=("id", "checks"), output=Format.TABLE)

    assert captured.get() == "id      rem-1\nchecks  a\n        b\n"


# One JSON document


PRINTS_DATA = {
    "status", "doctor", "replay", "incidents list", "incidents show", "remediations list", "remediations show",
    "remediations request", "policies list", "policies test", "policies explain", "audit list", "audit verify",
    "people list", "notifications list", "rbac", "approver-keys new", "approver-keys show",
}  # fmt: skip
"""Each of them is asked for JSON somewhere in this folder."""
PLAYED_ELSEWHERE = {"demo"}
"""`make demo` asks it for its table, CI for its document."""


def leaves(command: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    if not hasattr(command, "list_commands"):
        return {" ".join(path): command}
    context = typer.Context(command)
    parts = {part: command.get_command(context, part) for part in command.list_commands(context)}
    return {name: leaf for part, one in parts.items() for name, leaf in leaves(one, (*path, part)).items()}


def test_every_command_that_prints_data_prints_it_as_json_too() -> None:
    found = leaves(typer.main.get_command(app))
    with_json = {name for name, one in found.items() if any(option.name == "output" for option in one.params)}

    assert with_json == PRINTS_DATA | PLAYED_ELSEWHERE
    asked = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    for name in PRINTS_DATA:
        assert 'json("' + '", "'.join(name.split()) + '"' in asked or name == "doctor"


def test_only_the_command_that_is_asked_for_is_imported() -> None:
    """All of them together take seconds, for a version or for a list."""
    heavy = ("numba", "sqlalchemy", "fastapi", "lightkube", "cel_expr_python")
    script = (
        "import sys; from typer.testing import CliRunner; from aegis.cli.main import app; "
        "found = [CliRunner().invoke(app, given).exit_code for given in (['--version'], ['incidents', '--help'])]; "
        f"print(found, [one for one in {heavy} if one in sys.modules])"
    )

    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert told == "[0, 0] []\n"
