"""The policies a new installation starts with."""

from importlib.resources import files


def default_policies() -> dict[str, str]:
    """Return the shipped policies: file name to YAML text."""
    return {entry.name: entry.read_text() for entry in files(__package__).iterdir() if entry.name.endswith(".yaml")}
