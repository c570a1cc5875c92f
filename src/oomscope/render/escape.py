"""Foreign text made harmless for its medium. Everything a log or a cluster said passes through here."""

from __future__ import annotations

import re

from rich.cells import cell_len, get_character_cell_size

ELLIPSIS = "…"
MAX_TEXT = 4096
_ASCII = {
    "…": "~",
    "·": "-",
    "│": "|",
    "─": "-",
    "×": "x",
    "→": ">",
    "–": "-",
    "—": "-",
    "≥": ">",
    "≤": "<",
    "’": "'",
}
_ASCII |= dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True))


def clean(text: object, limit: int = MAX_TEXT) -> str:
    """One line without anything that steers a terminal or turns text around.

    Control characters, escape sequences, line separators, bidirectional and zero-width marks, lone surrogates become
    visible escapes (``\\x1b``, ``\\u202e``); text over ``limit`` characters is cut and says by how much.
    """
    raw = str(text)
    cut = f"{ELLIPSIS}({len(raw) - limit} more)" if len(raw) > limit else ""
    raw = raw[:limit]
    if not raw.isprintable():
        raw = "".join(char if char.isprintable() else _visible(char) for char in raw)
    return raw + cut


def _visible(char: str) -> str:
    if char == "\xa0":
        return " "
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def clip(text: str, width: int, *, middle: bool = False) -> str:
    """``text`` in at most ``width`` terminal cells; an ellipsis at the end or in the middle shows the cut."""
    if len(text) <= width and cell_len(text) <= width:
        return text
    if width <= 1:
        return ELLIPSIS[:width]
    if not middle:
        return _take(text, width - 1) + ELLIPSIS
    head = _take(text, (width - 1) // 2)
    tail = _take(text[::-1], width - 1 - cell_len(head))[::-1]
    return head + ELLIPSIS + tail


def _take(text: str, width: int) -> str:
    """The start of ``text`` that fits; combining marks count as characters, so that they cannot pile up."""
    used = 0
    for place, char in enumerate(text[: width + 1]):
        used += get_character_cell_size(char)
        if used > width or place >= width:
            return text[:place]
    return text


def pad(text: str, width: int, *, right: bool = False) -> str:
    """``text`` clipped and filled with spaces to exactly ``width`` cells."""
    text = clip(text, width)
    fill = " " * (width - cell_len(text))
    return fill + text if right else text + fill


def to_ascii(text: str) -> str:
    """The same layout in ASCII: our own signs get a stand-in of the same width, any other character a ``?``."""
    if text.isascii():
        return text
    return "".join(
        char if char.isascii() else _ASCII.get(char, "?" * get_character_cell_size(char)) for char in text
    )


_MARKDOWN = re.compile(r"[\\`*_\[\]|~]|^[#+>=-]|^\d+(?=[.)])")
_AUTOLINK = re.compile(r"(?i)\b(https?|ftp|www|mailto)(?=[:.])|@(?=\w)|#(?=\d)")


def markdown(text: object, limit: int = MAX_TEXT) -> str:
    """``text`` as inert inline Markdown: no markup, HTML, link, autolink, reference or @mention can form."""
    out = _MARKDOWN.sub(r"\\\g<0>", clean(text, limit)).replace("&", "&amp;").replace("<", "&lt;")
    return _AUTOLINK.sub(lambda found: found[0][0] + "\u200b" + found[0][1:], out)


def markdown_code(text: object, limit: int = MAX_TEXT) -> str:
    """``text`` as a Markdown code span that nothing in it can close, also inside a table row."""
    out = clean(text, limit).replace("|", "\u2502").replace("@", "@\u200b")
    fence = "`"
    while fence in out:
        fence += "`"
    space = " " if out.startswith("`") or out.endswith("`") else ""
    return f"{fence}{space}{out}{space}{fence}" if out.strip() else "` `"


_TICKS = re.compile(r"`([^`]{1,200})`")


def markdown_ticked(text: object, limit: int = MAX_TEXT) -> str:
    """``text`` as inert Markdown; what stands between backticks is shown as code, as in the other forms."""
    parts = _TICKS.split(clean(text, limit))
    return "".join(markdown_code(part) if place % 2 else markdown(part) for place, part in enumerate(parts))


_SLACK = re.compile(r"[*~`@]|\b_|_\b|:(?=[a-z0-9_+-]*[a-z][a-z0-9_+-]*:)")


def slack(text: object, limit: int = 2900) -> str:
    """``text`` as inert Slack mrkdwn: no link, mention, channel call, formatting or emoji can form."""
    out = clean(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SLACK.sub("\u200b\\g<0>\u200b", out)


def slack_code(text: object, limit: int = 2900) -> str:
    """``text`` as a Slack code span; a backtick in it becomes a prime, and nobody is called."""
    out = clean(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    out = re.sub(r"@(?=here|channel|everyone)", "@\u200b", out)
    return f"`{out.replace('`', '′') or ' '}`"


def script_json(text: str) -> str:
    """JSON text that may stand inside a ``<script>``: no ``<``, ``>``, ``&`` or line separator."""
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
