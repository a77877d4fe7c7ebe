"""What the server allows, beside each project's quota: plain values, set once."""

from collections.abc import Callable, Mapping
from enum import StrEnum

from msgspec import Struct, field

from batchyard.domain.access import ProjectId, Quota
from batchyard.domain.file import DEFAULT_EXPIRY_SECONDS, GEMINI_EXPIRY_SECONDS, PURPOSES
from batchyard.domain.upload import LIFETIME_SECONDS

QuotaOf = Callable[[ProjectId], Quota]
"""Each project's quota, as it is now."""

DAY = 86_400
ENDPOINTS = (
    "/v1/responses",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
)


class FileRules(Struct, frozen=True, kw_only=True):
    """`require_jsonl_name` refuses batch inputs without that ending; clients that send bytes name them `upload`.

    `default_expiry_seconds` is how long a batch input lives whose uploader does not say, `gemini_expiry_seconds` any
    file that came on Gemini's wire, where nobody says; None: for ever.
    """

    purposes: tuple[str, ...] = PURPOSES
    require_jsonl_name: bool = False
    default_expiry_seconds: int = DEFAULT_EXPIRY_SECONDS
    gemini_expiry_seconds: int | None = GEMINI_EXPIRY_SECONDS


class UploadRules(Struct, frozen=True, kw_only=True):
    """How a file may come in parts."""

    part_bytes: int = 64 << 20
    max_parts: int = 10_000
    lifetime_seconds: int = LIFETIME_SECONDS


class WhenFull(StrEnum):
    """What becomes of a batch that finds no room among its project's enqueued tokens now."""

    QUEUE = "queue"
    """It waits in `validating` until others have ended."""
    FAIL = "fail"
    """It fails, as with the hosted services."""


class BatchRules(Struct, frozen=True, kw_only=True):
    """`endpoints` are those offered, `windows` the completion windows with their lengths in seconds.

    `refuse_missing_input` refuses a batch without an input file at once, where otherwise it is created and fails, as
    OpenAI has it. `azure_expires` holds batches of the Azure form to their deadline too; Azure itself does not.
    `when_full` is for batches that would pass a limit on enqueued tokens. `model_window_seconds` is the one window of
    batches whose callers name a model and no window, as on Gemini's wire.
    `default_expiry_seconds` is how long results live whose caller does not say.
    """

    endpoints: tuple[str, ...] = ENDPOINTS
    windows: Mapping[str, int] = field(default_factory=lambda: {"24h": DAY})
    refuse_missing_input: bool = False
    azure_expires: bool = False
    when_full: WhenFull = WhenFull.QUEUE
    model_window_seconds: int = 2 * DAY
    default_expiry_seconds: int = DEFAULT_EXPIRY_SECONDS
