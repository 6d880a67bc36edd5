import json

from fakes.passages import make_passage

from api.routes.ask import write_answer_event
from retrieval.writing import PassagesEvent, TokenEvent


def read_event(block):
    name, data = block.decode().removesuffix("\n\n").split("\ndata: ")
    return name, json.loads(data)


def test_a_token_is_an_event_with_its_text_alone():
    assert write_answer_event(TokenEvent(text='潮\n"'), {}) == 'event: token\ndata: {"text":"潮\\n\\""}\n\n'.encode()


def test_passages_are_one_event():
    passage = make_passage("The tide turns at noon.")
    name, told = read_event(write_answer_event(PassagesEvent(passages=[passage]), {passage.kb_id: "k"}))
    assert name == "event: passages"
    assert [one["text"] for one in told["passages"]] == ["The tide turns at noon."]
