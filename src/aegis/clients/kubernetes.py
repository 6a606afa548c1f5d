"""The connection to an API server, made of a kubeconfig; what is said over it is each service's own."""

from datetime import timedelta

import httpx2
import yaml
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError

from aegis.kit.errors import InvalidError

_UNREADABLE = (ConfigError, yaml.YAMLError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""What comes of reading a file that is missing, or holds something else."""
_CONNECT_TIMEOUT = timedelta(seconds=10)


def connect(kubeconfig: str = "", *, read_timeout: timedelta = timedelta(seconds=10)) -> httpx2.AsyncClient:
    """Return a connection from a kubeconfig file, or from the pod's service account, whose token is read anew.

    Raises:
        InvalidError: there is no such file, or it is not one.
    """
    try:
        config = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_service_account()
        single = config.get()
        if single is None:
            raise ConfigError("it has no current context")
        timeout = httpx2.Timeout(_CONNECT_TIMEOUT.total_seconds(), read=read_timeout.total_seconds())
        client: httpx2.AsyncClient = AsyncClient(single, ConnectionParams(timeout=timeout))
    except _UNREADABLE as error:
        where = kubeconfig or "the pod's service account"
        raise InvalidError(
            f"cannot read {where} as a kubeconfig: {error}",
            field="AEGIS_KUBECONFIG",
            value=kubeconfig,
            hint="`kubectl --kubeconfig FILE get namespaces` should work with the same file.",
        ) from error
    return client
