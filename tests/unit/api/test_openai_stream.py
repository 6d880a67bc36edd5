import json

from fakes.passages import make_passage

from api.openai_stream import Completion
from api.schemas.openai import ChatBody
from retrieval.writing import PassagesEvent, TokenEvent

BODY = ChatBody.model_validate({"model": "k", "messages": [{"role": "user", "content": "q"}]})


def read_texts(written):
    chunks = [json.loads(block.removeprefix("data: ")) for block in written.decode().split("\n\n") if block]
    return [chunk["choices"][0]["delta"]["content"] for chunk in chunks]


def test_a_marker_is_held_back_until_it_is_whole_and_then_numbered_as_its_citation():
    completion = Completion(BODY, {}, renumbers=True)
    assert read_texts(completion.write(PassagesEvent(passages=[make_passage("一"), make_passage("二")]))) == [""]
    assert read_texts(completion.write(TokenEvent(text="涨潮"))) == ["涨潮"]
    assert completion.write(TokenEvent(text="[")) == b""
    assert read_texts(completion.write(TokenEvent(text="2]。"))) == ["[1]。"]


def test_an_extractive_writer_has_the_numbers_already():
    completion = Completion(BODY, {}, renumbers=False)
    completion.write(PassagesEvent(passages=[make_passage("一"), make_passage("二")]))
    assert read_texts(completion.write(TokenEvent(text="[2"))) == ["[2"]


def test_the_chunks_of_one_completion_have_one_head():
    completion = Completion(BODY, {}, renumbers=False)
    written = [json.loads(completion.write(TokenEvent(text=text)).removeprefix(b"data: ")) for text in "ab"]
    assert written[0].keys() == {"id", "object", "created", "model", "choices"}
    assert [one["id"] for one in written] == [written[0]["id"]] * 2
    assert written[0]["model"] == "k"
