"""Who may ask the AI Engine what: a table that every route has to be in."""

import httpx
import pytest
from pydantic import ValidationError
from tests.servers import KEYS
from tests.services.ai_engine.test_service import Rig
from tests.services.backend.rig import problem_of
from tests.services.backend.test_access import routes

from aegis.ai_engine.settings import AiEngineSettings
from aegis.clients.ai_engine import AiEngineClient
from aegis.contracts.targets import WorkloadRef
from aegis.kit.database import Database
from aegis.kit.errors import TemporaryError

CALLERS = ("backend", "executor")
PUBLIC = {("GET", "/health"), ("GET", "/ready"), ("GET", "/metrics")}
RULES: dict[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/api/v1/verifications"): ("executor",),
    ("GET", "/api/v1/targets/{namespace}/{kind}/{name}"): ("backend",),
    ("GET", "/api/v1/state"): CALLERS,
}
"""Who gets past the door of each route."""


@pytest.fixture
def rig(database: Database) -> Rig:
    return Rig(database)


async def call(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    filled = path.replace("{", "x-").replace("}", "")
    return await client.request(method, filled, json={} if method == "POST" else None)


async def test_every_route_has_a_rule(rig: Rig) -> None:
    assert set(routes(rig.engine.app.routes)) == PUBLIC | set(RULES)


@pytest.mark.parametrize("caller", CALLERS)
async def test_only_those_named_get_past_the_door(rig: Rig, caller: str) -> None:
    async with rig.client(caller) as client:
        for (method, path), named in RULES.items():
            answer = await call(client, method, path)

            if caller in named:
                assert answer.status_code not in (401, 403), f"{caller} {method} {path}: {answer.text}"
            else:
                assert caller in problem_of(answer, 403)["detail"]


@pytest.mark.parametrize(
    "credential", ["", "Bearer ", "Bearer nonsense", f"Basic {KEYS.caller['executor']}", KEYS.caller["executor"],
                   f"Bearer {KEYS.caller['executor']}x", f"Bearer {KEYS.service['executor']}"],
)  # fmt: skip
async def test_a_credential_that_is_none_is_let_in_nowhere(rig: Rig, credential: str) -> None:
    async with rig.client() as client:
        client.headers["Authorization"] = credential
        for method, path in RULES:
            answer = await call(client, method, path)

            problem_of(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_hash_is_no_key(rig: Rig) -> None:
    async with rig.client() as client:
        for hashed in rig.settings.callers.values():
            client.headers["Authorization"] = f"Bearer {hashed}"

            problem_of(await client.get("/api/v1/state"), 401)


async def test_where_no_caller_is_known_nobody_gets_in(database: Database) -> None:
    rig = Rig(database, caller_keys="")

    async with rig.client("executor") as client:
        for method, path in RULES:
            problem_of(await call(client, method, path), 401)


@pytest.mark.parametrize("setting", ["backend", "backend=secret", f"={'a' * 64}", f"backend={'a' * 63}"])
def test_a_setting_that_holds_no_hash_is_refused_at_the_start(setting: str) -> None:
    with pytest.raises(ValidationError, match="64 hexadecimal digits"):
        AiEngineSettings.model_validate({"backend_key": "-", "caller_keys": setting})


async def test_whoever_is_not_let_in_has_no_answer_for_now_and_is_told_which_settings(rig: Rig) -> None:
    workload = WorkloadRef(cluster_id="test", namespace="shop", kind="Deployment", name="web")
    for caller in ("", "executor"):
        async with rig.client(caller) as http:
            with pytest.raises(TemporaryError, match="does not let us in") as refused:
                await AiEngineClient(http).find(workload)

        assert "AEGIS_CALLER_KEYS" in refused.value.hint
