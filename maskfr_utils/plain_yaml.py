"""YAML as people write it by hand: names, numbers, lists and mappings. What else YAML can do is refused.

Aliases, merges and deep nesting let a kilobyte stand for gigabytes; tags and dates make other things of a text than it says.
"""

import re
from pathlib import Path
from typing import ClassVar

import yaml

from maskfr_utils.messages import PlainError, brief

LARGEST = 100_000  # characters
DEEPEST = 20  # lists and mappings within one another
_OLD = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")  # octal, and base 60
_LEFT_OUT = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge"}


class YamlError(PlainError, ValueError):
    """A text that is no plain YAML; the message, one line, names its source and the way out."""


class _Loader(yaml.SafeLoader):
    """Leaves dates as they are written, and takes no name twice."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _LEFT_OUT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a name stands in it twice", node.start_mark)
        return mapping


def parse(text: str, source: str | Path) -> object:
    """What a YAML text holds.

    Args:
        text: at most 100,000 characters.
        source: where it comes from, for messages.

    Raises:
        YamlError: it is not plain YAML.
    """
    if len(text) > LARGEST:
        raise YamlError(f"{source} is too long: {len(text):,} characters, at most {LARGEST:,}")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise YamlError(f"{source}: *{event.anchor} is a YAML alias: write out what it stands for")
            if isinstance(event, yaml.ScalarEvent) and event.style is None and _OLD.fullmatch(event.value):
                raise YamlError(
                    f"{source}: {brief(event.value, 40)} is another number in YAML than it looks like: write it without "
                    "leading zeros and colons, or in quotes if it is a text"
                )
            if getattr(event, "tag", None):
                raise YamlError(f"{source}: {event.tag} is a YAML tag: write the plain value")
            if depth > DEEPEST:
                raise YamlError(f"{source} is nested more than {DEEPEST} deep: plain `name: value` lines are enough")
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise YamlError(f"{source} is not valid YAML: {brief(error, 200)}") from None
    except ValueError as error:  # a number of thousands of digits
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"{source} holds a value that cannot be read: {brief(error, 200)}") from None


def read(path: str | Path) -> object:
    """What a YAML file holds.

    Raises:
        YamlError: it is not plain YAML in UTF-8.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        data = file.read(4 * LARGEST + 1)
    try:
        return parse(data.decode("utf-8"), path)
    except UnicodeDecodeError as error:
        raise YamlError(f"{path} is not valid YAML: {brief(error, 200)}") from None
