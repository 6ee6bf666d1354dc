"""The parameters of a notebook: names and values that cannot be meant stop it, before anything is computed.

papermill only warns of a name that a notebook does not have, and goes on with the default.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from maskfr_utils.messages import PlainError, shown
from maskfr_utils.names import of_notebook, unknown

Rule = Collection | Callable[[object], str | None]


class ParameterError(PlainError, ValueError):
    """A parameter that a notebook cannot be run with."""


def check(variables: Mapping[str, object], **rules: Rule) -> None:
    """Refuses parameters that a notebook does not have, and values that it cannot work with.

    Args:
        variables: the notebook's `globals()`, before it defines anything else.
        rules: of each parameter the values it may have, or a function that says what it has to be instead.

    Raises:
        ParameterError: one line that names the parameter, its value and the way out.
    """
    for name, value in of_notebook(variables).items():
        if name not in rules:
            raise ParameterError(unknown("parameter", name, rules))
        rule = rules[name]
        if callable(rule):
            if problem := rule(value):
                raise ParameterError(f"{name} is {shown(value)}: {problem}")
        elif not any(value == known and type(value) is type(known) for known in rule):
            raise ParameterError(unknown(name, value, map(str, rule)))


def folder(value: object) -> str | None:
    """A folder that exists, or None for the default."""
    if value is None or (isinstance(value, str) and value and Path(value).is_dir()):
        return None
    return "it must be a folder that exists; None means the book's"


def file(value: object) -> str | None:
    """A file that exists, or None for the default."""
    if value is None or (isinstance(value, str) and Path(value).is_file()):
        return None
    return "it must be a file that exists, or None"


def text(value: object) -> str | None:
    """Some text."""
    return None if isinstance(value, str) and value else "it must be a name or a path"


def text_or_nothing(value: object) -> str | None:
    """Some text, or an empty one."""
    return None if isinstance(value, str) else "it must be a name or a path, or empty"


def style(value: object) -> str | None:
    """What masks are drawn in; the masks themselves say which styles there are."""
    return (
        None if isinstance(value, str | dict) and value else "it must be a style, a style file, or a mapping of shares"
    )


def number(low: float, high: float = float("inf"), *, whole: bool = False) -> Callable[[object], str | None]:
    """A number within limits.

    Args:
        low, high: the least and the most.
        whole: whether it must have no fraction.
    """
    kind = "a whole number" if whole else "a number"
    limits = f"of {low:g} or more" if high == float("inf") else f"from {low:g} to {high:g}"

    def rule(value: object) -> str | None:
        right = type(value) is int or (type(value) is float and not whole)
        return None if right and low <= value <= high else f"it must be {kind} {limits}"

    return rule


def numbers(value: object) -> str | None:
    """A list of whole numbers from 1 on."""
    if isinstance(value, list) and value and all(type(one) is int and one > 0 for one in value):
        return None
    return "it must be a list of whole numbers, given as -y 'name: [1, 2]', since -p passes on text"
