"""What a demo tells: the cause of each case, one document, and where to look when a story failed."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from tests.builders import NOW, proposal, target
from tests.servers import KEYS

from aegis.cli.demo.command import _folder
from aegis.cli.demo.play import Ending, Play, Seen
from aegis.cli.demo.show import document_of, print_table
from aegis.cli.demo.story import Act, Case, load_story
from aegis.cli.output import console
from aegis.contracts.audit import GENESIS, Checkpoint, checkpoint_bytes
from aegis.contracts.remediations import Remediation, RemediationState
from aegis.contracts.targets import TargetRef
from aegis.kit.errors import AegisError, ForbiddenError, TemporaryError
from aegis.kit.signing import PrivateKey

EXAMPLES = Path(__file__).parents[3] / "examples"
STORY = load_story(EXAMPLES / "07-not-ours" / "story.yaml")
ENDED = Ending(
    story="not-ours/frozen", fault="a bad revision", target="shop/Deployment/web", detected_after_s=12.0,
    verified_after_s=None, cause=None, action="rollback_rollout", decision=None, result="expired", expected="expired",
    ok=True, audit={"entries": 7, "checkpoints": 2, "countersigned": 1, "orders": 1, "problems": []},
)  # fmt: skip


class PretendStage:
    """A stage on which everybody knows where things are."""

    def __init__(self) -> None:
        self.story = STORY
        self.clock = SimpleNamespace(now=lambda: NOW)

    async def find(self, name: str) -> str:
        return {"#0": "shop/Deployment/api", "#1": "shop/Deployment/web"}[name]


def case(name: str) -> Case:
    return next(one for one in STORY.cases if one.name == name)


def incident(*subjects: str) -> dict[str, Any]:
    """An incident of shop/web, with a bad revision of each of these for a hypothesis, the likeliest first."""
    where = [{"namespace": "shop", "kind": "Deployment", "name": name} for name in subjects]
    hypotheses = [{"cause": "bad_revision", "subject": subject} for subject in where]
    return {
        "workload": {"namespace": "shop", "kind": "Deployment", "name": "web"}, "affected": where,
        "opened_at": (NOW + timedelta(minutes=5)).isoformat(), "diagnosis": {"hypotheses": hypotheses},
    }  # fmt: skip


def remediation(owner: TargetRef) -> Remediation:
    return Remediation(
        id="rem-1", incident_id="inc-1", order_id="ord-1", state=RemediationState.EXPIRED,
        proposal=proposal(owner=owner, target=owner, proposed_by="service:ai-engine"), proposed_at=NOW, updated_at=NOW,
    )  # fmt: skip


def play(seen: Seen) -> Play:
    playing = Play(PretendStage())  # type: ignore[arg-type]
    playing._began_at = NOW
    playing._targets = {"#0": "shop/Deployment/api", "#1": "shop/Deployment/web"}
    playing._seen = seen
    return playing


async def test_the_cause_beside_a_case_is_what_was_diagnosed_for_its_target_whatever_happened_later() -> None:
    """A later fault elsewhere may join the incident and become its likeliest cause, as with seed 584368."""
    playing = play(Seen(incidents=[incident("api", "web")], remediations=[remediation(target(name="web"))]))

    assert playing._cause(case("frozen")) == ("bad_revision", "shop/Deployment/web")
    assert await playing._wrong_cause(case("frozen")) == []


@pytest.mark.parametrize(
    ("answered", "problems"),
    [
        (ForbiddenError("she requested it", hint="Ask another."), []),
        (
            TemporaryError("the Backend is away"),
            ["no: the Backend is away (temporary), and must be refused as forbidden"],
        ),
        (None, ["no: the API must refuse it as forbidden"]),
    ],
)
async def test_only_the_refusal_that_a_story_names_is_the_one_it_waits_for(
    answered: AegisError | None, problems: list[str]
) -> None:
    class Speaking(Play):
        def _speak(self, act: Act) -> None:
            if answered is not None:
                raise answered

    playing = Speaking(PretendStage())  # type: ignore[arg-type]

    await playing._carry_out(Act(name="no", approve=True, must_fail="forbidden"))

    assert playing._problems == problems


async def test_where_nothing_may_be_touched_a_write_to_anything_is_a_problem() -> None:
    elsewhere = {"resource": "deployments", "namespace": "shop", "name": "elsewhere"}

    assert play(Seen())._wrong_writes(case("frozen"), [elsewhere]) == ["1 writes, and nothing was to be touched"]


async def test_a_cause_elsewhere_than_a_case_says_is_a_problem() -> None:
    playing = play(Seen(incidents=[incident("api")]))

    [problem] = await playing._wrong_cause(case("frozen"))

    assert "bad_revision of shop/Deployment/api" in problem


def test_the_document_has_the_promised_keys_counts_a_chain_once_and_says_nothing_with_null() -> None:
    endings = [ENDED, replace(ENDED, story="not-ours/denied"), replace(ENDED, story="quiet", target=None)]

    document = document_of(endings, seed=7)

    assert set(document) == {"seed", "stories", "audit"}
    assert [list(one) for one in document["stories"]] == 3 * [
        [
            "story", "fault", "target", "detected_after_s", "verified_after_s", "cause", "action", "decision",
            "result", "expected", "ok",
        ]
    ]  # fmt: skip
    assert document["stories"][2]["target"] is None
    assert list(document["audit"]["chains"]) == ["not-ours", "quiet"]
    assert document["audit"]["ok"]
    assert not document_of([replace(ENDED, audit={})], seed=7)["audit"]["ok"]


def test_the_table_fits_a_page_explains_its_words_and_counts_each_chain_once() -> None:
    with console.capture() as captured:
        print_table([ENDED, replace(ENDED, story="not-ours/denied", result="denied")])

    told = captured.get()
    assert max(map(len, told.splitlines())) <= 120
    assert "expired: a guardrail said not now" in told
    assert "denied: policy or a person said no" in told
    assert "audit: 7 entries in 1 chains" in told


def test_of_the_audit_trails_only_what_held_is_told() -> None:
    broken = replace(ENDED, story="quiet", audit=ENDED.audit | {"problems": ["audit: entry 3 was altered"]})

    def told(*endings: Ending) -> str:
        with console.capture() as captured:
            print_table(endings)
        return captured.get().splitlines()[-1]

    assert told(ENDED) == (
        "audit: 7 entries in 1 chains, verified with the public keys alone; "
        "the Executor has countersigned 1 of 2 checkpoints"
    )
    assert told(ENDED, broken) == "audit: 14 entries in 2 chains, and that of quiet does not hold"
    assert told(replace(ENDED, audit={})) == "audit: there is no trail to verify"


@pytest.mark.parametrize("witness", [KEYS.witness, KEYS.data])
def test_the_trail_is_checked_with_the_witness_key_too(tmp_path: Path, witness: str) -> None:
    key, signed_by = PrivateKey.from_text(KEYS.signing), PrivateKey.from_text(KEYS.witness)
    checkpoint = checkpoint_of(key, signed_by)
    playing = Play(PretendStage())  # type: ignore[arg-type]
    playing._stage = SimpleNamespace(  # type: ignore[assignment]
        api=lambda: SimpleNamespace(lines=lambda _: [orjson.dumps({"checkpoint": checkpoint.model_dump(mode="json")})]),
        folder=tmp_path,
        secrets=SimpleNamespace(
            public_key=key.public.to_text(), witness_public_key=PrivateKey.from_text(witness).public.to_text()
        ),
    )

    found = playing._audit()

    assert found["countersigned"] == 1
    assert bool(found["problems"]) is (witness != KEYS.witness)


def checkpoint_of(key: PrivateKey, witness: PrivateKey) -> Checkpoint:
    """The checkpoint of a chain in which nothing has happened yet."""
    signed = checkpoint_bytes(0, GENESIS, NOW)
    return Checkpoint(
        sequence=0, hash=GENESIS, at=NOW, key_id=key.id, signature=key.sign(signed),
        witness_key_id=witness.public.id, witness_signature=witness.sign(signed),
    )  # fmt: skip


def test_what_a_failed_demo_left_stays_and_what_a_good_one_left_goes(tmp_path: Path) -> None:
    with _folder(None) as (good, _):
        (good / "log").touch()
    with _folder(None) as (bad, leave_it):
        leave_it()
    with _folder(tmp_path / "mine") as (mine, _):
        pass

    assert [one.exists() for one in (good, bad, mine)] == [False, True, True]
    bad.rmdir()
