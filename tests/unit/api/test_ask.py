import asyncio
from dataclasses import dataclass, field

from api.routes.ask import stream_answer
from retrieval.answer import AskRequest, PassagesEvent, TokenEvent

QUESTION = AskRequest(question="q", kb_id="k")


@dataclass
class EndlessAnswerer:
    """Writes until it is closed."""

    closed: bool = False
    made: list = field(default_factory=list)

    async def stream(self, request):
        try:
            yield PassagesEvent(passages=())
            while True:
                self.made.append(request.question)
                yield TokenEvent(text="…")
        finally:
            self.closed = True


def test_closing_the_stream_of_events_ends_the_answerer():
    async def run():
        answerer = EndlessAnswerer()
        events = stream_answer(answerer, QUESTION, {})
        names = [(await anext(events)).name for _ in range(3)]
        await events.aclose()
        return answerer, names

    answerer, names = asyncio.run(run())
    assert names == ["passages", "token", "token"]
    assert answerer.closed
    assert len(answerer.made) == 2
