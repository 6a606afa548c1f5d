"""The requests that Aegis sends, and the list of those that are tested."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from aegis.simulator.kubernetes.request_log import Requested
from testbed.driver.audit_log import ACCOUNTS, asked_by_aegis

LIST = Path(__file__).with_name("requests.txt")
"""One request a line. What Aegis sends stands in it, and each line is sent by a test of this folder."""

ANY_PATCH = "?"
_UNWELL, _TOO_MANY = 500, 429
_DRY_RUN = "dry-run"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PATCH_TYPES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
    "application/json": "none",
}


class Request(NamedTuple):
    """What is asked of which kind of thing, and the code of the answer.

    >>> str(Request("patch", "apps/deployments", "json", True, 422))
    'patch apps/deployments json dry-run 422'
    """

    verb: str
    resource: str
    """`group/resource/subresource`, without the parts that there are not."""
    patch_type: str
    """Empty for what is no patch; ANY_PATCH where it is not known."""
    dry_run: bool
    code: int

    def __str__(self) -> str:
        parts = (self.verb, self.resource, self.patch_type, _DRY_RUN if self.dry_run else "", str(self.code))
        return " ".join(part for part in parts if part)

    @classmethod
    def read(cls, line: str) -> "Request":
        """Read what `str` has written.

        >>> Request.read("create pods/eviction 201")
        Request(verb='create', resource='pods/eviction', patch_type='', dry_run=False, code=201)
        """
        verb, resource, *qualities, code = line.split()
        patch_type = next((one for one in qualities if one != _DRY_RUN), "")
        return cls(verb, resource, patch_type, _DRY_RUN in qualities, int(code))


def listed() -> set[Request]:
    lines = (line.partition("#")[0].strip() for line in LIST.read_text().splitlines())
    return {Request.read(line) for line in lines if line}


def unlisted(sent: Iterable[Request]) -> list[Request]:
    """Return the requests that are not in the list, however they are patched where that is not known."""
    known = listed()
    known |= {one._replace(patch_type=ANY_PATCH) for one in known if one.patch_type}
    return sorted(set(sent) - known)


def says_something(request: Request) -> bool:
    """Whether the answer is about the request, not about the server's own trouble, which no test can order."""
    is_busy = request.code == _TOO_MANY and not request.resource.endswith("/eviction")
    return request.code < _UNWELL and not is_busy


def of_http(method: str, url: str, content_type: str, code: int) -> Request | None:
    """Read a request as a client sends it; None for what is about no resource.

    >>> str(of_http("GET", "/apis/apps/v1/namespaces/shop/deployments?watch=true", "", 200))
    'watch apps/deployments 200'
    """
    split = urlsplit(url)
    query = dict(parse_qsl(split.query, keep_blank_values=True))
    group, names = _names(split.path)
    if not names:
        return None
    verb = _VERBS.get(method) or ("get" if len(names) > 1 else "watch" if "watch" in query else "list")
    if verb == "delete" and len(names) == 1:
        verb = "deletecollection"
    patch_type = _PATCH_TYPES[content_type.partition(";")[0]] if verb == "patch" else ""
    return Request(verb, _joined(group, names[0], *names[2:]), patch_type, "dryRun" in query, code)


def _names(path: str) -> tuple[str, list[str]]:
    """Return the group, and resource, name and subresource as far as there are any."""
    root, *parts = path.strip("/").split("/")
    group = parts.pop(0) if root == "apis" else ""
    names = parts[1:]
    if names[:1] == ["namespaces"] and len(names) > 2:
        names = names[2:]
    return group, names


def requests_in_simulated_log(lines: Iterable[Requested]) -> set[Request]:
    """Return what Aegis's services asked a simulated API server."""
    return {
        Request(one.verb, _joined(one.group, one.resource, one.subresource), one.patch_type, one.dry_run, one.code)
        for one in lines
        if one.user.startswith(ACCOUNTS)
    }


def requests_in_audit_log(path: Path) -> set[Request]:
    """Return what Aegis's services asked a real API server, by its own log. It does not tell types of patches."""
    return {
        Request(
            one.verb, _joined(one.group, one.resource), ANY_PATCH if one.verb == "patch" else "", one.dry_run, one.code
        )
        for one in asked_by_aegis(path)
        if one.resource
    }


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)
