"""Models as the Gemini wire shows them, and the pages of their list."""

from collections.abc import Collection, Sequence

from msgspec import Struct

from batchyard.dialects.gemini import reading as read
from batchyard.dialects.gemini.embed import EMBEDDINGS
from batchyard.dialects.gemini.generate import CHAT, IMAGES
from batchyard.dialects.gemini.spelling import Json
from batchyard.dialects.gemini.unfit import Unfit

PAGE = 50
MOST = 1000
_METHODS = {
    CHAT: ("generateContent", "countTokens", "batchGenerateContent"),
    IMAGES: ("generateContent", "countTokens", "batchGenerateContent"),
    EMBEDDINGS: ("embedContent", "batchEmbedContents", "asyncBatchEmbedContent"),
}


class Page(Struct, frozen=True):
    """Which part of a list: so many, after a name."""

    size: int = PAGE
    after: str | None = None


def model_object(name: str, endpoints: Collection[str], context_tokens: int | None) -> Json:
    """A model. What is not known of its limits is left out."""
    methods = dict.fromkeys(method for endpoint, names in _METHODS.items() if endpoint in endpoints for method in names)
    limits = {} if context_tokens is None else {"inputTokenLimit": context_tokens, "outputTokenLimit": context_tokens}
    shown = {"name": f"models/{name}", "version": "001", "displayName": name, "description": ""}
    return {**shown, **limits, "supportedGenerationMethods": list(methods)}


def page_of(size: str | None, token: str | None, usual: int = PAGE, most: int = MOST) -> Page:
    """The page that a query asks for: `usual` where it says no size, `most` where it says more. Raises Unfit."""
    wanted = read.whole(size, "pageSize") if size else 0
    if wanted < 0:
        raise Unfit(f"pageSize is {wanted}.", "pageSize", "It is 0 or more.")
    return Page(min(wanted or usual, most), token or None)


def page(names: Sequence[str], asked: Page) -> tuple[Sequence[str], str | None]:
    """The names on a page, and the token of the next one: the last name. Raises Unfit for a strange token."""
    start = 0
    if asked.after is not None:
        if asked.after not in names:
            raise Unfit("The page token is not known.", "pageToken", "Begin again without one.")
        start = names.index(asked.after) + 1
    shown = names[start : start + asked.size]
    return shown, shown[-1] if shown and start + asked.size < len(names) else None
