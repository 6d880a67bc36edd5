"""Rules of refusal, kept in the settings of a knowledge base with the embedding model that they were found with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, select, update

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.types import RefusalRule, RelevanceMeasure, SpaceState


class Refusals:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get_refusal(self, kb_id: str) -> RefusalRule | None:
        """None where no rule is set, where it was set for another embedding model, or nothing is called so."""
        with self._database.read() as connection:
            row = connection.execute(_RULE, {"wanted": kb_id}).one_or_none()
        return read_refusal(row.settings, row.embedding_model) if row else None

    def set_refusal(self, kb_id: str, rule: RefusalRule | None) -> None:
        """For the embedding model that answers now; None takes the rule away."""
        with self._database.write() as connection:
            row = connection.execute(_RULE, {"wanted": kb_id}).one_or_none()
            if row is None:  # deleted a moment ago
                return
            settings = {key: value for key, value in row.settings.items() if key != "refusal"}
            if rule is not None:
                kept = {"threshold": rule.threshold, "measure": rule.measure, "embedding_model": row.embedding_model}
                settings["refusal"] = kept
            connection.execute(update(t.knowledge_base).where(t.knowledge_base.c.id == kb_id).values(settings=settings))


# put together once: every question to a knowledge base asks it
_RULE = (
    select(t.knowledge_base.c.settings, t.space.c.embedding_model)
    .join(t.space, (t.space.c.kb_id == t.knowledge_base.c.id) & (t.space.c.state == SpaceState.LIVE))
    .where(t.knowledge_base.c.id == bindparam("wanted"), t.knowledge_base.c.deleted_at.is_(None))
)


def read_refusal(settings: Mapping[str, Any], embedding_model: str) -> RefusalRule | None:
    """Cosines of two models do not compare: a rule of another model is none."""
    kept = settings.get("refusal")
    if kept is None or kept["embedding_model"] != embedding_model:
        return None
    return RefusalRule(threshold=kept["threshold"], measure=RelevanceMeasure(kept["measure"]))
