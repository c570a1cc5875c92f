"""Files read side by side: pieces in the order of the files, errors told, nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from oomscope.alb.ahead import read_ahead


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OOMSCOPE_PROCESSES", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 4)


def pieces(item: int) -> Iterator[tuple[int, int]]:
    for number in range(item % 13):
        yield item, number


@pytest.mark.parametrize("items", [range(0), range(1), range(5, 6), range(300), [0] * 9])
def test_the_pieces_come_in_order(items: range | list[int]) -> None:
    assert list(read_ahead(items, pieces)) == [piece for item in items for piece in pieces(item)]


def test_an_error_comes_after_the_pieces_before_it() -> None:
    def read(item: int) -> Iterator[int]:
        yield item
        if item == 3:
            raise OSError("gone")
        yield -item

    found = read_ahead(range(9), read)
    seen = [next(found) for _ in range(7)]
    with pytest.raises(OSError, match="gone"):
        next(found)
    assert seen == [0, 0, 1, -1, 2, -2, 3]


def test_who_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    found = read_ahead(range(50), lambda item: (item for _ in range(1000)))
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_next_files_are_read_while_the_first_waits() -> None:
    """The first file cannot end before the second has begun: one at a time would wait for ever."""
    second = threading.Event()

    def read(item: int) -> Iterator[int]:
        if item:
            second.set()
        else:
            assert second.wait(30)
        yield item

    assert list(read_ahead([0, 1], read)) == [0, 1]


def test_one_process_means_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOMSCOPE_PROCESSES", "1")
    names = {threading.current_thread().name}
    assert set(read_ahead([1, 2, 3], lambda _item: [threading.current_thread().name])) == names
