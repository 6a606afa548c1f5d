"""The cluster's certificate authorities and what they sign. Made anew for every cluster, good for a month."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from testbed.layout import API_SERVER, FIRST_SERVICE_ADDRESS, NODE, NODE_ADDRESS, State

GOOD_FOR = timedelta(days=30)
CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Subject:
    """Whom a certificate is for. To Kubernetes the organization is a group."""

    name: str
    group: str = ""
    hosts: tuple[str, ...] = ()

    def as_name(self) -> x509.Name:
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, self.name)]
        if self.group:
            parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, self.group))
        return x509.Name(parts)


API_SERVER_HOSTS = (
    "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
    "127.0.0.1", FIRST_SERVICE_ADDRESS, NODE_ADDRESS,
)  # fmt: skip
SUBJECTS = {
    "apiserver": Subject("kube-apiserver", hosts=API_SERVER_HOSTS),
    "kubelet-client": Subject("kubelet-client", group="system:masters"),
    "admin": Subject("admin", group="system:masters"),
    "controller-manager": Subject("system:kube-controller-manager"),
    "scheduler": Subject("system:kube-scheduler"),
    "proxy": Subject("system:kube-proxy"),
    "kube-router": Subject("kube-router"),
    "monitoring": Subject("monitoring"),
    "kwok": Subject("kwok", group="system:masters"),  # it plays every part of its nodes and pods
    NODE: Subject(f"system:node:{NODE}", group="system:nodes", hosts=(NODE, NODE_ADDRESS)),
}
KUBECONFIGS = ("admin", "controller-manager", "scheduler", "proxy", "kube-router", "monitoring", "kwok", NODE)


class Authority:
    """A certificate authority, with its files `NAME.crt` and `NAME.key`."""

    def __init__(self, name: str, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = Subject(name).as_name()
        built = (
            _begin(self._subject, self._subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        _write(folder, name, self._key, built)

    def sign(self, name: str, subject: Subject) -> None:
        """Write a certificate and its key for a server, a client or both."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = _begin(subject.as_name(), self._subject, key.public_key()).add_extension(
            x509.ExtendedKeyUsage(usages), critical=False
        )
        if subject.hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(_hosts(subject.hosts)), critical=False)
        _write(self._folder, name, key, builder.sign(self._key, hashes.SHA256()))


def make_certificates(state: State) -> None:
    """Write every certificate, the key that signs service accounts' tokens, and the kubeconfigs."""
    folder = state.certificates
    folder.mkdir(mode=0o700)
    cluster = Authority("ca", folder)
    for name, subject in SUBJECTS.items():
        cluster.sign(name, subject)
    Authority("front-proxy-ca", folder).sign("front-proxy", Subject("front-proxy-client"))
    _write_key(folder / "service-accounts.key", ec.generate_private_key(ec.SECP256R1()))
    for user in KUBECONFIGS:
        path = state.kubeconfig(user)
        path.touch(mode=0o600)
        path.write_text(_kubeconfig(folder, user))


def _kubeconfig(folder: Path, user: str) -> str:
    return f"""\
apiVersion: v1
kind: Config
clusters: [{{name: testbed, cluster: {{server: "{API_SERVER}", certificate-authority: {folder}/ca.crt}}}}]
users: [{{name: {user}, user: {{client-certificate: {folder}/{user}.crt, client-key: {folder}/{user}.key}}}}]
contexts: [{{name: testbed, context: {{cluster: testbed, user: {user}}}}}]
current-context: testbed
"""


def _begin(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + GOOD_FOR)
    )


def _hosts(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [_host(host) for host in hosts]


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_key(folder / f"{name}.key", key)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
