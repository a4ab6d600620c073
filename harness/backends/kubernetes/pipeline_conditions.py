"""The expressions of a compiled pipeline: conditions (a small part of CEL), selectors, text with parameters."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import ConfigError

_TOKEN = re.compile(
    r"\s*(?:(?P<input>inputs\.parameter_values\['(?P<name>[^']+)'\])|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(?P<word>[A-Za-z_]+)|(?P<sign>&&|\|\||==|!=|<=|>=|[<>!()]))"
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CASTS: dict[str, Callable[[Any], Any]] = {"int": int, "double": float, "string": str, "bool": bool}
_CONSTANTS = {"true": True, "false": False, "null": None}
_SELECTOR = re.compile(r"""parseJson\(string_value\)\[(?:"(?P<key>[^"]+)"|'(?P<other>[^']+)')\]""")
_PARAMETER = re.compile(r"\{\{\$\.inputs\.parameters\[(?:'([^']+)'|\"([^\"]+)\")\]\}\}")


def holds(condition: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a task's trigger condition holds for its inputs; ConfigError for what KFP's compiler does not write."""
    return bool(_Reader(condition, parameters).read())


def selected(value: Any, selector: str) -> Any:
    """What `parseJson(string_value)["key"]` takes out of a value."""
    found = _SELECTOR.fullmatch(selector)
    if found is None:
        raise ConfigError(
            f"compiled pipeline: selector {selector!r} is not supported", hint='parseJson(string_value)["key"] is.'
        )
    key = found["key"] or found["other"]
    content = json.loads(value) if isinstance(value, str) else value
    try:
        return content[key]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"compiled pipeline: {selector}: there is no {key!r} in {as_text(value)[:200]}") from error


def filled(text: str, parameters: Mapping[str, Any]) -> Any:
    """A text with its {{$.inputs.parameters['x']}} replaced; one that is nothing else keeps the parameter's type."""
    if whole := _PARAMETER.fullmatch(text):
        return _value(whole, parameters)
    return _PARAMETER.sub(lambda found: as_text(_value(found, parameters)), text)


def as_text(value: Any) -> str:
    """A parameter as KFP writes it into text: strings as they are, else JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _value(found: re.Match[str], parameters: Mapping[str, Any]) -> Any:
    name = found[1] or found[2]
    if name not in parameters:
        raise ConfigError(f"compiled pipeline: {found[0]}: there is no parameter {name!r}")
    return parameters[name]


class _Reader:
    """Reads and evaluates one condition, left to right."""

    def __init__(self, condition: str, parameters: Mapping[str, Any]) -> None:
        self._condition = condition
        self._parameters = parameters
        self._tokens = self._split()
        self._at = 0

    def read(self) -> Any:
        value = self._either()
        if self._at < len(self._tokens):
            raise self._wrong()
        return value

    def _split(self) -> list[re.Match[str]]:
        tokens, position = [], 0
        text = self._condition.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise self._wrong()
            tokens.append(found)
            position = found.end()
        return tokens

    def _either(self) -> Any:
        value = self._both()
        while self._sign("||"):
            other = self._both()
            value = value or other
        return value

    def _both(self) -> Any:
        value = self._compared()
        while self._sign("&&"):
            other = self._compared()
            value = value and other
        return value

    def _compared(self) -> Any:
        value = self._operand()
        for sign, compare in _COMPARE.items():
            if self._sign(sign):
                return compare(value, self._operand())
        return value

    def _operand(self) -> Any:
        if self._sign("!"):
            return not self._operand()
        if self._sign("("):
            return self._closed()
        token = self._next()
        if token["input"]:
            if token["name"] not in self._parameters:
                raise self._wrong(f"; there is no parameter {token['name']!r}")
            return self._parameters[token["name"]]
        if token["text"]:
            return re.sub(r"\\(.)", r"\1", token["text"][1:-1])
        if token["number"]:
            return json.loads(token["number"])
        if token["word"] in _CONSTANTS:
            return _CONSTANTS[token["word"]]
        if token["word"] in _CASTS and self._sign("("):
            return _CASTS[token["word"]](self._closed())
        raise self._wrong()

    def _closed(self) -> Any:
        value = self._either()
        if not self._sign(")"):
            raise self._wrong()
        return value

    def _next(self) -> re.Match[str]:
        if self._at == len(self._tokens):
            raise self._wrong()
        self._at += 1
        return self._tokens[self._at - 1]

    def _sign(self, sign: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at]["sign"] == sign
        self._at += found
        return found

    def _wrong(self, why: str = "") -> ConfigError:
        return ConfigError(
            f"compiled pipeline: condition {self._condition!r} cannot be evaluated{why}",
            hint="comparisons of parameters with constants, joined by &&, || and !, can.",
        )
