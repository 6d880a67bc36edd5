"""The splitter as a LlamaIndex node parser. The only importer of LlamaIndex's node parsers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, computed_field, model_validator
from typing_extensions import override

from ingest.faces.cutter import Cutter, describe_chunk, find_counter, name_counter
from ingest.splitter import SplitterSettings

try:
    from llama_index.core.node_parser.interface import NodeParser
    from llama_index.core.node_parser.node_utils import build_nodes_from_splits
    from llama_index.core.schema import BaseNode, Document, MetadataMode, TextNode
except ImportError as error:
    raise ImportError("KbNodeParser needs llama-index-core: install kb-server[llamaindex]") from error

# What LlamaIndex's readers call the page that a Document is.
PAGE_KEYS = ("page_label", "page")
WRITTEN_ID_FUNC = {"id_func_name": "default_id_func", "title": "id_func"}


class KbNodeParser(NodeParser):
    """Documents to nodes with exact offsets: `document.text[node.start_char_idx:node.end_char_idx] == node.text`.

    A node's metadata has `ordinal`, `heading` where there is one, and what its document says of its page. A node that
    is split again keeps offsets into its document when it has some itself.
    """

    encoder: str = Field("builtin", description="whose tokens are counted: builtin, a model's name or its folder")
    target_tokens: int = Field(SplitterSettings().target_tokens, description="tokens a node aims at")
    max_tokens: int = Field(SplitterSettings().max_tokens, description="tokens a node never exceeds")
    markdown: bool = Field(True, description="whether # and underlined lines are headings")
    counter: Any = Field(
        None,
        exclude=True,
        repr=False,
        description="a TokenCounter that counts instead; not serialised, `from_dict(data, counter=…)` takes it again",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_values(cls, values: object) -> object:
        """A counter of the caller's own names itself, so that no node is told to be counted by another; and what
        `to_dict` writes of LlamaIndex's default `id_func`, which only names it, is read again."""
        if not isinstance(values, dict):
            return values
        read = {name: value for name, value in values.items() if (name, value) != ("id_func", WRITTEN_ID_FUNC)}
        if read.get("counter") is not None:
            read.setdefault("encoder", name_counter(read["counter"]))
        return read

    @model_validator(mode="after")
    def _check_sizes(self) -> KbNodeParser:
        self._make_settings()
        return self

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator above a property
    @property
    def splitter(self) -> str:
        """Changes whenever nodes may: a pipeline's cache goes by what `to_dict` says."""
        return self._make_settings().fingerprint

    @classmethod
    def class_name(cls) -> str:
        return "KbNodeParser"

    def _make_settings(self) -> SplitterSettings:
        return SplitterSettings(target_tokens=self.target_tokens, max_tokens=self.max_tokens)

    @override
    def _parse_nodes(self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any) -> list[BaseNode]:
        del show_progress, kwargs  # it is over before a bar is drawn
        counter = find_counter(self.encoder) if self.counter is None else self.counter
        cutter = Cutter(counter=counter, settings=self._make_settings(), markdown=self.markdown)
        return [node for given in nodes for node in self._split_node(given, cutter)]

    def _split_node(self, given: BaseNode, cutter: Cutter) -> list[TextNode]:
        text = given.get_content(metadata_mode=MetadataMode.NONE)
        chunks = cutter.cut(text)
        built = build_nodes_from_splits([text[c.start : c.end] for c in chunks], given, id_func=self.id_func)
        before = find_start(given)
        page = {key: given.metadata[key] for key in PAGE_KEYS if key in given.metadata}
        for node, chunk in zip(built, chunks, strict=True):
            node.start_char_idx, node.end_char_idx = before + chunk.start, before + chunk.end
            node.metadata = page | describe_chunk(chunk)
            # a number that says nothing of the text must not be embedded, nor be read by a chat model
            node.excluded_embed_metadata_keys = [*node.excluded_embed_metadata_keys, "ordinal"]
            node.excluded_llm_metadata_keys = [*node.excluded_llm_metadata_keys, "ordinal"]
        return built

    @override
    def _postprocess_parsed_nodes(self, nodes: list[BaseNode], parent_doc_map: dict[str, Document]) -> list[BaseNode]:
        """The base class looks a node's text up, and finds an earlier place where a short one stands twice."""
        spans = [(node, node.start_char_idx, node.end_char_idx) for node in nodes if isinstance(node, TextNode)]
        done = super()._postprocess_parsed_nodes(nodes, parent_doc_map)
        for node, start, end in spans:
            node.start_char_idx, node.end_char_idx = start, end
        return done


def find_start(given: BaseNode) -> int:
    """Where the text of `given` begins in its document."""
    return (given.start_char_idx or 0) if isinstance(given, TextNode) else 0
