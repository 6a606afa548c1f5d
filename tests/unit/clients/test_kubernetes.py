"""The connection that a kubeconfig describes, or why there can be none."""

from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from aegis.clients.kubernetes import TokenOnDisk, connect
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


@pytest.mark.parametrize(
    "text",
    [
        None, "", "]", "- a list", "apiVersion: v1", KUBECONFIG.replace("current-context: test", ""),
        KUBECONFIG.replace(", user: ann", ""), KUBECONFIG.replace("{token: abc}", "5"),
        KUBECONFIG.replace("token: abc", "tokenFile: nowhere"), KUBECONFIG.replace("abc", "é"),
        KUBECONFIG.replace(":6443", ":port"), KUBECONFIG.replace('6443"', '6443", certificate-authority: nowhere'),
    ],
)  # fmt: skip
def test_what_is_no_kubeconfig_is_named_with_the_setting_that_names_it(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)

    with pytest.raises(InvalidError) as refusal:
        connect(str(file))

    assert (refusal.value.field, refusal.value.value) == ("AEGIS_KUBECONFIG", str(file))


class Server(httpx2.AsyncBaseTransport):
    """Knows one token, and remembers what it was sent."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.sent: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request.headers["Authorization"].removeprefix("Bearer "))
        return httpx2.Response(200 if self.sent[-1] == self.token else 401)


async def test_a_token_is_read_again_when_it_is_refused_and_no_more_often_than_every_few_seconds() -> None:
    server, on_disk, reads, passed = Server("new"), "old", [0], [0.0]

    def read() -> str:
        reads[0] += 1
        return on_disk

    async with httpx2.AsyncClient(transport=server, auth=TokenOnDisk(read, passed=lambda: passed[0])) as http:
        for _ in range(3):
            assert (await http.get("https://api")).status_code == 401
        assert (reads, server.sent) == ([2], ["old"] * 3)

        on_disk, passed[0] = "new", 5.0
        assert (await http.get("https://api")).status_code == 200
        assert (await http.get("https://api")).status_code == 200

    assert (reads, server.sent) == ([3], [*["old"] * 4, "new", "new"])


async def test_a_kubeconfig_that_cannot_be_read_for_a_moment_or_is_for_another_server_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(KUBECONFIG)
    for text, why in (("half", ""), (KUBECONFIG.replace("cluster.ex", "other.ex"), "it is for https://other.example")):
        caplog.clear()
        file.write_text(KUBECONFIG)
        async with connect(str(file)) as http:
            file.write_text(text)
            flow = http.auth.sync_auth_flow(httpx2.Request("GET", "https://cluster.example"))  # type: ignore[union-attr]
            assert next(flow).headers["Authorization"] == "Bearer abc"
            with pytest.raises(StopIteration):
                flow.send(httpx2.Response(401))
        assert f"the token was refused, and cannot be read again: {why}" in caplog.text


async def test_a_plugin_that_fails_is_no_answer(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    plugin = "{exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: 'false'}}"
    file.write_text(KUBECONFIG.replace("{token: abc}", plugin))

    async with connect(str(file)) as http:
        with pytest.raises(httpx2.TransportError, match="plugin failed: Exec false returned 1"):
            await http.get("/version")
