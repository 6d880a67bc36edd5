"""Texts, names and metadata as requests may hold them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from kb.errors import InvalidInput

Language = Literal["auto", "zh", "en"]

LONGEST_NAME = 255  # bytes of UTF-8
LONGEST_DESCRIPTION = 4_000  # characters
METADATA_VALUES = 1_000
METADATA_CHARACTERS = 65_536
METADATA_DEPTH = 8
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class RequestBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def check_name(name: str) -> str:
    """A knowledge base's name as it is kept: NFC, without white space at its ends. It stands in URLs."""
    name = normalize_name(name)
    if not name or name in (".", ".."):
        raise PydanticCustomError("bad_name", "the name is empty or made of dots alone")
    if len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        raise PydanticCustomError("bad_name", "the name is longer than 255 bytes in UTF-8")
    if _UNPRINTABLE.search(name) or "/" in name or "\\" in name:
        raise PydanticCustomError("bad_name", "the name holds a slash or a control character")
    return name


def normalize_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def check_description(text: str) -> str:
    if len(text) > LONGEST_DESCRIPTION:
        raise PydanticCustomError("bad_description", "the description is longer than 4,000 characters")
    return text


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raises InvalidInput (`metadata_too_large`): it is stored with every document and compared on every search."""
    values, characters = 0, 0
    todo: list[tuple[Any, int]] = [(metadata, 1)]
    while todo:
        value, depth = todo.pop()
        values += 1
        if isinstance(value, Mapping):
            characters += sum(len(key) for key in value)
            todo += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            todo += [(inner, depth + 1) for inner in value]
        else:
            characters += len(value) if isinstance(value, str) else 8
        if values > METADATA_VALUES or characters > METADATA_CHARACTERS or depth > METADATA_DEPTH + 1:
            raise InvalidInput(
                "metadata_too_large",
                f"metadata may hold {METADATA_VALUES} values, {METADATA_CHARACTERS} characters and be nested "
                f"{METADATA_DEPTH} deep",
            )


def compose(text: str) -> str:
    """In NFC, as paths are kept: a Mac types names taken apart."""
    return unicodedata.normalize("NFC", text)


PathPrefix = Annotated[str, AfterValidator(compose)]
Name = Annotated[str, AfterValidator(check_name)]
Description = Annotated[str, AfterValidator(check_description)]
