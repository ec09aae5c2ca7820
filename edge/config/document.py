"""YAML text to what it gives for which key, each with its line; and what is wrong with the text itself."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Optional, Union

import yaml

from edge.config.settings import keys
from edge.privacy import without_passwords

KEYS = keys()
"""The type of each key, by its path."""
SECTIONS = {key[:end] for key in KEYS for end, letter in enumerate(key) if letter == "."}
_TEXTS = (str, Optional[str])
_DEEPEST = 20
_LONGEST_SHOWN = 60
_LONGEST_LOOKED_AT = 1000  # looking for passwords takes time that grows with the square of the length


class Given(NamedTuple):
    """What somebody said that a key shall be."""

    key: str
    """Its path, one of `KEYS`."""
    value: Any
    """Not checked yet."""
    text: str
    """As it was written."""
    where: str
    """Who said so: "config.yaml:3", "EDGE_FPS", "--camera"."""


class Problem(NamedTuple):
    """One sentence: where, what was given, what was expected."""

    sentence: str


Found = Union[Given, Problem]


class _Loader(yaml.SafeLoader):
    """YAML without what unfolds without end (aliases), makes other types (tags) or nests without end."""

    _depth = 0

    def compose_node(self, parent: Optional[yaml.Node], index: Any) -> Optional[yaml.Node]:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise _refused("anchors, aliases and tags (&name, *name, !name) are not understood here", event)
        if self._depth == _DEEPEST:
            raise _refused("this stands within too many brackets or indents", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _refused(why: str, event: Any) -> yaml.YAMLError:
    return yaml.composer.ComposerError(None, None, why, event.start_mark)


def found_in(text: str, where: str) -> Iterator[Found]:
    """What a document gives, in its order.

    Args:
        text: YAML.
        where: the document's name, to which lines are added.
    """
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        hint = "; indent with spaces, not with tabs" if "'\\t'" in str(error.problem) else ""
        yield Problem(f"{at}: this is no valid YAML: {error.problem}{hint}.")
    except yaml.reader.ReaderError as error:
        at, letter = f"{where}:{text.count(chr(10), 0, error.position) + 1}", f"U+{error.character:04X}"
        yield Problem(f"{at}: this is no valid YAML: the character {letter} may not stand in it.")
    else:
        if node is not None:
            yield from _walk(node, "", text, lambda inner: f"{where}:{inner.start_mark.line + 1}")


def found_for(key: str, text: str, where: str) -> Iterator[Found]:
    """What a text from the environment or the command line gives for a key, or for the keys of a section.

    For a key that is text it is taken as it stands, unless it is quoted or null; for others it is YAML.
    """
    try:
        node = _Loader(text).get_single_node()
    except yaml.YAMLError:
        node = None
    if key in SECTIONS and node is not None:
        yield from _walk(node, key, text, lambda _: where)
    elif key not in KEYS:
        yield Problem(f"{where}: {_unknown(key)}")
    elif node is None or (KEYS[key] in _TEXTS and not (_is_null(node) or _is_quoted(node))):
        yield Given(key, text, shown(text), where)
    else:
        yield Given(key, _value(node, key, text), shown(text), where)


def _walk(node: yaml.Node, within: str, text: str, at: Callable[[yaml.Node], str]) -> Iterator[Found]:
    """What a mapping gives, and the mappings in it."""
    if _is_null(node):  # a section of which all keys are commented out
        return
    if not isinstance(node, yaml.MappingNode):
        what = f"{within} is {_written(node, text)}" if within else f"the file holds {_written(node, text)}"
        example = next(key for key in KEYS if key.startswith(within))
        yield Problem(f"{at(node)}: {what}: expected keys with values, such as {example}.")
        return
    lines: dict[str, int] = {}
    for name, value in node.value:
        key = f"{within}.{_name(name, text)}" if within else _name(name, text)
        if key in lines:
            yield Problem(f"{at(name)}: {shown(key)} stands here and in line {lines[key]}: leave one of them out.")
        elif key in KEYS:
            yield Given(key, _value(value, key, text), _written(value, text), at(value))
        elif key in SECTIONS:
            yield from _walk(value, key, text, at)
        else:
            yield Problem(f"{at(name)}: {_unknown(key)}")
        lines.setdefault(key, name.start_mark.line + 1)


def _name(node: yaml.Node, text: str) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else _written(node, text)


def _value(node: yaml.Node, key: str, text: str) -> Any:
    """Python's value of a node. What looks like a number or date and is none stays the text that it is."""
    if KEYS[key] in _TEXTS and isinstance(node, yaml.ScalarNode) and not _is_null(node):
        return node.value  # `source: 0` is /dev/video0, as on the command line
    try:
        return yaml.constructor.SafeConstructor().construct_document(node)
    except (yaml.YAMLError, ValueError, OverflowError):
        return _written(node, text)


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _is_quoted(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and bool(node.style)


def _written(node: yaml.Node, text: str) -> str:
    return shown(text[node.start_mark.index : node.end_mark.index]) or "empty"


def shown(text: str) -> str:
    """A text as it can stand in a sentence: without passwords, in one line, not long."""
    cut = text[:_LONGEST_LOOKED_AT]
    line = " ".join(without_passwords(cut).split())
    line = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
    return line if len(line) <= _LONGEST_SHOWN and cut == text else f"{line[:_LONGEST_SHOWN]}…"


def nearest(name: str, names: dict[str, str], likeness: float = 0.75) -> Optional[str]:
    """The one of `names` (what is told, by what is compared) that a person most likely meant."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=likeness)
    return names[near[0]] if near else None


def _unknown(key: str) -> str:
    """What to say of a key that does not exist: its siblings come first, then such names in sections that are alike."""
    within, _, name = key.rpartition(".")
    every = sorted((SECTIONS | set(KEYS)) - {within})
    siblings = {each.rpartition(".")[2]: each for each in every if each.rpartition(".")[0] == within}
    if siblings:
        elsewhere = {each.rpartition(".")[2]: each for each in every if _alike(within, each.rpartition(".")[0])}
        near = nearest(name, siblings, 0.6) or nearest(name, elsewhere)
    else:
        near = nearest(key, {each: each for each in every})
    expected = siblings or [each for each in every if "." not in each]
    advice = f"did you mean {near}?" if near else f"expected one of {', '.join(expected)}."
    return f"unknown key {shown(key)}: {advice}"


def _alike(within: str, other: str) -> bool:
    """Whether who means the one section may have written the other: one is in the other, or they look alike."""
    nested = f"{within}.".startswith(f"{other}.") or f"{other}.".startswith(f"{within}.")
    return not within or not other or nested or bool(difflib.get_close_matches(within, [other], cutoff=0.75))
