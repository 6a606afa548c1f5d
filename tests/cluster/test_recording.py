"""`make record` writes down what happens on a real cluster; `aegis replay` understands it."""

import json
import subprocess
import sys
import time
from pathlib import Path

from testbed.driver.aegis import ROOT, Aegis
from testbed.driver.cluster import Cluster
from testbed.driver.manifests import script, service

PEACE_S = 20
TROUBLE_S = 40


def test_a_fault_that_is_recorded_is_found_in_the_recording(
    cluster: Cluster, aegis: Aegis, namespace: str, tmp_path: Path
) -> None:
    cluster.kubectl("label", "namespace", namespace, "aegis.dev/mode=observe", "--overwrite")
    cluster.apply(script(namespace), *service(namespace, "web"))
    cluster.wait_until_rolled_out(namespace, "web")
    options = ["--namespace", namespace, "--folder", str(tmp_path), "--kind", "crash-loop", "--cause", "Deployment/web"]
    options += ["--expected", "rollback Deployment web"]

    with subprocess.Popen(
        [sys.executable, "-m", "testbed.recorder", "exits-at-start", *options],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as recorder:  # fmt: skip
        assert recorder.stdin is not None
        time.sleep(PEACE_S)
        print("fault", file=recorder.stdin, flush=True)
        cluster.kubectl("-n", namespace, "set", "env", "deployment/web", "EXIT_CODE=3")
        time.sleep(TROUBLE_S)
        recorder.stdin.close()
        assert recorder.wait(timeout=30) == 0

    (label,) = json.loads((tmp_path / "labels.json").read_text())
    assert (label["fault"], label["root_cause"]["name"]) == (True, "web")
    (replayed,) = aegis.command("replay", str(tmp_path))["runs"]
    assert replayed["verdict"] == "right", replayed
