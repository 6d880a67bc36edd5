import asyncio

import pytest

from api.listening import AwaitedAnswer
from kb.errors import Unavailable


def answer(work, leaves):
    """Every message that was sent; `leaves` is set when the client goes."""

    async def run():
        sent, gone = [], asyncio.Event()

        async def receive():
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        if leaves:
            gone.set()
        async with asyncio.timeout(60):
            await AwaitedAnswer(work, lambda found: {"found": found})({"type": "http"}, receive, send)
        return sent

    return asyncio.run(run())


def test_what_the_work_gives_is_shown():
    async def work():
        return 5

    sent = answer(work(), leaves=False)
    assert (sent[0]["status"], sent[1]["body"]) == (200, b'{"found":5}')


def test_a_failure_is_raised_before_anything_is_sent():
    async def work():
        raise Unavailable("llm_timeout", "x")

    with pytest.raises(Unavailable):
        answer(work(), leaves=False)


def test_the_work_ends_when_the_client_goes():
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    assert answer(work(), leaves=True) == []
    assert ended == [True]
