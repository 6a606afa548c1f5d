"""What is made of an API server's answers."""

from typing import Any

import httpx2
import pytest

from aegis.clients.api_server import OlderServerError, SupportedServer, message_of, supported_version, wait_of
from aegis.kit.errors import TemporaryError

OLD = {"major": "1", "minor": "27+", "gitVersion": "v1.27.9-gke.1"}
NEW = {"major": "1", "minor": "28", "gitVersion": "v1.28.15"}


def answer(code: int, body: Any, *, method: str = "GET", path: str = "/version", **headers: str) -> httpx2.Response:
    return httpx2.Response(code, json=body, headers=headers, request=httpx2.Request(method, f"https://api{path}"))


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ({"major": "1", "minor": "28+", "gitVersion": "v1.28.15-gke.3"}, "v1.28.15-gke.3"),
        ({"major": "", "minor": "", "gitVersion": "v1.30.1+k3s1"}, "v1.30.1+k3s1"),
        ({"major": "2", "minor": "0"}, "v2.0"),
    ],
)
def test_a_version_is_read_however_it_is_written(said: dict[str, str], version: str) -> None:
    assert supported_version(answer(200, said)) == version


def test_an_older_one_is_named_with_what_is_needed() -> None:
    with pytest.raises(
        OlderServerError, match=r"is Kubernetes v1\.27\.9-gke\.1, and Aegis needs Kubernetes 1\.28 or newer"
    ):
        supported_version(answer(200, OLD))


@pytest.mark.parametrize("said", [{}, [], {"major": "one"}, "v1"])
def test_what_is_no_version_is_no_answer(said: Any) -> None:
    with pytest.raises(TemporaryError, match="does not say its version"):
        supported_version(answer(200, said))


async def test_a_server_is_asked_until_its_answer_will_do_and_never_again() -> None:
    answers = [answer(503, {}), answer(200, OLD), answer(200, NEW)]

    async def get(_: str) -> httpx2.Response:
        return answers.pop(0)

    server = SupportedServer(get)
    for refusal in (TemporaryError, OlderServerError):
        with pytest.raises(refusal):
            await server.refuse_older()
    await server.refuse_older()
    await server.refuse_older()

    assert answers == []


@pytest.mark.parametrize(
    ("method", "path", "about", "rule"),
    [
        ("GET", "/apis/apps/v1/deployments?watch=true", 'resource "deployments"',
         "{apiGroups: [apps], resources: [deployments], verbs: [watch]}"),
        ("PATCH", "/k8s/clusters/c-1/apis/apps/v1/namespaces/shop/deployments/web", 'resource "deployments"',
         "{apiGroups: [apps], resources: [deployments], verbs: [patch]}"),
        ("GET", "/version", 'path "/version"', "{nonResourceURLs: [/version], verbs: [get]}"),
    ],
)  # fmt: skip
def test_a_missing_right_is_told_with_the_rule_that_gives_it(method: str, path: str, about: str, rule: str) -> None:
    said = f'forbidden: User "executor" cannot do {about}'

    assert message_of(answer(403, {"message": said}, method=method, path=path)).startswith(
        f"{said}; add to the role: {rule};"
    )


def test_no_role_is_blamed_for_a_quota() -> None:
    said = 'pods "web" is forbidden: exceeded quota: small'

    assert message_of(answer(403, {"message": said}, path="/api/v1/namespaces/shop/pods")) == said


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7), ("", 1), ("Wed, 21 Oct 2026 07:28:00 GMT", 1), ("-3", 1), ("99999", 300)]
)
def test_a_wait_is_obeyed_as_far_as_it_makes_sense(said: str, seconds: int) -> None:
    assert wait_of(answer(429, {}, **{"Retry-After": said})).total_seconds() == seconds
