"""Chinese documents of a given length and questions about them: from the evaluation data, else made up.

Sentences of the news corpus are drawn at random, so that no two documents are alike and yet every sentence is one that
somebody wrote. Without the corpus, sentences are drawn from characters by a law like that of real text.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORPUS = "scale/news_zh.corpus.jsonl.gz"
SENTENCE = re.compile(r"[^。！？\n]{8,120}[。！？]")
CHARACTERS = 3000  # different ones in made-up text


def find_data() -> Path:
    return Path(os.environ.get("KB_EVAL_DATA", ROOT.parent / "shared" / "data"))


class Texts:
    """Texts in a fixed order: the same seed gives the same ones."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)
        corpus = find_data() / CORPUS
        self.origin = "sentences of the news corpus" if corpus.exists() else "made-up sentences"
        self._sentences = read_sentences(corpus) if corpus.exists() else make_sentences(self._random)

    def make_document(self, characters: int) -> str:
        """About `characters` long, cut at sentence ends, paragraphs of five sentences."""
        parts: list[str] = []
        length = 0
        while length < characters:
            sentence = self._random.choice(self._sentences)
            parts.append(sentence + ("\n\n" if len(parts) % 5 == 4 else ""))
            length += len(sentence)
        return "".join(parts)[:characters]

    def make_questions(self, documents: Sequence[str], count: int) -> list[str]:
        """Stretches of 10 to 24 characters out of the documents, as somebody types who has read one of them."""
        questions = []
        while len(questions) < count:
            text = self._random.choice(documents).replace("\n", "")
            start = self._random.randrange(max(1, len(text) - 24))
            question = text[start : start + self._random.randint(10, 24)].strip()
            if len(question) >= 8:  # the corpus has stretches of white space
                questions.append(question)
        return questions


def read_sentences(corpus: Path) -> list[str]:
    with gzip.open(corpus, "rt", encoding="utf-8") as lines:
        return [found for line in lines for found in SENTENCE.findall(json.loads(line)["text"])]


def make_sentences(source: random.Random, count: int = 20_000) -> list[str]:
    characters = [chr(0x4E00 + number) for number in source.sample(range(0x5000), CHARACTERS)]
    weights = list(accumulate(1 / (rank + 3) for rank in range(CHARACTERS)))
    return [
        "".join(source.choices(characters, cum_weights=weights, k=source.randint(10, 45))) + "。" for _ in range(count)
    ]
