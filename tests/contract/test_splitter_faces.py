"""Both faces of the splitter: the chunks of `split_document`, offsets exact, in texts no loader of ours has cleaned."""

from __future__ import annotations

import importlib
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from fakes.counters import HeavyCounter, WordCounter
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document as LangChainDocument
from llama_index.core import Document
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import BaseNode, MetadataMode, NodeRelationship, TextNode

from ingest.encoders.builtin import BuiltinEncoder
from ingest.faces.langchain import KbTextSplitter
from ingest.faces.llama_index import KbNodeParser
from ingest.loaders import LoadLimits, load_document
from ingest.splitter import SplitterSettings, split_document
from kb.media_type import MARKDOWN, PLAIN
from kb.ports import TokenCounter

ROOT = Path(__file__).resolve().parents[2]
CHINESE = "# 望远镜\n\n" + "".join(
    f"第{n}台望远镜的口径是{n % 9 + 1}.5米。它由王立国等人建造！“很大。”他说。\n"
    + ("\n## 数据\n\n" if n % 7 == 0 else "")
    for n in range(80)
)
ENGLISH = "# Telescopes\n\n" + "".join(
    f"Telescope No. {n} was built by Dr. Smith, e.g. for U.S. surveys. It is 3.{n} m wide. \n"
    + ("\nData\n----\n\n" if n % 7 == 0 else "")
    for n in range(80)
)
MIXED = "".join(f"{zh}\n{en}\n\n" for zh, en in zip(CHINESE.split("\n"), ENGLISH.split("\n"), strict=False))
TEXTS = {"zh": CHINESE, "en": ENGLISH, "mixed": MIXED, "one word twice": "好。好。 好。\n\n" * 200}
SMALL = SplitterSettings(target_tokens=24, max_tokens=48)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What a face gives, in the words of no framework."""

    text: str
    start: int
    heading: str | None
    ordinal: int


def split_as_nodes(
    text: str, settings: SplitterSettings, counter: TokenCounter | None = None, *, markdown: bool = True
) -> list[Piece]:
    parser = KbNodeParser(
        target_tokens=settings.target_tokens, max_tokens=settings.max_tokens, counter=counter, markdown=markdown
    )
    nodes = parser.get_nodes_from_documents([Document(text=text)])
    assert all(node.end_char_idx == node.start_char_idx + len(node.text) for node in check_text_nodes(nodes))
    return [
        Piece(
            text=node.text,
            start=node.start_char_idx,
            heading=node.metadata.get("heading"),
            ordinal=node.metadata["ordinal"],
        )
        for node in check_text_nodes(nodes)
    ]


def check_text_nodes(nodes: Sequence[BaseNode]) -> list[TextNode]:
    assert all(isinstance(node, TextNode) and node.start_char_idx is not None for node in nodes)
    return [node for node in nodes if isinstance(node, TextNode)]


def split_as_documents(
    text: str, settings: SplitterSettings, counter: TokenCounter | None = None, *, markdown: bool = True
) -> list[Piece]:
    splitter = KbTextSplitter(
        target_tokens=settings.target_tokens, max_tokens=settings.max_tokens, counter=counter, markdown=markdown
    )
    documents = splitter.create_documents([text])
    assert splitter.split_text(text) == [document.page_content for document in documents]
    return [
        Piece(
            text=document.page_content,
            start=document.metadata["start_index"],
            heading=document.metadata.get("heading"),
            ordinal=document.metadata["ordinal"],
        )
        for document in documents
    ]


FACES = {"LlamaIndex": split_as_nodes, "LangChain": split_as_documents}
Face = Callable[..., list[Piece]]


@pytest.fixture(params=list(FACES))
def face(request: pytest.FixtureRequest) -> Face:
    return FACES[request.param]


# -- what both do -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [SplitterSettings(), SMALL], ids=["default", "small"])
@pytest.mark.parametrize("kind", [MARKDOWN, PLAIN])
@pytest.mark.parametrize("name", list(TEXTS))
def test_the_chunks_are_those_of_an_upload(
    face: Face, tmp_path: Path, name: str, kind: str, settings: SplitterSettings
) -> None:
    path = tmp_path / "text"
    path.write_text(TEXTS[name], "utf-8")
    parsed = load_document(path, kind, LoadLimits())
    assert parsed.text == TEXTS[name]
    wanted = split_document(parsed, BuiltinEncoder(), settings)
    assert len(wanted) > 5
    found = face(TEXTS[name], settings, markdown=kind == MARKDOWN)
    assert [(piece.start, piece.start + len(piece.text), piece.heading, piece.ordinal) for piece in found] == [
        (chunk.start, chunk.end, chunk.heading, chunk.ordinal) for chunk in wanted
    ]


def assert_exact(text: str, pieces: Sequence[Piece]) -> None:
    reached = 0
    for piece in pieces:
        assert text[piece.start : piece.start + len(piece.text)] == piece.text
        assert not text[reached : piece.start].strip()
        reached = piece.start + len(piece.text)
    assert not text[reached:].strip()


@settings(deadline=None)
@given(st.lists(st.sampled_from(["好。", "A b. ", "\r\n", "\r", "\u2028", "# T", "\x00", "- i", " ", "字"])))
def test_any_text_is_covered_and_both_agree(parts: list[str]) -> None:
    text = "".join(parts)
    nodes = split_as_nodes(text, SMALL)
    assert_exact(text, nodes)
    assert split_as_documents(text, SMALL) == nodes


def test_windows_line_ends_cut_where_others_do(face: Face) -> None:
    """Tokens differ by what the counter makes of a carriage return, so that sizes are counted in words here."""
    text = MIXED.replace("\n", "\r\n")
    found = face(text, SMALL, WordCounter())
    assert_exact(text, found)
    assert [piece.text.replace("\r\n", "\n") for piece in found] == [
        piece.text for piece in face(MIXED, SMALL, WordCounter())
    ]


def test_a_text_of_white_space_gives_nothing(face: Face) -> None:
    assert face("", SMALL) == face(" \n\u3000", SMALL) == []


def test_sizes_are_counted_by_the_counter_that_was_handed_in(face: Face) -> None:
    longest = max(len(piece.text) for piece in face(CHINESE, SMALL, HeavyCounter()))
    assert longest <= SMALL.max_tokens // 4 < max(len(piece.text) for piece in face(CHINESE, SMALL))


@pytest.mark.parametrize("make", [KbNodeParser, KbTextSplitter])
def test_sizes_that_cannot_be_met_are_refused(make: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="need 16 <= target_tokens <= max_tokens, not 300 and 256"):
        make(target_tokens=300)


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [("llama_index", "llama_index.core", "llamaindex"), ("langchain", "langchain_text_splitters", "langchain")],
)
def test_without_its_package_an_import_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, module: str, missing: str, extra: str
) -> None:
    for name in list(sys.modules):
        if name == f"ingest.faces.{module}" or name == missing or name.startswith(f"{missing}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"install kb-server\[{extra}\]"):
        importlib.import_module(f"ingest.faces.{module}")


@pytest.mark.parametrize("module", ["ingest.worker", "ingest.splitter", "ingest.loaders", "ingest.faces"])
def test_nothing_else_imports_a_framework(module: str) -> None:
    script = f"import sys, {module}; print([n for n in ('llama_index', 'langchain_core', 'torch') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT, timeout=120
    )
    assert done.stdout == "[]\n"


def list_snippets() -> list[str]:
    page = (ROOT / "docs" / "splitting.md").read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_page_shows_both() -> None:
    shown = [re.findall(r"ingest\.faces\.(\w+)", snippet) for snippet in list_snippets()]
    assert shown == [["llama_index"], ["langchain"]]


@pytest.mark.parametrize("number", range(len(FACES)))
def test_what_the_page_shows_runs(number: int) -> None:
    exec(compile(list_snippets()[number], f"splitting.md, snippet {number}", "exec"), {})


# -- LlamaIndex ---------------------------------------------------------------------------------------------------


def test_nodes_know_their_document_their_neighbours_and_its_page() -> None:
    documents = [
        Document(text=CHINESE, id_="one", metadata={"page_label": "3", "file_name": "镜.pdf"}),
        Document(text=ENGLISH, id_="two"),
    ]
    nodes = KbNodeParser().get_nodes_from_documents(documents)
    assert {node.ref_doc_id for node in nodes} == {"one", "two"}
    first = [node for node in nodes if node.ref_doc_id == "one"]
    assert all(node.metadata["page_label"] == "3" and node.metadata["file_name"] == "镜.pdf" for node in first)
    assert first[-1].metadata["heading"] == "望远镜 > 数据"
    assert first[-1].metadata["ordinal"] == len(first) - 1
    for before, after in pairwise(first):
        assert before.relationships[NodeRelationship.NEXT].node_id == after.node_id
        assert after.relationships[NodeRelationship.PREVIOUS].node_id == before.node_id
    assert NodeRelationship.PREVIOUS not in first[0].relationships
    assert NodeRelationship.NEXT not in first[-1].relationships


def test_what_is_embedded_has_the_heading_and_no_number() -> None:
    node = KbNodeParser().get_nodes_from_documents([Document(text=CHINESE)])[-1]
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert "heading: 望远镜 > 数据" in node.get_content(mode)
        assert "ordinal" not in node.get_content(mode)


def test_the_page_is_told_even_without_the_rest_of_the_metadata() -> None:
    parser = KbNodeParser(include_metadata=False, include_prev_next_rel=False)
    node = parser.get_nodes_from_documents([Document(text="字。", metadata={"page_label": "3", "author": "李"})])[0]
    assert node.metadata == {"page_label": "3", "ordinal": 0}


def test_nodes_that_are_split_again_point_into_their_document() -> None:
    document = Document(text=MIXED)
    large = KbNodeParser(target_tokens=200).get_nodes_from_documents([document])
    small = check_text_nodes(KbNodeParser(target_tokens=24, max_tokens=48)(large))
    assert len(small) > len(large) > 5
    assert all(document.text[node.start_char_idx : node.end_char_idx] == node.text for node in small)
    assert {node.ref_doc_id for node in small} == {document.id_}


def test_a_pipeline_runs_it_and_its_cache_goes_by_the_settings() -> None:
    document = Document(text=CHINESE)
    pipeline = IngestionPipeline(transformations=[KbNodeParser()])
    coarse = pipeline.run(documents=[document])
    assert [node.get_content() for node in pipeline.run(documents=[document])] == [n.get_content() for n in coarse]
    pipeline.transformations = [KbNodeParser(target_tokens=24, max_tokens=48)]
    assert len(pipeline.run(documents=[document])) > 2 * len(coarse)


def test_settings_come_back_from_what_was_written() -> None:
    parser = KbNodeParser(target_tokens=24, max_tokens=48, markdown=False, include_prev_next_rel=False)
    written = json.loads(json.dumps(parser.to_dict()))
    assert written["splitter"] == SplitterSettings(target_tokens=24, max_tokens=48).fingerprint
    for read in (KbNodeParser.from_dict(written), pickle.loads(pickle.dumps(parser))):
        assert read.to_dict() == parser.to_dict()
        assert (read.target_tokens, read.max_tokens, read.encoder) == (24, 48, "builtin")
        assert not read.include_prev_next_rel


def test_a_counter_is_told_by_its_name_and_handed_in_again() -> None:
    written = KbNodeParser(counter=HeavyCounter()).to_dict()
    assert written["encoder"] == "HeavyCounter"
    assert "counter" not in written
    document = Document(text="字。" * 200)
    again = KbNodeParser.from_dict(written, counter=HeavyCounter())
    assert len(again.get_nodes_from_documents([document])) > 5
    with pytest.raises(Exception, match="embedding_unavailable"):
        KbNodeParser.from_dict(written).get_nodes_from_documents([document])
    assert KbNodeParser(counter=BuiltinEncoder()).encoder == "builtin"


# -- LangChain ----------------------------------------------------------------------------------------------------


def test_documents_keep_their_own_metadata() -> None:
    given = [
        LangChainDocument(page_content=text, metadata={"source": name, "tags": []}) for name, text in TEXTS.items()
    ]
    found = KbTextSplitter().split_documents(given)
    assert {document.metadata["source"] for document in found} == set(TEXTS)
    for document in found:
        start = document.metadata["start_index"]
        assert TEXTS[document.metadata["source"]][start:].startswith(document.page_content)
    found[0].metadata["tags"].append("x")
    assert given[0].metadata["tags"] == found[1].metadata["tags"] == []
    assert KbTextSplitter().transform_documents(given) == KbTextSplitter().split_documents(given)


def test_a_length_is_in_whole_tokens() -> None:
    splitter = KbTextSplitter()
    assert [splitter._length_function(text) for text in ("", "字", "字字", "abcd")] == [0, 1, 2, 1]
