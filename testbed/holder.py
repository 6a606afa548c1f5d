"""The first process in the node's namespaces. It only holds them; when it ends, the kernel ends all in them."""

import signal


def hold() -> None:
    """Hold the namespaces until killed."""
    # Whose parent has gone becomes our child; the kernel forgets it for us when it ends.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        signal.pause()


if __name__ == "__main__":
    hold()
