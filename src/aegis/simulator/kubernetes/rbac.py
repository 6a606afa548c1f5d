"""Who may do what, by the Role and ClusterRole objects and their bindings in the store."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aegis.simulator.kubernetes.errors import ApiError
from aegis.simulator.kubernetes.objects import Object, dig, namespace_of
from aegis.simulator.kubernetes.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from aegis.simulator.kubernetes.store import Store
from aegis.simulator.kubernetes.users import MASTERS, User

_SELF_REVIEWS = {
    "selfsubjectaccessreviews": "authorization.k8s.io",
    "selfsubjectrulesreviews": "authorization.k8s.io",
    "selfsubjectreviews": "authentication.k8s.io",
}
_PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY_PATHS = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_PUBLIC_PATHS)


@dataclass(frozen=True)
class Attributes:
    """One thing somebody wants to do; `path` alone when it is not about a resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def may(store: Store, user: User, attributes: Attributes) -> bool:
    """Tell whether some rule allows it; RBAC has no rules that deny."""
    if MASTERS in user.groups:
        return True
    return any(_allows(rule, attributes) for rule in rules_for(store, user, attributes.namespace))


def refuse_unless_allowed(store: Store, user: User, attributes: Attributes) -> None:
    """Raise the 403 of a real server unless `user` may.

    Raises:
        ApiError: 403.
    """
    if not may(store, user, attributes):
        raise _forbidden(user, attributes)


def rules_for(store: Store, user: User, namespace: str) -> Iterator[Object]:
    """Yield the rules that count for `user` in `namespace`, those for every user first."""
    yield {"verbs": ["get"], "nonResourceURLs": list(_PUBLIC_PATHS)}
    if "system:authenticated" in user.groups:
        yield {"verbs": ["get"], "nonResourceURLs": list(_DISCOVERY_PATHS)}
        for resource, group in _SELF_REVIEWS.items():
            yield {"verbs": ["create"], "apiGroups": [group], "resources": [resource]}
    if MASTERS in user.groups:
        yield {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        yield {"verbs": ["*"], "nonResourceURLs": ["*"]}
    for binding in store.list(CLUSTERROLEBINDINGS):
        if _binds(binding, user):
            yield from _rules_of(store, binding)
    for binding in store.list(ROLEBINDINGS, namespace) if namespace else ():
        if _binds(binding, user):
            yield from (rule for rule in _rules_of(store, binding) if "nonResourceURLs" not in rule)


def _binds(binding: Object, user: User) -> bool:
    return any(_is_subject(subject, user, binding) for subject in binding.get("subjects") or [])


def _is_subject(subject: Object, user: User, binding: Object) -> bool:
    match subject.get("kind"):
        case "User":
            return bool(subject["name"] == user.name)
        case "Group":
            return subject["name"] in user.groups
        case "ServiceAccount":
            namespace = subject.get("namespace") or namespace_of(binding)
            return user.name == f"system:serviceaccount:{namespace}:{subject['name']}"
        case _:
            return False


def _rules_of(store: Store, binding: Object) -> Iterable[Object]:
    reference = binding.get("roleRef", {})
    if reference.get("kind") == "ClusterRole":
        role = store.find(CLUSTERROLES, None, reference.get("name", ""))
    else:
        role = store.find(ROLES, namespace_of(binding), reference.get("name", ""))
    return (role or {}).get("rules") or []


def _allows(rule: Object, wanted: Attributes) -> bool:
    if not _contains(rule.get("verbs"), wanted.verb):
        return False
    if wanted.path:
        return any(_covers(each, wanted.path) for each in rule.get("nonResourceURLs") or [])
    return (
        _contains(rule.get("apiGroups"), wanted.group)
        and _names_resource(rule.get("resources") or [], wanted)
        and (not rule.get("resourceNames") or wanted.name in rule["resourceNames"])
    )


def _contains(allowed: list[str] | None, value: str) -> bool:
    return allowed is not None and ("*" in allowed or value in allowed)


def _names_resource(allowed: list[str], wanted: Attributes) -> bool:
    any_resource_with_it = f"*/{wanted.subresource}" if wanted.subresource else "*"
    return any(each in ("*", wanted.full_resource, any_resource_with_it) for each in allowed)


def _covers(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _forbidden(user: User, wanted: Attributes) -> ApiError:
    if wanted.path:
        message = f'forbidden: User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
        return ApiError(403, "Forbidden", message)
    qualified = f"{wanted.resource}.{wanted.group}" if wanted.group else wanted.resource
    about = f'{qualified} "{wanted.name}"' if wanted.name else qualified
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    what = f'resource "{wanted.full_resource}" in API group "{wanted.group}" {where}'
    message = f'{about} is forbidden: User "{user.name}" cannot {wanted.verb} {what}'
    details = {"name": wanted.name, "group": wanted.group, "kind": wanted.resource}
    return ApiError(403, "Forbidden", message, details={key: value for key, value in details.items() if value})


def is_cluster_admin(user: User) -> bool:
    return MASTERS in user.groups


def attributes_from(spec: Object) -> Attributes:
    """Read what an access review asks about."""
    if "nonResourceAttributes" in spec:
        asked = spec["nonResourceAttributes"]
        return Attributes(verb=asked.get("verb", ""), path=asked.get("path", ""))
    asked = dig(spec, "resourceAttributes", default={})
    return Attributes(
        verb=asked.get("verb", ""),
        group=asked.get("group", ""),
        resource=asked.get("resource", ""),
        subresource=asked.get("subresource", ""),
        namespace=asked.get("namespace", ""),
        name=asked.get("name", ""),
    )
