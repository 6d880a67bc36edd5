"""Prompts of a knowledge base's own, kept in its settings by language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, select, update

from kb.catalog import tables as t
from kb.catalog.database import Database


class Prompts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get_prompt(self, kb_id: str) -> Mapping[str, str]:
        """Its texts by language; empty where none is set or nothing is called so."""
        with self._database.read() as connection:
            settings = connection.execute(_SETTINGS, {"wanted": kb_id}).scalar_one_or_none()
        return read_prompt(settings or {})

    def set_prompt(self, kb_id: str, changes: Mapping[str, str | None]) -> None:
        """None takes the text of a language away; languages that are not named stay."""
        with self._database.write() as connection:
            settings = connection.execute(_SETTINGS, {"wanted": kb_id}).scalar_one_or_none()
            if settings is None:  # deleted a moment ago
                return
            texts = {language: text for language, text in {**read_prompt(settings), **changes}.items() if text}
            changed = {key: value for key, value in settings.items() if key != "prompt"}
            changed |= {"prompt": texts} if texts else {}
            connection.execute(update(t.knowledge_base).where(t.knowledge_base.c.id == kb_id).values(settings=changed))


# put together once: every question to a knowledge base asks it
_SETTINGS = select(t.knowledge_base.c.settings).where(
    t.knowledge_base.c.id == bindparam("wanted"), t.knowledge_base.c.deleted_at.is_(None)
)


def read_prompt(settings: Mapping[str, Any]) -> Mapping[str, str]:
    texts: Mapping[str, str] = settings.get("prompt", {})
    return texts
