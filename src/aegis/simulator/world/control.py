"""The world's own endpoint, for demos and tests: the truth about it, and a hand in it."""

from datetime import datetime, timedelta
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aegis.kit.errors import AegisError, InvalidError
from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.resources import NODES
from aegis.simulator.world.faults import STEP
from aegis.simulator.world.timed import PLAN
from aegis.simulator.world.world import Health, World


class WorldApi:
    """`/world/…`: what is there, what users met, and steps to do now."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/world", self._about),
            Route("/world/workloads", self._workloads),
            Route("/world/requests", self._requests),
            Route("/world/steps", self._do, methods=["POST"]),
            Route("/world/plan", self._plan, methods=["POST"]),
        ]

    async def _about(self, _request: Request) -> Response:
        world = self._world
        traffic = world.physics.traffic.items()
        return _json(
            {
                "seed": world.seed,
                "now": world.clock.now().isoformat(),
                "began_at": world.began_at.isoformat(),
                "nodes": {
                    node["metadata"]["name"]: world.physics.has_power(node["metadata"]["name"])
                    for node in world.store.list(NODES)
                },
                "traffic": {key: round(each.mean_at(world.physics.seconds), 2) for key, each in traffic},
                "parts": {role: [str(each) for each in found] for role, found in world.roles.items()},
                "story": [{"at": at.isoformat(), "done": done} for at, done in world.story],
                "images": world.registry.images(),
            }
        )

    async def _workloads(self, _request: Request) -> Response:
        return _json({"workloads": [_health(each) for each in self._world.health()]})

    async def _requests(self, request: Request) -> Response:
        """Say what users met, step by step, after `since` (a time as `/world` writes it)."""
        since = request.query_params.get("since")
        try:
            after = datetime.fromisoformat(since) if since else None
        except ValueError:
            return _refused(InvalidError(f"since={since!r} is no time", hint="2026-01-05T00:00:00+00:00 is one"))
        steps = [each for each in self._world.telemetry.users if after is None or each.at > after]
        rows = [
            {
                "at": each.at.isoformat(),
                "service": each.service,
                "requests": round(each.requests, 3),
                "failed": round(each.failed, 3),
            }
            for each in steps
        ]
        return _json({"requests": rows})

    async def _do(self, request: Request) -> Response:
        try:
            step = STEP.validate_json(await request.body())
            return _json({"done": self._world.do(step)})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(each) for each in first["loc"])
            return _refused(InvalidError(f"{where}: {first['msg']}" if where else str(first["msg"])))
        except AegisError as error:
            return _refused(error)
        except ApiError as error:
            return _json({"error": {"code": error.reason, "message": error.message}}, status=error.code)

    async def _plan(self, request: Request) -> Response:
        """Plan steps for later; their `at_s` counts from now. All of them are planned, or none."""
        try:
            steps = PLAN.validate_json(await request.body())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(each) for each in first["loc"])
            return _refused(InvalidError(f"{where}: {first['msg']}"))
        now = self._world.clock.now()
        for each in steps:
            self._world.plan(now + timedelta(seconds=each.at_s), each.step)
        return _json({"now": now.isoformat(), "planned": len(steps)})


def _health(health: Health) -> dict[str, Any]:
    namespace, kind, name = health.workload
    return {
        "namespace": namespace,
        "kind": kind,
        "workload": name,
        "role": health.role,
        "desired": health.desired,
        "ready": health.ready,
        "request_rate": round(health.request_rate, 3),
        "error_ratio": round(health.error_ratio, 5),
        "latency_seconds": round(health.latency_s, 5),
        "restarts": health.restarts,
        "healthy": health.is_healthy,
    }


def _refused(error: AegisError) -> Response:
    body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    return _json(body, status=error.status)


def _json(body: Any, *, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status_code=status, media_type="application/json")
