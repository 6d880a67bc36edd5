from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli.events import read_events
from api.cli.failures import CallFailed, ExitCode

STREAM = (
    ': heartbeat\n\nevent: token\ndata: {"text": "青崖\u2028\u0085台"}\n\n'
    'event:done\r\ndata: {"answer":\r\ndata: "x"}\r\n\r\ndata: {"a": 1}\n\nevent: lost\ndata: {"b": 2}\n'
).encode()
EVENTS = [("token", {"text": "青崖\u2028\u0085台"}), ("done", {"answer": "x"}), ("message", {"a": 1})]


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[a:b] for a, b in pairwise(places)]
    assert list(read_events(chunks)) == EVENTS


@pytest.mark.parametrize("data", [b"data: nonsense\n\n", b"data: [1]\n\n"])
def test_data_that_is_no_object_is_a_bad_answer(data: bytes) -> None:
    with pytest.raises(CallFailed) as caught:
        list(read_events([data]))
    assert (caught.value.code, caught.value.exit_code) == ("bad_answer", ExitCode.SERVER_ERROR)
