"""What must not leave the machine is taken out where evidence comes in; equality of values stays visible.

Three layers: ``scrub`` removes secrets from any text, always. ``Redactor`` replaces the values of query strings and
parameters by typed tokens (``<str:3f2a91>``: same value, same token), unless told to show them. ``printable`` and
``shorten_ip`` are for whoever writes text for people. All of it is idempotent, and linear in the length of the text.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MAX_VALUE = 16 * 1024  # characters of one text that are looked at; a longer text is cut there
MAX_WORDS = (
    20  # a parameter with more different words than this is free text (names, searches), not an enumeration
)
MAX_KEY = 64
_MAX_PASSES = 8
SECRET = "<secret>"  # noqa: S105 - the mark that stands for one

# ------------------------------------------------------------------------------------------------- secrets, always

_SECRET_NAMES = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|key|signature|sig|auth|authorization|"  # noqa: S105
    r"session|session[_-]?id|sid|cookie|set-cookie|credentials?|otp|pin|csrf|xsrf|jwt|bearer|private[_-]?key|"
    r"code[_-]?verifier|awsaccesskeyid"
)
_SECRET_KEY = re.compile(
    rf"(?:.{{0,64}}[_.\-\[])?(?:{_SECRET_NAMES})(?:[_-]?confirmation|[_-]?digest)?\]?", re.IGNORECASE
)
_NOT_SECRET = re.compile(
    r"(?:sort|order|group|cache|primary|foreign|partition|lock|i18n)[_-]?key", re.IGNORECASE
)

_MARK = r"<[a-z]{3,6}(?::[0-9a-f]{4,6})?>|\[FILTERED\]|\[REDACTED\]|\*{3,}"
# One pattern, so that a text is walked once. Each branch starts with something rare and has a bounded prefix.
_SECRETS = re.compile(
    r"(?P<jwt>\beyJ[\w-]{8,8192}\.[\w-]{4,8192}(?:\.[\w-]{0,8192})?)"
    r"|(?P<aws>\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA)[A-Z0-9]{16}\b)"
    r"|(?P<vendor>\b(?:gh[pousr]_\w{20,255}|github_pat_\w{20,255}|xox[abprs]-[\w-]{10,255}|[sr]k_(?:live|test)_\w{10,255}"
    r"|AIza[\w-]{30,64}|glpat-[\w-]{16,64}))"
    r"|(?P<pem>-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[\s\S]{0,8192}?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z))"
    r"|(?P<userinfo>(?<=://)[^\s/:@\"'<>]{0,256}:[^\s/@\"'<>]{1,256}(?=@))"
    r"|(?P<cookie>\b(?:Set-)?Cookie\\?[\"']?(?:: |=>|=|:)\\?[\"']?)(?P<jar>(?!<)[^\r\n\"'\\]{1,8192})"
    r"|(?P<scheme>\b(?:Bearer|Basic|Digest|AWS4-HMAC-SHA256)(?: |%20|\+))(?P<cred>(?!<)[\w.~+/=%:,-]{6,8192})"
    rf"|(?P<name>(?:\b|(?<=_))(?:{_SECRET_NAMES})\b\\?[\"']?\]?(?:\s?=>\s?|\s?[=:]\s?)\\?[\"']?)"
    rf"(?P<value>(?!{_MARK}|(?:true|false|null|nil|Bearer|Basic|Digest)\b|AWS4-)[^\s\"'&,;<>{{}}\[\]()\\]{{1,8192}})"
    r"|(?P<email>(?<![\w.+%-])[\w.+-]{1,64}(?:@|%40)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8})",
    re.IGNORECASE,
)
_HINT = re.compile(
    rf"@|%40|eyJ|://|-----BEGIN|A[KSRIGN][IOPD]A|gh[pousr]_|github_pat|xox|k_live|k_test|AIza|glpat|Bearer|Basic|Digest"
    rf"|AWS4|{_SECRET_NAMES}",
    re.IGNORECASE,
)


def scrub(text: str) -> str:
    """The text without tokens, keys, passwords, cookies and e-mail addresses. At most MAX_VALUE characters remain."""
    text = _clean(text)
    if not _HINT.search(text):
        return text
    return _settled(lambda part: _SECRETS.sub(_replacement, part), text)


def _settled(change: Callable[[str], str], text: str) -> str:
    """``change`` until nothing changes: what a replacement leaves behind may itself look like something to replace."""
    for _ in range(_MAX_PASSES):
        text, before = _clean(change(text)), text
        if text == before:
            break
    return text


def _replacement(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind == "email":
        return "<email>"
    if kind == "cred":
        return match["scheme"] + SECRET
    if kind == "jar":
        return match["cookie"] + SECRET
    if kind == "value":
        return match["name"] + SECRET
    return SECRET


def _clean(text: str) -> str:
    """Bounded, and valid Unicode: half a surrogate pair cannot be written to a file."""
    if len(text) > MAX_VALUE:
        text = text[:MAX_VALUE]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a parameter of that name holds a secret, whatever its value looks like."""
    name = name[-MAX_KEY:]
    return bool(_SECRET_KEY.fullmatch(name)) and not _NOT_SECRET.search(name)


# ------------------------------------------------------------------------------------------------------ typed tokens

_TOKEN = re.compile(_MARK)
_WORD = re.compile(r"[a-z][a-z_-]{0,11}")
_WORD_VALUE = r'(?:^|[=&;\[,{"\s])[a-z][a-z_-]{0,11}(?:$|[&;"])'  # for Polars; finds more rather than less
_KEPT = frozenset(("", "true", "false", "null", "nil", "True", "False"))
_PERSONAL = re.compile(
    r"(?:^|[_\[.-])(?:name|user|username|login|nick|first|last|given|family|surname|mail|email|phone|tel|mobile|city|town"
    r"|street|address|zip|postcode|birth\w*|dob|gender|q|query|search|term|keywords?|message|comment|title|body|text"
    r"|content|description|subject|note|company|account|customer|iban|card|ssn)(?:$|[_\].-])",
    re.IGNORECASE,
)
_TYPED = re.compile(
    r"(?P<int>[+-]?\d{1,400})"
    r"|(?P<float>[+-]?\d{1,400}\.\d{0,400}(?:[eE][+-]?\d{1,4})?)"
    r"|(?P<uuid>[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12})"
    r"|(?P<date>\d{4}-\d\d-\d\d(?:[T +]\d\d:?\d\d(?::?\d\d(?:\.\d{1,9})?)?(?:Z|[+ -]\d\d:?\d\d)?)?"
    r"|\d\d?[./]\d\d?[./]\d{4})"
)
_UPLOAD = re.compile(
    r"#<(?:[A-Za-z]\w{0,60}::){0,6}[A-Za-z]\w{0,60}>"
)  # what a log has of a file that was sent
_HASH_BYTES = {"int": 2, "float": 2, "uuid": 3, "date": 2, "str": 3}
_EMAIL = re.compile(r"[^\s@]{1,256}(?:@|%40)[^\s@]{1,256}\.[^\s@]{1,64}")


def token(value: str) -> str:
    """What stands for a value: its type and a short hash, so that equal values stay equal. The hash is no secret."""
    if _TOKEN.fullmatch(value):
        return value
    if ("@" in value or "%40" in value) and _EMAIL.fullmatch(value):
        return "<email>"
    if _UPLOAD.fullmatch(value):
        return "<file>"
    match = _TYPED.fullmatch(value)
    kind = str(match.lastgroup) if match else "str"
    return f"<{kind}:{_hash(value, _HASH_BYTES[kind])}>"


def _hash(value: str, size: int) -> str:
    return blake2b(value.encode("utf-8", "replace"), digest_size=size).hexdigest()


@lru_cache(maxsize=4096)
def _is_personal(key: str) -> bool:
    return _PERSONAL.search(key) is not None


def _is_small_int(value: str) -> bool:
    digits = value.lstrip("-")
    return len(value) <= 5 and len(digits) <= 4 and digits.isascii() and digits.isdecimal()


class Redactor:
    """Replaces values of query strings and parameters; remembers which parameters are enumerations.

    ``show_params`` keeps values but never secrets. ``learn`` is to be called with every text first: a parameter that
    takes more than MAX_WORDS different words is free text, and none of its words is kept.
    """

    def __init__(self, show_params: bool = False) -> None:
        self.show_params = show_params
        self._words: dict[str, set[str]] = {}

    def value(self, key: str, value: str) -> str:
        """One value of a parameter."""
        if self.show_params:
            return SECRET if value not in _KEPT and is_secret_name(key) else scrub(value)
        if value in _KEPT or _TOKEN.fullmatch(value):
            return value
        if is_secret_name(key):
            return SECRET
        if _is_small_int(value) or self._is_enumeration(key, value):
            return value
        return token(value)

    def _is_enumeration(self, key: str, value: str) -> bool:
        few = len(self._words.get(key, ())) <= MAX_WORDS
        return few and not _is_personal(key) and _WORD.fullmatch(value) is not None

    def learn(self, key: str, value: str) -> None:
        """Take note of one value of a parameter."""
        if _WORD.fullmatch(value):
            words = self._words.setdefault(key, set())
            if len(words) <= MAX_WORDS:
                words.add(value)

    # ---------------------------------------------------------------------------------------- texts with values in them

    def query(self, text: str) -> str:
        """A query string (``a=1&b=2``), names kept, values replaced."""
        return _map_query(_clean(text), self.value)

    def params(self, text: str) -> str:
        """Parameters as JSON or as Ruby prints a hash, cut or whole; what is JSON stays JSON."""
        return _settled(lambda part: _map_params(part, self.value), _clean(text))

    def line(self, text: str) -> str:
        """A raw log line: query strings and what follows ``Parameters:`` or ``params``; addresses shortened."""
        return _settled(self._line, _clean(text))

    def _line(self, text: str) -> str:
        text = scrub(text)
        if self.show_params:
            return text
        text = _QUERY_IN_LINE.sub(lambda match: "?" + self.query(match[1]), text)
        text = _ADDRESS_IN_LINE.sub(_short_address, text)
        start = _PARAMS_IN_LINE.search(text)
        return text if start is None else text[: start.end()] + self.params(text[start.end() :])

    def learn_query(self, text: str) -> None:
        """``learn`` for a query string."""
        _map_query(_clean(text), self._note)

    def learn_params(self, text: str) -> None:
        """``learn`` for parameters."""
        _map_params(_clean(text), self._note)

    def _note(self, key: str, value: str) -> str:
        self.learn(key, value)
        return value


Rewrite = Callable[[str, str], str]

_QUERY_IN_LINE = re.compile(r"\?([^\s\"'?#\\]{1,16384})")
_PARAMS_IN_LINE = re.compile(
    r"Parameters: (?=\{)|\\?[\"']?(?:params|payload|arguments|args)\\?[\"']?\s?(?:[:=]|=>)\s?(?=[\[{])"
)
# A time of day looks like the start of an IPv6 address: what is none stays.
_ADDRESS_IN_LINE = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}(?![\w.])|(?:[0-9a-fA-F]{0,4}:){2,7}(?:[0-9a-fA-F.]{0,15}))(?!\w)"
)
_NAME = re.compile(r"[\w.\[\]%:~-]{1,64}")
_PAIR_END = re.compile(r"[&;]")


def _map_query(text: str, rewrite: Rewrite) -> str:
    parts = []
    for pair in _PAIR_END.split(text)[:1000]:
        name, equals, value = pair.partition("=")
        if not equals:  # "?word" or "?<something opaque>"
            parts.append(rewrite("", name))
            continue
        shown, base = _names_of(name)
        parts.append(f"{shown}={rewrite(base, value)}")
    return "&".join(parts)


@lru_cache(maxsize=4096)
def _names_of(name: str) -> tuple[str, str]:
    """The name as it may be shown, and what it is a name of: ``filter[state]`` is ``state``, ``ids[]`` is ``ids``."""
    name = name if _NAME.fullmatch(name) else token(name)
    return name, _base_name(name)


def _base_name(name: str) -> str:
    name = re.sub(r"%5B", "[", re.sub(r"%5D", "]", name, flags=re.IGNORECASE), flags=re.IGNORECASE)
    parts = [part for part in re.split(r"[\[\]]+", name) if part]
    return parts[-1] if parts else name


# Possessive quantifiers: no way back, so no text can make this slow.
_SCAN = re.compile(
    r'(?P<string>"(?:[^"\\]++|\\.?)*+"?)(?P<arrow>\s{0,4}(?:=>|:))?'
    r"|(?P<symbol>:?[A-Za-z_]\w{0,63}[?!]?)(?P<colon>\s{0,4}=>|:(?=\s))"
    r"|(?P<number>(?<![\w.<:#])[+-]?\d++(?:\.\d++)?(?:[eE][+-]?\d++)?(?![\w.>]))"
    r"|(?P<open>[\[{])|(?P<close>[\]}])",
    re.DOTALL,
)


def _map_params(text: str, rewrite: Rewrite) -> str:
    return _ParamsPass(rewrite).run(text)


class _ParamsPass:
    """One walk over parameters. Everything below a secret name is secret, however deep it is nested."""

    def __init__(self, rewrite: Rewrite) -> None:
        self._rewrite = rewrite
        self._key = ""
        self._depth, self._secret_above = 0, -1

    def run(self, text: str) -> str:
        return _SCAN.sub(self._piece, text)

    def _piece(self, match: re.Match[str]) -> str:
        piece = match[0]
        if match["open"]:
            if self._secret_above < 0 and is_secret_name(self._key):
                self._secret_above = self._depth
            self._depth += 1
        elif match["close"]:
            self._depth -= 1
            if self._depth <= self._secret_above:
                self._secret_above, self._key = -1, ""
        elif match["symbol"]:
            self._key = match["symbol"].lstrip(":")
        elif match["arrow"]:
            return self._name(match["string"]) + match["arrow"]
        elif match["string"]:
            return f'"{self._value(match["string"][1:].removesuffix(chr(34)))}"'
        else:
            new = self._value(piece)
            return piece if new == piece else f'"{new}"'
        return piece

    def _name(self, string: str) -> str:
        name = string[1:-1]
        self._key = name
        return string if _NAME.fullmatch(name) else f'"{token(name)}"'

    def _value(self, value: str) -> str:
        return self._rewrite("password" if self._secret_above >= 0 else self._key, value)


# ------------------------------------------------------------------------------------------------------------ tables


def map_column(table: pl.DataFrame, column: str, change: Callable[[str], str]) -> pl.DataFrame:
    """The table with ``change`` applied to a text column, once for each different text."""
    import polars as pl

    texts = table.get_column(column).drop_nulls().unique().to_list()
    changed: Mapping[str, str] = {text: new for text in texts if (new := change(text)) != text}
    if not changed:
        return table
    return table.with_columns(pl.col(column).replace(changed))


def learn_column(table: pl.DataFrame, column: str, learn: Callable[[str], None]) -> None:
    """Let a redactor see every different text of a column that may hold a word for a value."""
    texts = table.get_column(column).drop_nulls()
    for text in texts.filter(texts.str.contains(_WORD_VALUE)).unique().to_list():
        learn(text)


# ------------------------------------------------------------------------------------------------- for those who write


def shorten_ip(text: str | None) -> str:
    """A client address as shown to people: ``10.1.x.x``, ``2001:db8:x``; ``-`` when unknown."""
    if not text or text == "-":
        return "-"
    try:
        address = ipaddress.ip_address(text[:64].strip("[]"))
    except ValueError:
        return text if re.fullmatch(r"\d{1,3}\.\d{1,3}\.x\.x|[0-9a-f]{1,4}:[0-9a-f]{1,4}:x", text) else "?"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv4Address):
        first, second, *_ = str(address).split(".")
        return f"{first}.{second}.x.x"
    groups = address.exploded.split(":")
    return ":".join(group.lstrip("0") or "0" for group in groups[:2]) + ":x"


def _short_address(match: re.Match[str]) -> str:
    short = shorten_ip(match[0])
    return match[0] if short == "?" else short


_UNSAFE_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def printable(text: str, limit: int = 200) -> str:
    """One line that is safe to show: no control, direction or format characters, shortened in the middle.

    White space of every kind becomes a blank, any other unsafe character U+FFFD.
    """
    if len(text) > 4 * limit + 64:  # bounded work; the middle falls away below in any case
        text = text[: 2 * limit] + text[-2 * limit :]
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_safe_character, text))
    return _shortened(text, limit)


def _safe_character(character: str) -> str:
    if character.isspace():
        return " "
    return "\ufffd" if unicodedata.category(character) in _UNSAFE_CATEGORIES else character


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    if limit < 8:
        return (text[: limit - 1] + "…")[:limit]
    tail = (limit - 1) // 3
    return f"{text[: limit - 1 - tail]}…{text[-tail:]}"
