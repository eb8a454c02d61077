"""What goes wrong between here and a hub, as sentences; a token is in none of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlplora_vlm.errors import MendableError

KEPT = "nothing is lost here; the same command goes on"
TOKEN = r"\bhf_(?:(?:oauth|jwt)_[\w.-]{16,}|[A-Za-z0-9]{20,})"
"""What the hub's own tokens look like; ``hf_hub_download`` and its like are none."""
_TOKEN = re.compile(rf"{TOKEN}|(?i:bearer)\s+\S+")
_FIXES = {
    401: "log in with `hf auth login`, or set HF_TOKEN to a token that is still good",
    402: f"look at the account's plan, then push again: {KEPT}",
    404: "check the id, and that the token may see it",
    409: f"wait until the other change is through: {KEPT}",
    413: f"the hub takes no file of that size: save the model in smaller shards, or ask the hub; {KEPT}",
    429: f"wait some minutes: {KEPT}",
    507: f"make room on the hub: {KEPT}",
}


@contextmanager
def told(repo: str, what: str) -> Iterator[None]:
    """Whatever the hub's client raises inside becomes a `MendableError`: ``what``, why, and what to do.

    The client's own exception is not shown with it: its request has the token in a header.
    """
    try:
        yield
    except MendableError:
        raise
    except Exception as error:
        said = _mendable(repo, what, error)
    else:
        return
    raise said from None


def redacted(text: str) -> str:
    """The text without anything that looks like a token, nor this user's own."""
    from huggingface_hub import get_token

    try:
        own = get_token()
    except Exception:  # a token that has to be fetched, and could not be
        own = None
    text = text.replace(own, "(token)") if own else text
    return _TOKEN.sub("(token)", text)


def _mendable(repo: str, what: str, error: BaseException) -> MendableError:
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    cause = _cause(error)
    if isinstance(cause, LocalTokenNotFoundError):
        return MendableError(f"{what}: no token was found", repo, _FIXES[401])
    if isinstance(cause, OfflineModeIsEnabled):
        return MendableError(f"{what}: HF_HUB_OFFLINE is set", repo, "unset it, where there is a network")
    if isinstance(cause, HfHubHTTPError) and cause.response is not None:
        status = cause.response.status_code
        message = redacted(" ".join(str(cause.server_message or _reason(cause.response)).split()))[:300]
        return MendableError(f"{what}: the hub answers {status}, {message}", repo, _fix(status, message))
    if isinstance(cause, (OSError, HTTPError)):
        why = redacted(" ".join(str(cause).split()))[:300] or type(cause).__name__
        return MendableError(f"{what}: the connection failed ({why})", repo, f"look at the network: {KEPT}")
    why = redacted(" ".join(str(cause).split()))[:300]
    return MendableError(f"{what}: {type(cause).__name__}: {why}", repo, f"see what it says; {KEPT}")


def _cause(error: BaseException) -> BaseException:
    """The client wraps what happened while it uploaded a file."""
    while type(error) is RuntimeError and error.__cause__ is not None:
        error = error.__cause__
    return error


def _fix(status: int, message: str) -> str:
    if status == 403:
        if re.search(r"storage|quota|limit|exceed|payment", message, re.IGNORECASE):
            return f"make room on the hub, or enlarge the account's plan: {KEPT}"
        return "use a token that may write there (huggingface.co/settings/tokens), or another publish.to"
    return _FIXES.get(status, f"the hub is in trouble: later, {KEPT}" if status >= 500 else f"see what it says; {KEPT}")


def _reason(response: Any) -> str:
    return str(getattr(response, "reason_phrase", "") or "without a reason")
