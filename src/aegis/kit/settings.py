"""Say what is wrong with a process's settings, in the words of whoever set them."""

from pydantic import ValidationError

from aegis.kit.mistakes import mistake_of


def explain_settings(error: ValidationError, *, prefix: str) -> str:
    """Return one line per wrong setting: the variable, its value unless it is secret, and what to do."""
    lines = ["error: the settings are not usable"]
    for problem in error.errors():
        mistake = mistake_of(problem)
        if not mistake.location:
            lines.append(f"  {mistake.message}")
            continue
        name = prefix + str(mistake.location[0]).upper()
        if problem["type"] == "missing":
            lines.append(f"  {name} is not set")
        else:
            lines.append(f"  {name} {mistake.message} (got {_shown(name, mistake.value)})")
    lines.append("hint: the fields of the service's settings.py say what each one means")
    return "\n".join(lines)


def _shown(name: str, value: object) -> str:
    secret = any(word in name for word in ("KEY", "PASSWORD", "URL", "TOKEN", "SECRET"))
    return "a value not shown here" if secret else repr(value)
