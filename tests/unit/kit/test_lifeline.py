"""Children end with us, even if nobody could tell them."""

import signal
import subprocess
import sys

from aegis.kit.lifeline import Lifeline

PARENT = """
import signal, subprocess, sys
from aegis.kit.lifeline import Lifeline
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
held = Lifeline(child.pid, signal.SIGKILL)
print("up", flush=True)
child.wait()
"""


def test_a_child_ends_when_its_parent_is_killed_and_cannot_tell_it() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"

        parent.kill()

        # The pipe ends when the last of them is gone: the child holds it, too.
        assert parent.communicate(timeout=120) == ("", None)


def test_what_is_let_go_of_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        lifeline = Lifeline(child.pid, signal.SIGKILL)

        lifeline.let_go()
        child.communicate(b"\n")

    assert child.returncode == 0
