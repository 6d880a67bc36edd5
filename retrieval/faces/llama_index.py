"""The search as a LlamaIndex retriever. The only importer of LlamaIndex in `retrieval`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from retrieval.faces.server import KbServer
from retrieval.faces.source import FoundPassage, Retrieval, SearchSource, describe_passage, name_passage
from retrieval.search import Mode

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.schema import NodeRelationship, NodeWithScore, QueryBundle, RelatedNodeInfo, TextNode
except ImportError as error:
    raise ImportError("KbRetriever needs llama-index-core: install kb-server[llamaindex]") from error

TOLD = {"path", "title", "heading"}  # of a node's metadata, what an embedding or a chat model may read


class KbRetriever(BaseRetriever):
    """Passages of one or several knowledge bases as nodes with scores, best first.

    Asks the server that KB_URL names, unless `source` is another one or a searcher of this process. A node's text is
    exactly characters `start_char_idx` to `end_char_idx` of its document's extracted text; its source is that document.
    """

    def __init__(
        self,
        knowledge_bases: Sequence[str],
        *,
        source: SearchSource | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """`options` are `top_k`, `mode`, `merge`, `max_tokens` and `filter`, as a search has them, and those of
        LlamaIndex's own class. Raises ValueError for no knowledge base and for an unknown field of `filter`."""
        mode: Mode = options.pop("mode", "hybrid")
        self._retrieval = Retrieval(
            knowledge_bases=list(knowledge_bases),
            top_k=options.pop("top_k", 8),
            mode=mode,
            merge=options.pop("merge", True),
            max_tokens=options.pop("max_tokens", 2048),
            filter=options.pop("filter", None),
        )
        self._source = source if source is not None else KbServer()
        super().__init__(**options)

    @override
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Raises KbError with the search's code."""
        found = self._source.search(self._retrieval.write_request(query_bundle.query_str))
        return [_make_node(passage, found.revisions) for passage in found.passages]

    @override
    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _make_node(passage: FoundPassage, revisions: Mapping[str, int]) -> NodeWithScore:
    metadata = describe_passage(passage, revisions)
    untold = [key for key in metadata if key not in TOLD]
    node = TextNode(
        id_=name_passage(passage),
        text=passage.text,
        metadata=metadata,
        start_char_idx=passage.start,
        end_char_idx=passage.end,
        excluded_embed_metadata_keys=untold,
        excluded_llm_metadata_keys=untold,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=passage.document_id)},
    )
    return NodeWithScore(node=node, score=passage.score)
