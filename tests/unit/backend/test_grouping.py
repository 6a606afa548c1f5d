"""What people read first of an incident."""

from tests.builders import NOW

from aegis.backend.incidents.grouping import title_of
from aegis.contracts.diagnoses import CauseKind, Diagnosis, Hypothesis
from aegis.contracts.targets import WorkloadRef

WEB, STORE = (
    WorkloadRef(cluster_id="c", namespace="shop", kind=kind, name=name)
    for kind, name in (("Deployment", "web"), ("StatefulSet", "store"))
)


def title(subject: WorkloadRef) -> str:
    cause = Hypothesis(
        cause=CauseKind.IMAGE_UNAVAILABLE, subject=subject, confidence=0.9, summary="its image cannot be pulled"
    )
    return title_of(WEB, Diagnosis(hypotheses=(cause,), made_at=NOW), ())


def test_a_title_names_where_the_cause_sits() -> None:
    assert title(WEB) == "shop/Deployment/web: its image cannot be pulled"
    assert title(STORE) == "shop/Deployment/web, because of shop/StatefulSet/store: its image cannot be pulled"
