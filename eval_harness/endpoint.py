"""A model behind an OpenAI-compatible endpoint, such as vLLM's, as an `Answerer`.

Protocol: platform.openai.com/docs/api-reference/chat/create; what vLLM serves of it: github.com/vllm-project/vllm,
docs/serving/openai_compatible_server.md (`/v1/models`, `/v1/chat/completions` with ``image_url`` parts as data: URIs,
``seed``).
"""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from data_prep.chat import messages
from data_prep.example import Example, Picture
from data_prep.images import open_image
from data_prep.progress import progress_bar
from data_prep.rows import RowError
from eval_harness.api_key import KEYS, api_key, without_key
from mlplora_vlm.errors import MendableError, did_you_mean
from mlplora_vlm.files import digest

if TYPE_CHECKING:
    from requests import Response, Session

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each new try of a request."""
LONGEST_WAIT = 300.0
"""Seconds; a server that asks for more (Retry-After) is given up."""
SECONDS = (10.0, 600.0)
"""To connect, and for an answer."""
_PASSING = {408, 409, 425, 429}  # and all from 500 on
_OF_THE_ROW = {400, 413, 422}
_IDENTITY = ("id", "root", "parent", "owned_by", "revision", "max_model_len")
"""What of a model's entry in `/v1/models` stays the same; vLLM writes the time of asking into ``created``."""
_SAID = 500  # signs of a server's message


class Endpoint:
    """Answers through ``url``/chat/completions: greedy, with ``seed``, as many requests in flight as the batch size.

    The key is read from the environment (see `KEYS`), and is neither shown nor kept.  A request that meets a broken
    connection, a timeout, 408, 409, 425, 429 or a server's fault is tried again after ``pauses``, or when Retry-After
    says.  Raises MendableError where the server cannot be reached, refuses, or does not have the model.
    """

    def __init__(self, url: str, model: str = "", seed: int = 0, pauses: Sequence[float] = PAUSES) -> None:
        self.url, self.seed, self._pauses = _base(url), seed, tuple(pauses)
        with closing(_session()) as session:
            served = self._served(session)
        self.model = self.name = _chosen(model, served, self.url)
        self.served = served.get(self.model)
        """The server's own entry of the model, where it lists its models."""
        self.digest = digest([self.url, self.model, self.served, seed])

    def answers(
        self,
        examples: Sequence[Example],
        prompt: str,
        max_new_tokens: int,
        batch_size: int,
        description: str = "answering",
        progress: bool = True,
    ) -> Iterator[tuple[int, str]]:
        """(the example's place, its answer), each as soon as it is there; ``batch_size`` requests are in flight.

        Raises RowError for a row that the server refuses, and MendableError for all else that goes wrong, both only
        once the answers are yielded that were in flight.
        """
        waiting, there, stop = SimpleQueue[int](), SimpleQueue[tuple[int, str | Exception]](), threading.Event()
        for number in range(len(examples)):
            waiting.put(number)

        def work() -> None:
            with closing(_session()) as session:
                while not stop.is_set():
                    try:
                        number = waiting.get_nowait()
                    except Empty:
                        break
                    try:
                        found: str | Exception = self._answer(session, examples[number], prompt, max_new_tokens, stop)
                    except Exception as error:
                        stop.set()  # what is in flight is waited for, nothing new is asked
                        found = error
                    there.put((number, found))
            there.put((-1, ""))

        workers = min(batch_size, len(examples))
        for _ in range(workers):
            threading.Thread(target=work, daemon=True).start()  # a program that is interrupted does not wait for them
        failures: list[Exception] = []
        bar = progress_bar(total=len(examples), description=description, unit="answer", shown=progress)
        try:
            with bar:
                while workers:
                    number, answer = there.get()
                    if isinstance(answer, Exception):
                        failures.append(answer)
                    elif number < 0:
                        workers -= 1
                    else:
                        bar.update(1)
                        yield number, answer
        finally:
            stop.set()
        if failures:
            raise next((each for each in failures if not isinstance(each, _Stopped)), failures[0])

    def prompt(self, example: Example, prompt: str) -> str:
        """The chat as text; the server's own template puts it into tokens."""
        lines = []
        for message in messages(example, prompt)[:-1]:
            parts = [part["text"] if part["type"] == "text" else "[picture]" for part in message["content"]]
            lines.append(f"{message['role']}: {''.join(parts)}")
        return "\n".join(lines)

    def describe(self) -> dict[str, Any]:
        """The address, the model's name there, and what the server says of it."""
        return {"endpoint": self.url, "model": self.model, "served": self.served, "seed": self.seed}

    def _answer(
        self, session: Session, example: Example, prompt: str, max_new_tokens: int, stop: threading.Event
    ) -> str:
        body = {
            "model": self.model,
            "messages": _sent(example, prompt),
            "max_tokens": max_new_tokens,
            "temperature": 0,
            "seed": self.seed,
        }
        where = f"row {example.id}"
        answer = self._asked(session, "POST", f"{self.url}/chat/completions", body, where, stop)
        try:
            content = answer.json()["choices"][0]["message"]["content"]
            if not isinstance(content, str | None):
                raise TypeError
        except (ValueError, LookupError, TypeError) as error:
            what = f"the endpoint's answer is no chat completion: {_said(answer)}"
            raise MendableError(what, f"{self.url}, {where}", "name the address that ends in /v1") from error
        return (content or "").strip()

    def _served(self, session: Session) -> dict[str, dict[str, Any]]:
        """The server's models by id, of each what stays the same; none where it has no list of them."""
        answer = self._asked(session, "GET", f"{self.url}/models", None, self.url, threading.Event())
        try:
            listed = answer.json()["data"] if answer.ok else []
            return {str(one["id"]): {key: one[key] for key in _IDENTITY if key in one} for one in listed}
        except (ValueError, LookupError, TypeError):
            return {}

    def _asked(self, session: Session, method: str, url: str, body: Any, where: str, stop: threading.Event) -> Response:
        """The server's answer, of a GET also that there is nothing; raises for what cannot be mended by waiting."""
        import requests

        problem = ""
        for pause in (*self._pauses, None):
            answer = None
            try:
                answer = session.request(method, url, json=body, timeout=SECONDS, allow_redirects=False)
                if answer.status_code < 300 or (method == "GET" and answer.status_code in (404, 405, 501)):
                    return answer
                if answer.status_code < 500 and answer.status_code not in _PASSING:
                    raise self._refused(answer, where)
                problem = f"status {answer.status_code}: {_said(answer)}"
            except requests.RequestException as error:
                if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
                    raise MendableError(f"this is no address: {without_key(str(error))}", self.url) from error
                problem = without_key(f"{type(error).__name__}: {error!s:.{_SAID}}")
            if pause is None:
                break
            wait = max(pause, _retry_after(answer))
            if wait > LONGEST_WAIT:
                problem += f"; it asks to wait {wait:,.0f} s"
                break
            if _waited(stop, wait):
                raise _Stopped("another request failed", where)
        what = f"the endpoint does not answer ({problem})"
        raise MendableError(what, f"{self.url}, {where}", "see whether the server runs; the same command then goes on")

    def _refused(self, answer: Response, where: str) -> MendableError:
        status, said = answer.status_code, _said(answer)
        if status in (401, 403):
            what, fix = f"the endpoint refuses the key ({status}): {said}", f"set {' or '.join(KEYS)}"
            if not api_key():
                what = f"the endpoint wants a key ({status}): {said}"
            return MendableError(what, self.url, fix)
        if status == 404:
            what = f"the endpoint has no such model or address (404): {said}"
            return MendableError(what, f"{answer.request.url}", "name it as http://host:port/v1#model")
        if status in _OF_THE_ROW:
            return RowError("unsupported content", f"the endpoint refuses the request ({status}): {said}", where)
        return MendableError(f"the endpoint refuses the request ({status}): {said}", f"{self.url}, {where}")


class _Stopped(MendableError):
    """A request that was not tried again, because another one had failed for good."""


def _waited(stop: threading.Event, seconds: float) -> bool:
    """Waits; True where the others have stopped before."""
    return stop.wait(seconds)


def data_uri(picture: Picture) -> str:
    """The picture as `open_image` makes it (RGB, the right way up) as a PNG in a data: URI: equal pixel by pixel."""
    file = io.BytesIO()
    open_image(picture).save(file, "PNG", compress_level=1)  # a third of the default's time, a few per cent more bytes
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _sent(example: Example, prompt: str) -> list[dict[str, Any]]:
    """The chat up to the last question in the API's own words; texts alone as a text, which every server takes."""
    pictures = iter(example.images)
    sent = []
    for message in messages(example, prompt)[:-1]:
        parts = message["content"]
        content: Any = "".join(part["text"] for part in parts if part["type"] == "text")
        if any(part["type"] == "image" for part in parts):
            content = [
                part
                if part["type"] == "text"
                else {"type": "image_url", "image_url": {"url": data_uri(next(pictures))}}
                for part in parts
            ]
        sent.append({"role": message["role"], "content": content})
    return sent


def _session() -> Session:
    """Sends the key with each request; no other secret, such as one of ~/.netrc, takes its place."""
    import requests

    session = requests.Session()

    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if key := api_key():
            request.headers["Authorization"] = f"Bearer {key}"
        return request

    session.auth = sign
    return session


def _base(url: str) -> str:
    """The address up to ``/v1``; raises MendableError for one that holds a secret or is no http(s) address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise MendableError(f"{url!r:.200} is no http(s) address", "the endpoint", "such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        what = "an endpoint's address holds no name, password or query: it is shown and saved"
        raise MendableError(what, f"{parts.scheme}://{parts.hostname}", f"the key comes from {' or '.join(KEYS)}")
    return url.partition("#")[0].rstrip("/").removesuffix("/chat/completions")


def _chosen(model: str, served: dict[str, dict[str, Any]], url: str) -> str:
    """The model that is asked: the named one, or the only one that the server has."""
    if not model and len(served) == 1:
        return next(iter(served))
    known = f"it has {', '.join(sorted(served)[:20])}" if served else "it does not list its models"
    if not model:
        raise MendableError("which of the endpoint's models is meant is not said", url, f"{url}#MODEL; {known}")
    if served and model not in served:
        raise MendableError(f"the endpoint has no model {model!r}{did_you_mean(model, served)}", url, known)
    return model


def _said(answer: Response) -> str:
    """The server's own message, without the key, which some servers repeat."""
    try:
        said = answer.json()
        said = said.get("error", said.get("detail", said)) if isinstance(said, dict) else said
        said = said["message"] if isinstance(said, dict) and "message" in said else said
    except ValueError:
        said = answer.text
    line = " ".join(without_key(str(said)).split())
    return line[:_SAID] or str(answer.reason)


def _retry_after(answer: Response | None) -> float:
    """Seconds that the server asks to wait (RFC 9110, section 10.2.3: a number, or a date); 0 where it does not."""
    value = answer.headers.get("Retry-After", "").strip() if answer is not None else ""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.fromtimestamp(time.time(), UTC)).total_seconds())
