"""Kubernetes' label selectors as objects carry them: `matchLabels` and `matchExpressions`, which must all hold."""

from collections.abc import Mapping
from typing import Any

Selector = Mapping[str, Any]


def selects(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a selector means something with these labels.

    One without requirements means everything, a missing one nothing, as in a PodDisruptionBudget (policy/v1).

    >>> selects({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}, {"app": "web"})
    True
    """
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    return wanted.items() <= labels.items() and all(_holds(each, labels) for each in expressions)


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case unknown:
            raise ValueError(f"no label selector has the operator {unknown!r}")


def selector_text(selector: Selector | None) -> str:
    """Write a selector as `kubectl -l` and the API's `labelSelector` take it.

    >>> selector_text({"matchLabels": {"app": "web"}})
    'app=web'
    """
    selector = selector or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for each in selector.get("matchExpressions") or []:
        values = f"({','.join(each.get('values') or [])})"
        written = {"In": f"{each['key']} in {values}", "NotIn": f"{each['key']} notin {values}"}
        written |= {"Exists": each["key"], "DoesNotExist": f"!{each['key']}"}
        parts.append(written[each["operator"]])
    return ",".join(parts)
