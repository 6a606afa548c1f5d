"""What may happen to a world, as data: writes to the cluster, traffic, behaviour of processes, power.

No step sets a status, a reason or a signal. Those follow, or they do not.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from aegis.simulator.world.programs import Program

Target = Annotated[str, Field(pattern=r"^(@[a-z]+|[a-z0-9-]+/[a-z0-9.-]+)$")]
"""`namespace/name` of a workload, or a part it plays in a drawn topology: `@entry`, `@middle`, `@client`
(calls a store), `@store`, `@worker`."""


def _behaviour(given: dict[str, Any]) -> dict[str, Any]:
    Program().changed(given)  # refuses what no program has
    return given


Behaviour = Annotated[dict[str, Any], AfterValidator(_behaviour)]
"""Fields of a program and their values."""


class _Step(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Deploy(_Step):
    """A new revision: the present program changed, pushed under a new tag, and the tag written."""

    do: Literal["deploy"]
    target: Target
    tag: str
    behaviour: Behaviour = {}


class SetImage(_Step):
    """Write an image into the pod template; it may not exist."""

    do: Literal["set_image"]
    target: Target
    image: str


class SetEnv(_Step):
    """Write environment variables; those named like a program's field change how it behaves."""

    do: Literal["set_env"]
    target: Target
    env: dict[str, str]


class SetResources(_Step):
    """Write requests and limits, e.g. a memory limit that is too low."""

    do: Literal["set_resources"]
    target: Target
    limits: dict[str, str] = {}
    requests: dict[str, str] = {}


class Mount(_Step):
    """Mount a ConfigMap that may not exist."""

    do: Literal["mount"]
    target: Target
    config_map: str


class RequireKey(_Step):
    """Take an environment variable from a ConfigMap's key that may not exist."""

    do: Literal["require_key"]
    target: Target
    config_map: str
    key: str


class Scale(_Step):
    do: Literal["scale"]
    target: Target
    replicas: int = Field(ge=0)


class Undo(_Step):
    """What `kubectl rollout undo` does: write the previous revision's template."""

    do: Literal["undo"]
    target: Target


class Restart(_Step):
    """What `kubectl rollout restart` does."""

    do: Literal["restart"]
    target: Target


class Label(_Step):
    """Set labels and annotations; null takes one away."""

    do: Literal["label"]
    target: Target | None = None
    namespace: str | None = None
    labels: dict[str, str | None] = {}
    annotations: dict[str, str | None] = {}


class Apply(_Step):
    """Create or replace an object."""

    do: Literal["apply"]
    manifest: dict[str, Any]


class Delete(_Step):
    """Delete an object, e.g. a pod."""

    do: Literal["delete"]
    kind: str
    api_version: str = "v1"
    namespace: str | None = None
    name: str


class SetConfig(_Step):
    """Write values into a ConfigMap, making it if need be; null takes a key away."""

    do: Literal["set_config"]
    namespace: str
    name: str
    data: dict[str, str | None]


class SetSelector(_Step):
    """Write a Service's selector, perhaps with a typo."""

    do: Literal["set_selector"]
    service: Target
    selector: dict[str, str]


class SetQuota(_Step):
    do: Literal["set_quota"]
    namespace: str
    hard: dict[str, str]


class Cordon(_Step):
    do: Literal["cordon"]
    node: str
    unschedulable: bool = True


class Surge(_Step):
    """Users send `factor` times as much for a while."""

    do: Literal["surge"]
    service: Target = "@entry"
    factor: float = Field(gt=0)
    for_s: float = Field(gt=0)
    ramp_s: float = Field(default=2.0, ge=0)


class SetTraffic(_Step):
    """Users send so many requests a second from now on."""

    do: Literal["set_traffic"]
    service: Target = "@entry"
    rps: float = Field(ge=0)


class Behave(_Step):
    """Processes behave otherwise, unseen by the cluster: a lost index, a leak after a bad input."""

    do: Literal["behave"]
    target: Target
    changes: Behaviour
    survives_restart: bool = False


class BehaveNormally(_Step):
    """Take a `behave` back: processes that start from now on are themselves again."""

    do: Literal["behave_normally"]
    target: Target


class Crash(_Step):
    """All processes of a workload end."""

    do: Literal["crash"]
    target: Target
    exit_code: int = 1


class CutPower(_Step):
    do: Literal["cut_power"]
    node: str


class RestorePower(_Step):
    do: Literal["restore_power"]
    node: str


Step = Annotated[
    Deploy | SetImage | SetEnv | SetResources | Mount | RequireKey | Scale | Undo | Restart | Label | Apply
    | Delete | SetConfig | SetSelector | SetQuota | Cordon | Surge | SetTraffic | Behave | BehaveNormally
    | Crash | CutPower | RestorePower,
    Field(discriminator="do"),
]  # fmt: skip

STEP: TypeAdapter[Step] = TypeAdapter(Step)
