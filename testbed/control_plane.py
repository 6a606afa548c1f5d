"""etcd, API server, controller manager and scheduler: how they are started, and when they are ready."""

from pathlib import Path

from testbed import api, machine
from testbed.layout import NODE_ADDRESS, SERVICES, State

ETCD_URL = "http://127.0.0.1:2379"
PEER_URL = "http://127.0.0.1:2380"


def start(state: State, programs: Path, etcd: Path) -> None:
    """Start all four, and wait until the API server is ready."""
    machine.start(state, "etcd", [etcd, *_etcd()])
    machine.start(state, "kube-apiserver", [programs / "kube-apiserver", *_api_server(state)])
    machine.start(state, "kube-controller-manager", [programs / "kube-controller-manager", *_controller_manager(state)])
    scheduler = [f"--kubeconfig={state.kubeconfig('scheduler')}", "--leader-elect=false"]
    machine.start(state, "kube-scheduler", [programs / "kube-scheduler", *scheduler])
    api.wait_until(lambda: api.get(state, "/readyz"), "the API server is not ready")


def _etcd() -> list[str]:
    return [
        "--data-dir=/var/lib/etcd",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        f"--listen-peer-urls={PEER_URL}",
        f"--initial-advertise-peer-urls={PEER_URL}",
        f"--initial-cluster=default={PEER_URL}",
        "--unsafe-no-fsync",  # nothing has to survive here
    ]


def _api_server(state: State) -> list[str]:
    certificates = state.certificates
    return [
        f"--etcd-servers={ETCD_URL}",
        f"--advertise-address={NODE_ADDRESS}",
        "--secure-port=6443",
        f"--tls-cert-file={certificates}/apiserver.crt",
        f"--tls-private-key-file={certificates}/apiserver.key",
        f"--client-ca-file={certificates}/ca.crt",
        f"--service-account-key-file={certificates}/service-accounts.key",
        f"--service-account-signing-key-file={certificates}/service-accounts.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={certificates}/kubelet-client.crt",
        f"--kubelet-client-key={certificates}/kubelet-client.key",
        # Without it exec, logs and the node proxy are refused.
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged=true",
        "--enable-aggregator-routing=true",
        f"--requestheader-client-ca-file={certificates}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={certificates}/front-proxy.crt",
        f"--proxy-client-key-file={certificates}/front-proxy.key",
        # Who asked for what: least privilege is shown with it.
        f"--audit-policy-file={state.folder}/audit-policy.yaml",
        f"--audit-log-path={state.logs}/audit.log",
    ]


def write_audit_policy(state: State) -> None:
    """Let the API server log each request once, when it has been answered, without bodies."""
    (state.folder / "audit-policy.yaml").write_text(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived, ResponseStarted]\n"
        "rules:\n- {level: None, userGroups: ['system:nodes']}\n"
        "- {level: None, users: ['system:apiserver', 'system:kube-scheduler', 'system:kube-controller-manager']}\n"
        "- {level: Metadata}\n"
    )


def _controller_manager(state: State) -> list[str]:
    certificates = state.certificates
    return [
        f"--kubeconfig={state.kubeconfig('controller-manager')}",
        f"--service-account-private-key-file={certificates}/service-accounts.key",
        f"--root-ca-file={certificates}/ca.crt",
        f"--cluster-signing-cert-file={certificates}/ca.crt",
        f"--cluster-signing-key-file={certificates}/ca.key",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--horizontal-pod-autoscaler-sync-period=5s",
        # As it is otherwise, it waits for itself for five seconds until all its controllers have their tokens.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]
