"""What a proposal may name together."""

from typing import Any

import pytest
from pydantic import ValidationError
from tests.builders import proposal, target

POD = target("web-1", api_version="v1", kind="Pod")


def test_a_pod_has_an_owner_and_whatever_else_is_acted_on_is_its_own() -> None:
    assert proposal(target=POD, owner=target()).owner == target()
    assert proposal(target=target(), owner=target()).owner == target()


@pytest.mark.parametrize(
    "named",
    [
        {"target": target(), "owner": target("other")},
        {"target": target(), "owner": target(uid="of-another-life")},
        {"target": target(cluster_id="elsewhere"), "owner": target()},
        {"target": POD, "owner": target(namespace="free")},
        {"target": POD, "owner": target(cluster_id="elsewhere")},
    ],
)
def test_an_owner_that_cannot_own_the_target_is_no_proposal(named: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"the owner of|cannot own it"):
        proposal(**named)
