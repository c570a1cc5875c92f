"""The calculating process: answers, failures, and its own death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oomscope.errors import UnreadableError
from oomscope.serve.calculator import Calculator, Died, Failed, allowed, here
from tests.serve_help import Outside, children, demo_alert, gone, running, until


def double(number: int, tell: Callable[[str], None]) -> tuple[int, int]:
    tell(f"doubling {number}")
    time.sleep(0.05)
    return 2 * number, os.getpid()


def unreadable(tell: Callable[[str], None]) -> None:
    raise UnreadableError("it cannot be read", tried="reading", fix="a chmod", slug="bundle-damaged")


def broken(tell: Callable[[str], None]) -> None:
    raise ZeroDivisionError("a bug")


def full(tell: Callable[[str], None]) -> None:
    raise OSError(28, "No space left on device")


def dies(tell: Callable[[str], None]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(tell: Callable[[str], None]) -> None:
    time.sleep(60)


def fills(tell: Callable[[str], None]) -> None:
    held = bytearray(os.urandom(1 << 20)) * 400
    time.sleep(60)
    del held


def silent(_text: str) -> None:
    """Nobody listens."""


@pytest.fixture
def calculator() -> Iterator[Calculator]:
    calculator = Calculator()
    yield calculator
    calculator.stop()


def test_works_elsewhere_many_at_once_and_tells_of_it(calculator: Calculator) -> None:
    told: list[str] = []
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: calculator(double, (n,), told.append), range(30)))
    assert [answer for answer, _ in answers] == [2 * n for n in range(30)]
    assert {pid for _, pid in answers} != {os.getpid()}
    assert len({pid for _, pid in answers}) == 1
    assert sorted(told) == sorted(f"doubling {n}" for n in range(30))
    assert here(double, (4,), told.append) == (8, os.getpid())


def test_what_a_user_can_mend_comes_back_whole_and_a_bug_by_name(calculator: Calculator) -> None:
    with pytest.raises(UnreadableError) as caught:
        calculator(unreadable, (), silent)
    error = caught.value
    assert (error.what, error.tried, error.fix) == ("it cannot be read", "reading", "a chmod")
    with pytest.raises(OSError, match="No space") as disk:
        calculator(full, (), silent)
    assert disk.value.errno == 28
    with pytest.raises(Failed, match="ZeroDivisionError: a bug"):
        calculator(broken, (), silent)
    assert calculator(double, (1,), silent)[0] == 2


def test_its_death_is_told_to_all_who_wait_and_the_next_gets_another(calculator: Calculator) -> None:
    first = calculator(double, (1,), silent)[1]
    with ThreadPoolExecutor(2) as pool:
        bystander = pool.submit(calculator, sleeps, (), silent)
        time.sleep(0.2)
        culprit = pool.submit(calculator, dies, (), silent)
        for future in (bystander, culprit):
            with pytest.raises(Died, match="-9"):
                future.result(10)
    assert calculator(double, (2,), silent)[0] == 4
    assert calculator(double, (2,), silent)[1] != first


def test_it_is_ended_before_it_fills_the_container() -> None:
    calculator = Calculator(300 << 20)
    try:
        assert calculator(double, (1,), silent)[0] == 2
        with pytest.raises(Died, match="more than 300 MiB"):
            calculator(fills, (), silent)
        assert calculator(double, (2,), silent)[0] == 4
    finally:
        calculator.stop()


def test_what_it_may_hold_follows_the_container(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    assert allowed((str(limit),)) is None
    for text, most in (("max\n", None), ("9223372036854771712\n", None), ("1073741824\n", 751619276)):
        limit.write_text(text)
        assert allowed((str(limit),)) == most


def test_it_ends_when_its_parent_is_killed_even_while_it_works() -> None:
    code = (
        "import threading, time\n"
        "from oomscope.serve.calculator import Calculator\n"
        "from tests import test_serve_calculator as t\n"
        "c = Calculator()\n"
        "print(c(t.double, (1,), t.silent)[1], flush=True)\n"
        "c(t.sleeps, (), t.silent)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.kill()
    until(lambda: gone(child), 10)


def test_a_service_survives_the_death_of_its_calculating_process(tmp_path: Path) -> None:
    """The worker stays, the work is begun again, and all that was accepted ends in a report."""
    state = Outside()
    with running(tmp_path, state) as service:
        worker = until(lambda: children(service.process.pid), 10)[0]
        doomed = until(lambda: children(worker), 20)[0]
        service.post(demo_alert())
        os.kill(doomed, signal.SIGKILL)
        until(lambda: 'oomscope_kills{state="final"} 1.0' in service.get("/metrics").text, 60)
        assert children(service.process.pid) == [worker]
        assert [pid for pid in children(worker) if pid != doomed]
        os.kill(service.process.pid, signal.SIGKILL)
        after: list[Any] = children(worker)
        until(lambda: all(map(gone, after)), 15)
