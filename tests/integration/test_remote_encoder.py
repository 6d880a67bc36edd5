"""The encoder behind a server, against a real one on loopback that answers well, badly or not at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from fakes.clock import Time
from fakes.embedding_server import (
    MODEL,
    Answer,
    EmbeddingServer,
    send_error,
    send_json,
    send_vectors,
    serve_embeddings,
)

from ingest.encoders.builtin import BuiltinEncoder
from ingest.encoders.embedding_client import FOR_QUESTIONS, FOR_TEXTS, EmbeddingClient
from ingest.encoders.embedding_client import EmbeddingServer as Address
from ingest.encoders.model_folder import CHINESE_INSTRUCTION, ENGLISH_INSTRUCTION
from ingest.encoders.remote import BATCH_CHARACTERS, BATCH_TEXTS, IN_FLIGHT, PROBE, RemoteEncoder, open_remote
from ingest.encoders.shelf import EncoderShelf
from kb.errors import DocumentFailed, KbError, Unavailable
from kb.tokens import estimate_tokens

KEY = "sk-Canary.of_the_embedding_server"
TEXTS = ["开放夜的成人票每张一百六十元。", "A boat for a day costs twelve pounds.", "岚川县暗夜保护办法"]
BUILTIN = BuiltinEncoder()


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with serve_embeddings() as running:
        yield running


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def client(server: EmbeddingServer, time: Time) -> Iterator[EmbeddingClient]:
    client = EmbeddingClient(
        Address(base_url=server.url, model=MODEL, api_key=KEY), sleep=time.sleep, clock=lambda: time.now
    )
    yield client
    client.close()


@pytest.fixture
def encoder(client: EmbeddingClient, server: EmbeddingServer) -> RemoteEncoder:
    encoder = open_remote(client)
    server.texts.clear()
    server.sizes.clear()
    return encoder


def refuse(act: Callable[[], object]) -> Unavailable:
    with pytest.raises(Unavailable) as refused:
        act()
    assert refused.value.code == "embedding_unavailable"
    assert KEY not in str(refused.value) + repr(refused.value) + repr(refused.value.__cause__)
    return refused.value


# -- vectors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_base64", [False, True])
def test_vectors_come_in_the_order_of_the_texts(server: EmbeddingServer, encoder: RemoteEncoder, in_base64) -> None:
    server.base64 = in_base64
    many = [f"{TEXTS[n % 3]} {n}" for n in range(5 * BATCH_TEXTS + 3)]
    np.testing.assert_allclose(encoder.embed_texts(many), BUILTIN.embed_texts(many), atol=1e-6)
    assert max(server.sizes) == BATCH_TEXTS
    assert len(server.sizes) == 6


def test_requests_are_bounded_by_characters(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    long = BATCH_CHARACTERS // 4
    encoder.embed_texts([f"{'字' * (long - 1)}{n}" for n in range(10)])
    assert sorted(server.sizes) == [2, 4, 4]


def test_no_more_than_a_few_requests_are_in_flight(encoder: RemoteEncoder, client: EmbeddingClient) -> None:
    counts: list[int] = []
    flying: list[int] = []
    embed = client.embed

    class Counting(EmbeddingClient):
        def embed(self, texts, patience):
            flying.append(1)
            counts.append(len(flying))
            try:
                return embed(texts, patience)
            finally:
                flying.pop()

    watched = RemoteEncoder(client=Counting(client.server), dimension=encoder.dimension)
    watched.embed_texts([f"{n}" for n in range(20 * BATCH_TEXTS)])
    assert 1 <= max(counts) <= IN_FLIGHT


def test_texts_without_a_character_are_not_sent(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    vectors = encoder.embed_texts(["", TEXTS[0], " \n"])
    assert server.texts == [TEXTS[0]]
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert encoder.embed_texts(["", "\t"]).shape == (2, 512)


def test_lone_surrogates_are_sent_as_question_marks(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    encoder.embed_texts(["a\ud800b"])
    assert server.texts == ["a?b"]


def test_threads_share_it(encoder: RemoteEncoder) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: encoder.embed_texts([f"{TEXTS[n % 3]} {n}"]), range(40)))
    wanted = BUILTIN.embed_texts([f"{TEXTS[n % 3]} {n}" for n in range(40)])
    np.testing.assert_allclose(np.concatenate(found), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "instruction"),
    [
        ("BAAI/bge-base-zh-v1.5", CHINESE_INSTRUCTION),
        ("quentinz/bge-large-zh-v1.5", CHINESE_INSTRUCTION),
        ("bge-small-en-v1.5", ENGLISH_INSTRUCTION),
        ("BAAI/bge-m3", ""),
        ("text-embedding-3-small", ""),
    ],
)
def test_the_instruction_goes_by_the_model_s_name(client: EmbeddingClient, model: str, instruction: str) -> None:
    sent: list[str] = []

    class Recording(EmbeddingClient):
        def embed(self, texts, patience):
            sent.extend(texts)
            return np.ones((len(texts), 4))

    encoder = open_remote(Recording(replace(client.server, model=model)))
    encoder.embed_texts(["passage"])
    encoder.embed_question("问题")
    assert sent == [PROBE, "passage", instruction + "问题"]


def test_the_fingerprint_is_of_model_and_dimension_and_not_of_the_place(client: EmbeddingClient) -> None:
    def name(model: str, dimension: int, url: str = "http://a/v1") -> str:
        server = Address(base_url=url, model=model)
        return RemoteEncoder(client=EmbeddingClient(server), dimension=dimension).fingerprint

    assert name("m", 512) == name("m", 512, "https://b.example/v1")
    assert len({name("m", 512), name("m", 384), name("n", 512), name("bge-base-zh", 512)}) == 4


def test_tokens_are_the_estimate(encoder: RemoteEncoder) -> None:
    text = "今天天气很好。The weather is good."
    counts = encoder.count_spans(text, [0, 3, 7, len(text)])
    assert list(counts) == pytest.approx([estimate_tokens(part) for part in (text[:3], text[3:7], text[7:])])


# -- what is too long ---------------------------------------------------------------------------------------------


def test_a_text_that_is_too_long_loses_its_end_and_the_others_nothing(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    server.window = 100
    long = "".join(chr(0x4E00 + n) for n in range(250))
    texts = [*TEXTS, long, "the last one"]
    cut = [*TEXTS, long[: 250 * 3 // 4 * 3 // 4 * 3 // 4 * 3 // 4], "the last one"]
    assert len(cut[3]) <= 100
    np.testing.assert_allclose(encoder.embed_texts(texts), BUILTIN.embed_texts(cut), atol=1e-6)
    assert encoder.embed_question(long).shape == (1, 512)


def test_llama_server_s_500_for_a_long_text_counts_as_such(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    message = "input is too large to process. increase the physical batch size"
    server.faults = [send_error(500, "server_error", message)]
    vectors = encoder.embed_texts(["abcd" * 10])
    np.testing.assert_allclose(vectors, BUILTIN.embed_texts([("abcd" * 10)[:30]]), atol=1e-6)


def test_a_batch_that_is_too_large_is_halved(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    server.faults = [send_error(422, "Validation"), send_error(413, "Validation")]
    four = [*TEXTS, "the fourth"]
    np.testing.assert_allclose(encoder.embed_texts(four), BUILTIN.embed_texts(four), atol=1e-6)
    assert server.sizes == [4, 2, 1, 1, 2]


def test_a_text_that_is_refused_at_any_length_costs_its_document(
    server: EmbeddingServer, encoder: RemoteEncoder
) -> None:
    server.refuses = "毒"
    with pytest.raises(DocumentFailed) as failed:
        encoder.embed_texts([*TEXTS, "毒" * 80])
    assert failed.value.code == "embedding_refused"
    assert "毒" not in str(failed.value)
    assert server.texts[-1] == PROBE
    assert "400 (BadRequestError) to a question" in refuse(lambda: encoder.embed_question("毒")).detail


def test_a_server_that_refuses_everything_is_unavailable(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    server.always = send_error(400, "BadRequestError")
    assert "an embedding model?" in refuse(lambda: encoder.embed_texts(["abc"])).detail


# -- bad answers --------------------------------------------------------------------------------------------------


def say_row(embedding: object, **more: object) -> Answer:
    return send_json({"data": [{"index": 0, "embedding": embedding, **more}]})


ONES = [1.0] * 512
NAN = json.dumps({"data": [{"index": 0, "embedding": [float("nan")] * 512}]}).encode()
BAD = {
    "two for one": (send_vectors(np.ones((2, 512))), "2 vectors for 1 texts"),
    "none": (send_json({"data": []}), "sent no vectors"),
    "no data": (send_json({"object": "list"}), "sent no vectors"),
    "another dimension": (say_row([1.0, 2.0]), "dimension 2 where it sent 512 before"),
    "NaN": (Answer(200, NAN), "NaN or infinite"),
    "infinite": (Answer(200, NAN.replace(b"NaN", b"-Infinity")), "NaN or infinite"),
    "too large": (say_row([1e200] * 512), "NaN or infinite"),
    "base64 NaN": (send_vectors(np.full((1, 512), np.nan), in_base64=True), "NaN or infinite"),
    "null": (say_row([None] * 512), "not a list of numbers"),
    "strings": (say_row(["1"] * 512), "not a list of numbers"),
    "true": (say_row([True] * 512), "not a list of numbers"),
    "nested": (say_row([ONES]), "not a list of numbers"),
    "no list": (say_row({"a": 1}), "not a list of numbers"),
    "zeros": (say_row([0.0] * 512), "vector of zeros"),
    "not base64": (say_row("四"), "neither a list of numbers nor base64"),
    "half a number": (say_row("AAAAAAA="), "neither a list of numbers nor base64"),
    "index": (send_json({"data": [{"index": 1, "embedding": ONES}]}), "numbered its vectors wrongly"),
    "index true": (send_json({"data": [{"index": False, "embedding": ONES}]}), "numbered its vectors wrongly"),
    "rows": (send_json({"data": [ONES]}), "numbered its vectors wrongly"),
    "error in a 200": (send_json({"error": {"type": "api_error", "message": KEY}}), "reports an error (api_error)"),
    "list": (send_json([1]), "not an object"),
    "text": (Answer(200, b"ok"), "in place of JSON"),
    "html": (Answer(200, b"<html>proxy</html>"), "a web page"),
    "html 500": (Answer(500, b"<html>proxy</html>"), "answered 500"),
    "401": (send_error(401, "invalid_api_key", f"wrong key {KEY}"), "set KB_EMBEDDING_API_KEY"),
    "403": (send_error(403, KEY), "set KB_EMBEDDING_API_KEY"),
    "404": (send_error(404, "NotFoundError"), "no such model or no such path"),
    "redirect": (Answer(307, b"", {"Location": f"http://elsewhere/?{KEY}"}), "set KB_EMBEDDING to the address"),
    "204": (Answer(204, b""), "answered 204"),
    "gzip that is none": (Answer(200, b"xxxx", {"Content-Encoding": "gzip"}), "broke off (DecodingError)"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_answer_is_named_and_gives_no_vector(
    server: EmbeddingServer, encoder: RemoteEncoder, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)  # httpcore, to which no level of ours ever listens, tells headers at DEBUG
    caplog.set_level(logging.DEBUG, "ingest")
    caplog.set_level(logging.DEBUG, "kb")
    server.always, reason = BAD[fault]
    for act in (lambda: encoder.embed_texts([TEXTS[0]]), lambda: encoder.embed_question(TEXTS[0])):
        detail = refuse(act).detail
        assert reason in detail
        assert server.url in detail
        assert repr(MODEL) in detail
    assert KEY not in caplog.text
    assert TEXTS[0] not in caplog.text


def test_a_wrong_path_names_the_url_that_was_asked(server: EmbeddingServer) -> None:
    client = EmbeddingClient(Address(base_url=server.url.removesuffix("/v1"), model=MODEL))
    detail = refuse(lambda: open_remote(client)).detail
    assert server.url.replace("/v1", "/embeddings") in detail
    client.close()


# -- a server that is away ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(server: EmbeddingServer, encoder: RemoteEncoder, time: Time, status: int) -> None:
    server.faults = [send_error(status, "busy"), Answer(0), send_error(status, "busy", **{"Retry-After": "7"})]
    np.testing.assert_allclose(encoder.embed_texts(TEXTS), BUILTIN.embed_texts(TEXTS), atol=1e-6)
    assert time.slept == [0.5, 1.0, 7.0]


def test_it_is_not_waited_for_longer_than_is_good(server: EmbeddingServer, encoder: RemoteEncoder, time: Time) -> None:
    server.always = send_error(429, "insufficient_quota", **{"Retry-After": "86400"})
    assert "429 (insufficient_quota)" in refuse(lambda: encoder.embed_texts(TEXTS)).detail
    assert time.slept == [FOR_TEXTS.pause_s] * 3
    time.slept.clear()
    time.now += FOR_QUESTIONS.away_s
    refuse(lambda: encoder.embed_question(TEXTS[0]))
    assert time.slept == [FOR_QUESTIONS.pause_s]


@pytest.mark.parametrize(
    ("fault", "reason"), [(Answer(0), "broke off"), (Answer(200, b'{"data": []}', cut=True), "broke off")]
)
def test_a_connection_that_breaks_is_made_again(
    server: EmbeddingServer, encoder: RemoteEncoder, fault: Answer, reason: str
) -> None:
    server.faults = [fault]
    encoder.embed_texts(TEXTS)
    server.always = fault
    server.texts.clear()
    assert reason in refuse(lambda: encoder.embed_texts(TEXTS)).detail
    assert len(server.texts) == len(TEXTS) * FOR_TEXTS.attempts


def test_a_server_that_never_answers_costs_one_attempt(server: EmbeddingServer, time: Time) -> None:
    hasty = replace(FOR_TEXTS, read_s=0.05)
    address = Address(base_url=server.url, model=MODEL, for_texts=hasty, for_questions=replace(hasty, away_s=5))
    client = EmbeddingClient(address, sleep=time.sleep, clock=lambda: time.now)
    encoder = open_remote(client)
    server.always = Answer(stall=True)
    assert "sent nothing for 0.05 s" in refuse(lambda: encoder.embed_texts(TEXTS)).detail
    assert (time.slept, len(server.sizes)) == ([], 2)
    client.close()


def test_an_answer_that_does_not_end_is_given_up(server: EmbeddingServer) -> None:
    readings = iter(range(0, 10_000, 1_000))
    client = EmbeddingClient(Address(base_url=server.url, model=MODEL), clock=lambda: next(readings))
    assert "end of its answer in time" in refuse(lambda: open_remote(client)).detail
    client.close()


def test_nothing_listens(server: EmbeddingServer, encoder: RemoteEncoder) -> None:
    server.stop()
    assert "cannot be reached" in refuse(lambda: encoder.embed_texts(TEXTS)).detail


def test_questions_do_not_wait_again_for_a_server_that_is_away(
    server: EmbeddingServer, encoder: RemoteEncoder, time: Time
) -> None:
    server.always = send_error(503, "busy")
    refuse(lambda: encoder.embed_question(TEXTS[0]))
    asked = len(server.sizes)
    assert "503 (busy)" in refuse(lambda: encoder.embed_question(TEXTS[0])).detail
    assert len(server.sizes) == asked
    server.always = None
    refuse(lambda: encoder.embed_question(TEXTS[0]))  # still taken to be away
    time.now += FOR_QUESTIONS.away_s
    encoder.embed_question(TEXTS[0])
    server.always = send_error(503, "busy")
    refuse(lambda: encoder.embed_question(TEXTS[0]))
    server.always = None
    encoder.embed_texts(TEXTS)  # a worker asks all the same, and what it finds counts for questions
    encoder.embed_question(TEXTS[0])


# -- the shelf, and the key ---------------------------------------------------------------------------------------


def test_the_shelf_has_it_under_the_model_s_name_once_the_server_answers(
    server: EmbeddingServer, client: EmbeddingClient, time: Time
) -> None:
    shelf = EncoderShelf(remote=client)
    server.always = send_error(503, "busy")
    refuse(lambda: shelf.get_encoder(MODEL))
    server.always = None
    time.now += FOR_QUESTIONS.away_s
    found = shelf.get_encoder(MODEL)
    assert found is shelf.get_encoder(MODEL)
    assert (found.name, found.dimension, found.lexical_leads) == (MODEL, 512, False)
    assert shelf.get_encoder("builtin").name == "builtin"
    with pytest.raises(KbError, match="not on this machine"):
        shelf.get_encoder("another/model")
    shelf.close()


def test_the_key_is_sent_and_never_shown(server: EmbeddingServer, client: EmbeddingClient) -> None:
    server.key = KEY
    encoder = open_remote(client)
    assert server.keys == [f"Bearer {KEY}"]
    assert KEY not in repr(client.server) + repr(client) + repr(encoder) + repr(vars(client)) + encoder.fingerprint
    server.key = "another"
    refuse(lambda: encoder.embed_texts(TEXTS))
