"""Questions about rights and identities: access reviews, rules reviews, `kubectl auth whoami`."""

from collections.abc import Callable

from aegis.simulator.kubernetes.objects import Object, dig
from aegis.simulator.kubernetes.rbac import Attributes, attributes_from, may, rules_for
from aegis.simulator.kubernetes.requests import Answer, Request, answer
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.kubernetes.users import User, Users


def review(kind: str, store: Store, request: Request, users: Users) -> Answer | None:
    """Answer a review; None when `kind` is not one."""
    judge = _REVIEWS.get(kind)
    if judge is None:
        return None
    asked = request.object()
    status = judge(store, request, asked.get("spec") or {}, users)
    return answer({**asked, "kind": kind, "metadata": {"creationTimestamp": None}, "status": status}, 201)


def _own_access(store: Store, request: Request, spec: Object, users: Users) -> Object:
    del users
    return _verdict(store, request.user, attributes_from(spec))


def _others_access(store: Store, request: Request, spec: Object, users: Users) -> Object:
    del request, users
    user = User(spec.get("user", ""), tuple(spec.get("groups") or ()))
    return _verdict(store, user, attributes_from(spec))


def _verdict(store: Store, user: User, attributes: Attributes) -> Object:
    if may(store, user, attributes):
        return {"allowed": True, "reason": "RBAC: allowed by a rule bound to the user"}
    return {"allowed": False}


def _own_rules(store: Store, request: Request, spec: Object, users: Users) -> Object:
    del users
    rules = list(rules_for(store, request.user, spec.get("namespace") or "default"))
    return {
        "resourceRules": [each for each in rules if "nonResourceURLs" not in each],
        "nonResourceRules": [each for each in rules if "nonResourceURLs" in each],
        "incomplete": False,
    }


def _own_identity(store: Store, request: Request, spec: Object, users: Users) -> Object:
    del store, spec, users
    return {"userInfo": request.user.as_json()}


def _token(store: Store, request: Request, spec: Object, users: Users) -> Object:
    del store, request
    user = users.find(str(dig(spec, "token", default="")))
    if user is None:
        return {"user": {}, "error": "invalid bearer token"}
    return {"authenticated": True, "user": user.as_json()}


_REVIEWS: dict[str, Callable[[Store, Request, Object, Users], Object]] = {
    "SelfSubjectAccessReview": _own_access,
    "SubjectAccessReview": _others_access,
    "LocalSubjectAccessReview": _others_access,
    "SelfSubjectRulesReview": _own_rules,
    "SelfSubjectReview": _own_identity,
    "TokenReview": _token,
}
