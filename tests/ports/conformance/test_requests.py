"""The list of what Aegis sends, and how it is read out of logs. That all of it is tried is seen when all have run."""

import json
from pathlib import Path

from tests.ports.conformance.requests import LIST, Request, requests_in_audit_log, unlisted


def test_the_list_says_each_request_once_and_in_order() -> None:
    lines = LIST.read_text().splitlines()

    assert lines == [str(one) for one in sorted({Request.read(line) for line in lines})]


def entry(user: str, verb: str, uri: str, *, resource: str, code: int = 200, **about: str) -> str:
    """A line of an API server's log."""
    return json.dumps(
        {
            "stage": "ResponseComplete",
            "user": {"username": user},
            "verb": verb,
            "requestURI": uri,
            "objectRef": {"resource": resource, **about},
            "responseStatus": {"code": code},
        }
    )


def test_what_aegis_asked_is_read_from_the_log_of_an_api_server(tmp_path: Path) -> None:
    log, executor = tmp_path / "audit.log", "system:serviceaccount:aegis:executor"
    uri = "/apis/apps/v1/namespaces/shop/deployments/web?fieldManager=aegis-executor&dryRun=All"
    log.write_text(
        "\n".join(
            [
                entry(executor, "patch", uri, resource="deployments", apiGroup="apps", code=422),
                entry(executor, "create", "/…/eviction", resource="pods", subresource="eviction", code=201),
                entry("system:serviceaccount:shop:web", "delete", "/…/secrets/x", resource="secrets"),
            ]
        )
    )

    found = requests_in_audit_log(log)

    assert {str(one) for one in found} == {"patch apps/deployments ? dry-run 422", "create pods/eviction 201"}
    assert unlisted(found) == []


def test_what_is_not_listed_is_told() -> None:
    sent = [Request.read("delete pods 200"), Request.read("list pods 200"), Request.read("patch nodes ? 200")]

    assert [str(one) for one in unlisted(sent)] == ["delete pods 200", "patch nodes ? 200"]
