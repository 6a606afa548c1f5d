"""An autoscaler follows the load up at once, and down only when it has stayed low."""

from tests.unit.simulator.controllers.builders import TestBed

from aegis.simulator.kubernetes.objects import Object, dig
from aegis.simulator.kubernetes.resources import HPAS

BUSY, IDLE = 0.032, 0.002  # cores; a pod asks for 0.02 and shall use 80 % of that


def autoscaled(bed: TestBed, *, most: int = 6) -> None:
    bed.deploy(replicas=2)
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": target, "maxReplicas": most, "metrics": [{"type": "Resource", "resource": metric}]}
    bed.apply(HPAS, {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})


def replicas(bed: TestBed) -> int:
    return int(bed.deployment()["spec"]["replicas"])


def condition(bed: TestBed, kind: str) -> Object:
    autoscaler = bed.store.get(HPAS, "shop", "web")
    return next(each for each in dig(autoscaler, "status", "conditions") if each["type"] == kind)


async def test_twice_the_load_is_twice_the_pods() -> None:
    bed = TestBed()
    autoscaled(bed)
    bed.runtime.cores = BUSY
    await bed.run(20)

    assert replicas(bed) == 4
    assert bed.events("SuccessfulRescale")[0]["message"] == "New size: 4"


async def test_there_are_never_more_than_allowed() -> None:
    bed = TestBed()
    autoscaled(bed, most=3)
    bed.runtime.cores = BUSY
    await bed.run(60)

    assert replicas(bed) == 3
    limited = condition(bed, "ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "TooManyReplicas")


async def test_pods_go_only_when_the_load_was_low_for_five_minutes() -> None:
    bed = TestBed()
    autoscaled(bed)
    bed.runtime.cores = BUSY / 2  # just what it shall be
    await bed.run(60)
    bed.runtime.cores = IDLE
    await bed.run(200)
    early, why = replicas(bed), condition(bed, "AbleToScale")["reason"]
    await bed.run(200)

    assert (early, why) == (2, "ScaleDownStabilized")
    assert replicas(bed) == 1


async def test_what_was_not_measured_moves_nothing() -> None:
    bed = TestBed()
    autoscaled(bed)
    await bed.run(60)

    assert replicas(bed) == 2
    active = condition(bed, "ScalingActive")
    assert (active["status"], active["reason"]) == ("False", "FailedGetResourceMetric")
