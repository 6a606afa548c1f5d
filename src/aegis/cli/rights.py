"""What the services may not do on a cluster although they need it, as its API server says."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import httpx2

from aegis.catalogue.rbac import CLUSTER_WIDE, EVERYWHERE, Right
from aegis.kit.errors import UpstreamError

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_AT_ONCE = 8


def needed(rules: Iterable[dict[str, Any]], namespaces: Sequence[str]) -> list[Right]:
    """Return what RBAC rules give, right by right: everywhere, or in these namespaces."""
    return [
        Right(verb, group, resource, namespace)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for namespace in ((EVERYWHERE,) if resource in CLUSTER_WIDE else namespaces or (EVERYWHERE,))
    ]


async def missing(http: httpx2.AsyncClient, rights: Sequence[Right]) -> list[Right]:
    """Return those that the API server denies whoever the connection is for.

    Raises:
        UpstreamError: it does not say.
    """
    places = asyncio.Semaphore(_AT_ONCE)

    async def is_given(right: Right) -> bool:
        async with places:
            return await _is_given(http, right)

    given = await asyncio.gather(*(is_given(right) for right in rights))
    return [right for right, is_right_given in zip(rights, given, strict=True) if not is_right_given]


async def _is_given(http: httpx2.AsyncClient, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    asked = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": right.namespace,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    try:
        answer = await http.post(_REVIEWS, json=review)
    except httpx2.HTTPError as error:
        raise UpstreamError(f"the API server does not answer: {str(error) or type(error).__name__}") from error
    if not answer.is_success:
        raise UpstreamError(f"the API server answers {answer.status_code}: {answer.text[:200]}")
    return bool(answer.json()["status"]["allowed"])
