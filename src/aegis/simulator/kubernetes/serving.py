"""Serving the app on a port, with TLS if wanted, and the kubeconfig that finds it."""

import asyncio
import base64
import contextlib
import ipaddress
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aegis.simulator.kubernetes.server import ApiServer

_VALID_FOR = timedelta(days=3650)
_CLOCK_SKEW = timedelta(days=3650)  # simulated time may be far from the machine's


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Served:
    """Where an API server is to be found; `ca` is None without TLS."""

    url: str
    ca: bytes | None


def self_signed(host: str, *, now: datetime) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aegis-simulated-cluster")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _names(host: str) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    try:
        return [*names, x509.IPAddress(ipaddress.ip_address(host))]
    except ValueError:
        return [*names, x509.DNSName(host)]


async def serve(app: ApiServer, host: str, port: int, *, tls: bool) -> None:
    """Serve until cancelled."""
    async with serving(app, host, port, tls=tls):
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def serving(app: ApiServer, host: str = "127.0.0.1", port: int = 0, *, tls: bool) -> AsyncIterator[Served]:
    """Serve while the context lasts; port 0 takes a free one."""
    listening = listen(host, port)
    bound = listening.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="aegis-apiserver-") as folder:
        certificate = self_signed(host, now=app.store.clock.now()) if tls else None
        server = GuestServer(_config(app, certificate, Path(folder)))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            await server.is_up.wait()
            scheme = "https" if tls else "http"
            yield Served(f"{scheme}://{host}:{bound}", certificate.certificate if certificate else None)
        finally:
            app.weather.cut_watches()
            server.should_exit = True
            await running
            listening.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket whose connections send at once, as those that asyncio opens do.

    Otherwise the second half of each answer waits 40 ms for an acknowledgement of the first.
    """
    listening = socket.create_server((host, port))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


class GuestServer(uvicorn.Server):
    """Leaves the process's signals to whoever owns the process, and tells when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _config(app: ApiServer, certificate: Certificate | None, folder: Path) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        log_level="error",  # uvicorn warns of every refused exec
        access_log=False,
        http="httptools",
        ws="none",
        lifespan="off",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )
    if certificate is not None:
        certificate_file, key_file = folder / "tls.crt", folder / "tls.key"
        certificate_file.write_bytes(certificate.certificate)
        key_file.write_bytes(certificate.key)
        config.ssl_certfile, config.ssl_keyfile = str(certificate_file), str(key_file)
    return config


def kubeconfig(served: Served, *, token: str | None = None, namespace: str = "default") -> str:
    """Write a kubeconfig with one context, for the user of `token` or for nobody in particular.

    Bearer tokens are sent over TLS only: a server without TLS can know no users.
    """
    cluster: dict[str, Any] = {"server": served.url}
    if served.ca is not None:
        cluster["certificate-authority-data"] = base64.b64encode(served.ca).decode()
    user = {"token": token} if token else {}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "simulated", "cluster": cluster}],
            "users": [{"name": "simulated", "user": user}],
            "contexts": [
                {
                    "name": "simulated",
                    "context": {"cluster": "simulated", "user": "simulated", "namespace": namespace},
                }
            ],
            "current-context": "simulated",
        }
    )
