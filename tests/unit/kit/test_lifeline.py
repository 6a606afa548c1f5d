"""Children end with us, even if nobody could tell them."""

import signal
import subprocess
import sys
from pathlib import Path

from aegis.kit.lifeline import Lifeline

PARENT = """
import signal, subprocess, sys
from pathlib import Path
from aegis.kit.lifeline import Lifeline
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
held = Lifeline(child.pid, signal.SIGKILL, folder=Path(sys.argv[1]))
print("up", flush=True)
child.wait()
"""


def test_a_child_and_its_folder_go_when_its_parent_is_killed_and_cannot_tell_it(tmp_path: Path) -> None:
    folder = tmp_path / "of the child's"
    folder.mkdir()
    (folder / "data").write_text("something")
    command = [sys.executable, "-c", PARENT, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"

        parent.kill()

        # The pipe ends when the last of them is gone: the child holds it, too, and who looks after it.
        assert parent.communicate(timeout=120) == ("", None)
    assert not folder.exists()


def test_what_is_let_go_of_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        lifeline = Lifeline(child.pid, signal.SIGKILL)

        lifeline.let_go()
        child.communicate(b"\n")

    assert child.returncode == 0
