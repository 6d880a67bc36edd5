"""The search as a LangChain retriever. The only importer of LangChain in `retrieval`."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import ConfigDict, Field, PrivateAttr
from typing_extensions import override

from retrieval.faces.server import KbServer
from retrieval.faces.source import Retrieval, SearchSource, describe_passage, name_passage
from retrieval.search import Mode

try:
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
except ImportError as error:
    raise ImportError("KbRetriever needs langchain-core: install kb-server[langchain]") from error


class KbRetriever(BaseRetriever):
    """Passages of one or several knowledge bases as Documents, best first.

    Asks the server that KB_URL names, unless `source` is another one or a searcher of this process. A Document's
    `page_content` is exactly characters `start` to `end` of its document's extracted text; metadata says of which.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    knowledge_bases: list[str] = Field(description="by name or id; several are asked at once")
    source: Any = Field(None, exclude=True, repr=False, description="anything with our `search`")
    top_k: int = 8
    mode: Mode = "hybrid"
    merge: bool = True
    max_tokens: int = 2048
    filter: dict[str, Any] | None = Field(None, description="path_prefix, language, metadata")
    _retrieval: Retrieval = PrivateAttr()
    _source: SearchSource = PrivateAttr()

    @override
    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._retrieval = Retrieval(
            knowledge_bases=self.knowledge_bases,
            top_k=self.top_k,
            mode=self.mode,
            merge=self.merge,
            max_tokens=self.max_tokens,
            filter=self.filter,
        )
        self._source = self.source if self.source is not None else KbServer()

    @override
    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        del run_manager
        return self._find(query)

    @override
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        del run_manager
        return await asyncio.to_thread(self._find, query)

    def _find(self, query: str) -> list[Document]:
        """Raises KbError with the search's code."""
        found = self._source.search(self._retrieval.write_request(query))
        return [
            Document(
                id=name_passage(passage),
                page_content=passage.text,
                metadata=describe_passage(passage, found.revisions),
            )
            for passage in found.passages
        ]
