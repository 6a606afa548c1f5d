"""Say what is wrong with a process's settings, in the words of whoever set them."""

from pydantic import ValidationError


def explain_settings(error: ValidationError, *, prefix: str) -> str:
    """Return one line per wrong setting: the variable, its value unless it is secret, and what to do."""
    lines = ["error: the settings are not usable"]
    for problem in error.errors():
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            lines.append(f"  {message}")
            continue
        name = prefix + str(problem["loc"][0]).upper()
        if problem["type"] == "missing":
            lines.append(f"  {name} is not set")
        else:
            lines.append(f"  {name}: {message} (got {_shown(name, problem['input'])})")
    lines.append("hint: docs/reference/settings.md says what each one means")
    return "\n".join(lines)


def _shown(name: str, value: object) -> str:
    secret = any(word in name for word in ("KEY", "PASSWORD", "URL", "TOKEN", "SECRET"))
    return "a value not shown here" if secret else repr(value)
