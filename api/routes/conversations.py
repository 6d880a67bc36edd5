from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.deps import find_knowledge_base, get_catalog
from api.paging import Cursor, Limit, Page, cut_page, read_number_cursor
from api.responses import JsonAnswer
from api.schemas.conversation import ConversationAnswer, WholeConversation, show_conversation, show_turns

router = APIRouter(prefix="/api/v1/conversations", tags=["conversations"])


@router.get("", response_model=Page[ConversationAnswer])
def list_conversations(request: Request, kb: str | None = None, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """List conversations, newest first."""
    kb_id = None if kb is None else find_knowledge_base(request, kb).id
    kept = get_catalog(request).conversations
    found = kept.list_conversations(limit + 1, read_number_cursor(cursor), kb_id)
    page, next_cursor = cut_page(found, limit, lambda pair: str(pair[0]))
    return JsonAnswer(Page(items=[show_conversation(one) for _, one in page], next_cursor=next_cursor))


@router.get("/{conversation_id}", response_model=WholeConversation)
def get_conversation(request: Request, conversation_id: str) -> Response:
    """Get one conversation with its turns, oldest first."""
    return JsonAnswer(show_turns(*get_catalog(request).conversations.get(conversation_id)))


@router.delete("/{conversation_id}", status_code=204)
def delete_conversation(request: Request, conversation_id: str) -> Response:
    """Delete a conversation with all its turns."""
    get_catalog(request).conversations.delete(conversation_id)
    return Response(status_code=204)
