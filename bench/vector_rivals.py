"""What others offer for finding the nearest of given vectors, each with the texts beside them; none embeds anything.

A rival that is not installed is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Find = Callable[[Rows, int], list[int]]  # a question's vector, shape (dimension,), and k: places of the rows found


@dataclass(frozen=True, kw_only=True, slots=True)
class Rival:
    """`questions`: how many it is timed on; `at_least`: how many times as fast ours must be."""

    name: str
    package: str
    make: Callable[[Sequence[str], Rows], Find]
    questions: int
    at_least: float | None = None

    @property
    def is_installed(self) -> bool:
        return find_spec(self.package) is not None


def make_llama_index(texts: Sequence[str], vectors: Rows) -> Find:
    from llama_index.core import MockEmbedding, QueryBundle, VectorStoreIndex
    from llama_index.core.schema import TextNode

    pairs = zip(texts, vectors, strict=True)
    nodes = [TextNode(id_=str(i), text=text, embedding=vector.tolist()) for i, (text, vector) in enumerate(pairs)]
    index = VectorStoreIndex(nodes=nodes, embed_model=MockEmbedding(embed_dim=vectors.shape[1]))

    def find(question: Rows, k: int) -> list[int]:
        retriever = index.as_retriever(similarity_top_k=k)
        bundle = QueryBundle(query_str="?", embedding=question.tolist())
        return [int(found.node.node_id) for found in retriever.retrieve(bundle)]

    return find


def make_langchain(texts: Sequence[str], vectors: Rows) -> Find:
    from langchain_community.vectorstores import FAISS
    from langchain_core.embeddings import FakeEmbeddings

    places = [{"place": i} for i in range(len(texts))]
    pairs = list(zip(texts, vectors.tolist(), strict=True))
    store = FAISS.from_embeddings(pairs, FakeEmbeddings(size=vectors.shape[1]), metadatas=places)

    def find(question: Rows, k: int) -> list[int]:
        found = store.similarity_search_by_vector(question.tolist(), k=k)
        return [int(document.metadata["place"]) for document in found]

    return find


def make_txtai(texts: Sequence[str], vectors: Rows) -> Find:
    """With its texts in SQLite, as ours are; beyond 5,000 rows it chooses an approximate faiss index by itself."""
    from txtai import Embeddings

    asked: list[Rows] = []

    def transform(inputs: Sequence[object]) -> Rows:
        if inputs and inputs[0] == "?":
            return np.stack([asked[-1]])
        return np.stack([vectors[int(str(text).partition(" ")[0])] for text in inputs])

    index = Embeddings({"method": "external", "transform": transform, "content": True})
    index.index([(i, f"{i} {text}", None) for i, text in enumerate(texts)])

    def find(question: Rows, k: int) -> list[int]:
        asked[:] = [question]
        return [int(found["id"]) for found in index.search("?", k)]

    return find


RIVALS = (
    Rival(name="LlamaIndex VectorStoreIndex", package="llama_index", make=make_llama_index, questions=7,
          at_least=50.0),
    Rival(name="LangChain FAISS", package="langchain_community", make=make_langchain, questions=100),
    Rival(name="txtai, dense alone", package="txtai", make=make_txtai, questions=100),
)  # fmt: skip
