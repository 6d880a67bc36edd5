import asyncio
import json
import logging

import pytest

from api.sse import Event, EventStream, write_event
from kb.errors import NotFound, Unavailable

TEXT = "a secret of a document"  # by a name, so that it is not in the line that the log quotes


class Connection:
    """A client: what it was sent, and when it goes."""

    def __init__(self):
        self.sent = []
        self.leaves = asyncio.Event()

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def text(self):
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def events(self):
        blocks = [block for block in self.text.split("\n\n") if block and not block.startswith(":")]
        pairs = [block.split("\ndata: ") for block in blocks]
        return [(name.removeprefix("event: "), json.loads(data)) for name, data in pairs]


async def send(source, connection=None, heartbeat_s=5.0):
    connection = connection or Connection()
    await EventStream(source, write_event, heartbeat_s=heartbeat_s)(
        {"type": "http"}, connection.receive, connection.send
    )
    return connection


def test_events_come_in_order_and_the_stream_ends():
    async def source():
        yield Event(name="token", data={"text": "第一行\nline"})
        yield Event(name="done", data=[1])

    connection = asyncio.run(send(source()))
    assert connection.events == [("token", {"text": "第一行\nline"}), ("done", [1])]
    assert connection.sent[0]["status"] == 200
    assert dict(connection.sent[0]["headers"])[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert b"content-length" not in dict(connection.sent[0]["headers"])
    assert connection.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_a_failure_before_the_first_event_is_the_requests_own_answer():
    async def source():
        raise NotFound("job_not_found", "there is no such job")
        yield

    with pytest.raises(NotFound):
        asyncio.run(send(source()))


def test_a_failure_under_way_is_an_event():
    async def source():
        yield Event(name="token", data={})
        raise Unavailable("llm_timeout", "silent for 20 s")

    connection = asyncio.run(send(source()))
    assert connection.events[-1] == ("error", {"code": "llm_timeout", "detail": "silent for 20 s"})


def test_a_fault_of_ours_is_logged_and_not_told(caplog):
    async def source():
        yield Event(name="token", data={})
        raise ValueError(TEXT)

    with caplog.at_level(logging.ERROR):
        connection = asyncio.run(send(source()))
    assert connection.events[-1][1]["code"] == "internal_error"
    assert "secret" not in connection.text + caplog.text
    assert "ValueError" in caplog.text


def test_a_comment_is_sent_while_waiting_and_the_source_is_not_disturbed():
    async def run():
        goes_on = asyncio.Event()

        class Patient(Connection):
            async def send(self, message):
                await super().send(message)
                if self.text.count(": waiting\n\n") == 3:
                    goes_on.set()

        async def source():
            await goes_on.wait()
            yield Event(name="done", data={})

        return await send(source(), Patient(), heartbeat_s=0.01)

    connection = asyncio.run(run())
    assert connection.events == [("done", {})]


@pytest.mark.parametrize("events_before", [0, 2])
def test_when_the_client_goes_the_source_is_closed(events_before):
    async def run():
        connection, closed = Connection(), asyncio.Event()

        async def source():
            try:
                for number in range(events_before):
                    yield Event(name="token", data=number)
                connection.leaves.set()
                await asyncio.Event().wait()  # a chat model that never answers
            finally:
                closed.set()

        async with asyncio.timeout(60):
            await send(source(), connection)
        return closed.is_set()

    assert asyncio.run(run())


def test_a_slow_client_makes_the_source_wait():
    async def run():
        made = []

        async def source():
            for number in range(1_000):
                made.append(number)
                yield Event(name="token", data=number)

        class Slow(Connection):
            async def send(self, message):
                await super().send(message)
                if len(self.sent) == 3:
                    await asyncio.sleep(0.05)
                    seen.append(len(made))

        seen = []
        await send(source(), Slow())
        return seen[0], len(made)

    waiting, made = asyncio.run(run())
    assert waiting < 100
    assert made == 1_000


def test_a_client_that_takes_nothing_loses_the_source(caplog):
    closed = []

    class Deaf(Connection):
        async def send(self, message):
            if self.text:
                await asyncio.Event().wait()
            await super().send(message)

    async def source():
        try:
            while True:
                yield Event(name="token", data=1)
        finally:
            closed.append(True)

    async def main():
        connection = Deaf()
        stream = EventStream(source(), write_event, stalled_s=0.05)
        await stream({"type": "http"}, connection.receive, connection.send)
        assert len(connection.events) == 1

    with caplog.at_level(logging.WARNING, "api.sse"):
        asyncio.run(asyncio.wait_for(main(), 60))
    assert closed == [True]
    assert "stream.stalled" in caplog.text


def test_a_client_that_takes_not_even_a_comment_loses_a_source_that_waits():
    closed = []

    class Deaf(Connection):
        async def send(self, message):
            await super().send(message)
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

    async def source():
        try:
            await asyncio.Event().wait()
            yield Event(name="token", data=1)
        finally:
            closed.append(True)

    async def main():
        connection = Deaf()
        stream = EventStream(source(), write_event, heartbeat_s=0.01, stalled_s=0.05)
        await stream({"type": "http"}, connection.receive, connection.send)
        assert connection.text == ": waiting\n\n"

    asyncio.run(asyncio.wait_for(main(), 60))
    assert closed == [True]
