"""Reports travel: client addresses in them are short unless asked for."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from oomscope.pipeline import investigate_files
from oomscope.report import to_json

DEMO = Path(str(files("oomscope").joinpath("data/demo")))
CLIENT = re.compile(r'"client": "([^"]+)"')


def test_client_addresses_are_shortened_unless_asked_for() -> None:
    hidden = CLIENT.findall(to_json(investigate_files([DEMO])))
    assert hidden
    assert all(re.fullmatch(r"\d+\.\d+\.x\.x", address) for address in hidden)
    shown = CLIENT.findall(to_json(investigate_files([DEMO], show_params=True)))
    assert len(shown) == len(hidden)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+\.\d+", address) for address in shown)
