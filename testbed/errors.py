"""What can go wrong, told so that somebody can do something about it."""


class TestbedError(Exception):
    """The message says what happened and what to do."""
