"""Ruby's ``inspect`` text of request parameters as JSON, where it can be read."""

from __future__ import annotations

import re

import orjson

_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]++|\\.)*+")'
    r"|(?P<arrow>\s*=>\s*)"
    r"|(?P<label>[A-Za-z_]\w*[?!]?(?=: )):"
    r"|(?P<symbol>:(?:[A-Za-z_]\w*[?!]?|(?=\")))"
    r"|(?P<number>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
    r"|(?P<word>nil|true|false)"
    r"|(?P<open>[{\[])|(?P<close>[}\]])|(?P<comma>,\s*)|(?P<space>\s+)"
    r"|(?P<object>#<)",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u\{[0-9a-fA-F ]{1,60}\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "e": "\x1b",
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}
_WORDS = {"nil": "null", "true": "true", "false": "false"}
_CLOSERS = {"{": "}", "[": "]"}
_OBJECT_MARK = re.compile(r'"(?:[^"\\]++|\\.)*+"|#<|>')
_MAX_DEPTH = 100


def to_json(text: str | None) -> str | None:
    """The parameters as JSON text; a text cut short keeps the pairs before the cut; unreadable text stays as it is.

    Objects without a literal form (uploaded files) become a string with the name of their class.
    """
    if text is None or text[:1] != "{":
        return text
    if "\\" not in text and "nil" not in text and "#<" not in text:
        quick = text.replace('"=>', '":').replace('" => ', '":')
        if _is_json(quick):
            return quick
    slow = _translate(text)
    return slow if slow is not None and _is_json(slow) else text


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _translate(text: str) -> str | None:
    """Token by token; what is whole at the last comma is kept when the text ends inside a value."""
    out: list[str] = []
    stack: list[str] = []
    whole = ""
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            return whole or None
        kind, at = token.lastgroup, token.end()
        if kind == "comma":
            whole = "".join(out) + "".join(reversed(stack))
        if kind == "object":
            at = _object_end(text, at)
            out.append(
                _string(f'"{text[token.start() : token.start() + 80].split(" ")[0].split(":0x")[0]}>"')
            )
            continue
        piece = _piece(kind, token[0])
        if kind == "open":
            stack.append(_CLOSERS[piece])
        elif kind == "close" and (not stack or stack.pop() != piece):
            return None
        if len(stack) > _MAX_DEPTH:
            return None
        out.append(piece)
    return whole or None if stack else "".join(out)


def _piece(kind: str | None, text: str) -> str:
    if kind == "string":
        return _string(text)
    if kind == "arrow":
        return ":"
    if kind == "label":
        return f'"{text[:-1]}":'
    if kind == "symbol":
        return f'"{text[1:]}"' if len(text) > 1 else ""
    if kind == "word":
        return _WORDS[text]
    return "," if kind == "comma" else "" if kind == "space" else text


def _string(text: str) -> str:
    """A Ruby string literal as a JSON one."""
    body = _ESCAPE.sub(_unescape, text[1:-1]) if "\\" in text else text[1:-1]
    return orjson.dumps(body.encode("utf-8", "replace").decode("utf-8", "replace")).decode()


def _unescape(match: re.Match[str]) -> str:
    sign = match[1]
    if sign[0] in "ux" and len(sign) > 1:
        codes = [int(code, 16) for code in sign[1:].strip("{}").split()]
        return "".join(chr(code) if code < 0x110000 else "\ufffd" for code in codes)
    return _ESCAPES.get(sign, sign)


def _object_end(text: str, at: int) -> int:
    """One past the ``>`` that closes the ``#<`` before ``at``."""
    depth = 1
    for mark in _OBJECT_MARK.finditer(text, at):
        if mark[0] == "#<":
            depth += 1
        elif mark[0] == ">":
            depth -= 1
            if depth == 0:
                return mark.end()
    return len(text)
