"""The connection that a kubeconfig describes, or why there can be none."""

from datetime import timedelta
from pathlib import Path

import pytest

from aegis.clients.kubernetes import connect
from aegis.kit.errors import InvalidError

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: test
contexts: [{name: test, context: {cluster: test, user: ann}}]
clusters: [{name: test, cluster: {server: "https://cluster.example:6443"}}]
users: [{name: ann, user: {token: abc}}]
"""


async def test_a_kubeconfig_says_where_to_connect_to(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG)

    async with connect(str(file), read_timeout=timedelta(minutes=5)) as http:
        assert str(http.base_url) == "https://cluster.example:6443"
        assert (http.timeout.connect, http.timeout.read) == (10, 300)


@pytest.mark.parametrize("text", [None, "", "apiVersion: v1", KUBECONFIG.replace("current-context: test", ""), "]"])
def test_what_is_no_kubeconfig_is_named_with_the_setting_that_names_it(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)

    with pytest.raises(InvalidError) as refusal:
        connect(str(file))

    assert (refusal.value.field, refusal.value.value) == ("AEGIS_KUBECONFIG", str(file))
