"""What the hub's client raises, as sentences without a token."""

from __future__ import annotations

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from mlplora_vlm.errors import MendableError
from mlplora_vlm.hub_errors import redacted, told

OWN = "hf_" + "ownOwnOwnOwnOwnOwnOwn0123456789ab"


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", OWN)


def answered(status, message):
    request = httpx2.Request("POST", "https://hub/api", headers={"Authorization": f"Bearer {OWN}"})
    return HfHubHTTPError(message, response=httpx2.Response(status, request=request), server_message=message)


@pytest.mark.parametrize(
    ("error", "message", "fix"),
    [
        (answered(401, "Invalid credentials"), "the hub answers 401, Invalid credentials", "hf auth login"),
        (answered(403, "no rights"), "403, no rights", "may write there"),
        (answered(403, "storage quota exceeded"), "403, storage quota exceeded", "make room on the hub"),
        (answered(413, "too large"), "413, too large", "smaller shards"),
        (answered(418, f"look: {OWN}"), r"418, look: \(token\)", "see what it says"),
        (answered(502, "bad gateway"), "502, bad gateway", "in trouble"),
        (LocalTokenNotFoundError("none"), "no token was found", "hf auth login"),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set", "unset it"),
        (httpx2.ReadError("cut off"), r"the connection failed \(cut off\)", "the same command goes on"),
        (ConnectionResetError(f"Bearer {OWN}"), r"the connection failed \(\(token\)\)", "the same command goes on"),
        (ValueError(f"odd {OWN}"), r"ValueError: odd \(token\)", "see what it says"),
    ],
)
def test_each_is_said_with_what_to_do(error, message, fix):
    with pytest.raises(MendableError, match=f"it broke off: .*{message}") as caught, told("me/repo", "it broke off"):
        raise error
    assert fix in caught.value.fix and caught.value.where == "me/repo"
    assert OWN not in str(caught.value) and caught.value.__suppress_context__


def test_what_is_wrapped_is_unwrapped_and_what_is_ours_goes_through():
    with pytest.raises(MendableError, match="507"), told("me/repo", "x"):
        try:
            raise answered(507, "full")
        except HfHubHTTPError as error:
            raise RuntimeError("Error while uploading") from error
    with pytest.raises(MendableError, match=r"^own$"), told("me/repo", "x"):
        raise MendableError("own")


def test_only_tokens_are_taken_out():
    assert redacted(f"hf_xet failed for hf_hub_download, {OWN}, hf_oauth_{'x' * 20}") == (
        "hf_xet failed for hf_hub_download, (token), (token)"
    )
