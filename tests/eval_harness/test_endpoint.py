"""A model behind an endpoint: what is sent, what is tried again, what is said where that does not help."""

from __future__ import annotations

import socket
import threading
from email.utils import formatdate
from itertools import chain
from pathlib import Path

import pytest
from chat_server import Fault, chat_server, pictures, question
from PIL import Image, ImageChops

from data_prep.example import PICTURE, Example
from data_prep.images import open_image
from data_prep.rows import RowError
from eval_harness import endpoint as module
from eval_harness.api_key import KEYS
from eval_harness.endpoint import Endpoint
from mlplora_vlm.errors import MendableError


@pytest.fixture
def server(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    with chat_server() as state:
        yield state


def opened(server, **options):
    return Endpoint(server.url, "small", pauses=(0.0, 0.0, 0.0), **options)


def rows(count, *images):
    return [Example(f"set/test/{n}", images, f"what is {n}?", "", (), "open") for n in range(count)]


def ask(answerer, examples, batch_size=4, prompt="as_written", tokens=7):
    found = list(answerer.answers(examples, prompt, tokens, batch_size, progress=False))
    assert len({number for number, _ in found}) == len(found)
    return dict(found)


def test_every_row_gets_its_own_answer_whatever_the_batch_size(server):
    examples = rows(9)
    for batch_size in (1, 3, 50):
        assert ask(opened(server), examples, batch_size) == {n: f"what is {n}?!" for n in range(9)}


def test_no_rows_give_no_answers_and_no_request(server):
    assert ask(opened(server), []) == {} and server.tries == 0


def test_request_is_greedy_seeded_and_in_the_prompts_words(server):
    ask(opened(server, seed=5), rows(1), prompt="short_answer")
    (body,) = server.bodies
    assert body == {
        "model": "small",
        "messages": [
            {"role": "user", "content": "what is 0?\nAnswer the question using a single word or phrase."},
        ],
        "max_tokens": 7,
        "temperature": 0,
        "seed": 5,
    }


def hostile_pictures(folder: Path) -> list[Path]:
    """A picture turned by EXIF, one with a palette and transparency, one in CMYK, one of 16 bits, and a plain one."""
    plain = Image.effect_noise((33, 21), 80).convert("RGB")
    plain.putpixel((0, 0), (255, 0, 0))
    turned = Image.Exif()
    turned[0x0112] = 6
    plain.save(folder / "turned.jpg", exif=turned)
    plain.quantize(16).save(folder / "palette.png", transparency=3)
    plain.convert("CMYK").save(folder / "cmyk.jpg")
    Image.new("I;16", (5, 4), 40_000).save(folder / "wide.png")
    plain.save(folder / "plain.png")
    return sorted(folder.iterdir())


def test_pictures_arrive_pixel_by_pixel_as_they_are_opened_here(server, tmp_path):
    paths = hostile_pictures(tmp_path)
    for path in paths:
        assert len(ask(opened(server), rows(1, path))) == 1
    assert len(paths) == len(server.bodies) == 5
    for path, body in zip(paths, server.bodies, strict=True):
        (arrived,), wanted = pictures(body), open_image(path)
        assert arrived.mode == "RGB" and arrived.size == wanted.size and not arrived.info.get("exif")
        assert ImageChops.difference(arrived, wanted).getbbox() is None


def test_turns_and_several_pictures_stand_where_they_belong(server):
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (6, 4), "blue")
    example = Example(
        "talk",
        (red, blue),
        f"and {PICTURE}?",
        "never sent",
        (),
        "open",
        earlier=((f"{PICTURE}what is it?", "a square"),),
        system="Be brief.",
    )
    ask(opened(server), [example])
    (body,) = server.bodies
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert body["messages"][0]["content"] == "Be brief." and body["messages"][2]["content"] == "a square"
    kinds = [[part["type"] for part in body["messages"][turn]["content"]] for turn in (1, 3)]
    assert kinds == [["image_url", "text"], ["text", "image_url", "text"]]
    assert [picture.size for picture in pictures(body)] == [(4, 4), (6, 4)]
    assert "never sent" not in str(body)
    assert opened(server).prompt(example, "as_written").splitlines() == [
        "system: Be brief.",
        "user: [picture]what is it?",
        "assistant: a square",
        "user: and [picture]?",
    ]


def test_answers_come_as_soon_as_they_are_there(server):
    go = threading.Event()
    server.reply = lambda body: "late" if question(body) == "what is 0?" and go.wait(30) else "soon"
    found = opened(server).answers(rows(3), "as_written", 7, 2, progress=False)
    assert {next(found), next(found)} == {(1, "soon"), (2, "soon")}  # row 0 is still in flight
    go.set()
    assert list(found) == [(0, "late")]


def test_as_many_requests_are_in_flight_as_the_batch_size(server):
    together = threading.Barrier(3)

    def reply(body):
        together.wait(30)  # nobody is answered before three have asked
        return "yes"

    server.reply = reply
    assert len(ask(opened(server), rows(6), batch_size=3)) == 6
    assert server.most_at_once == 3


@pytest.mark.parametrize(
    "fault", [Fault(429, "slow down"), Fault(500, "oh"), Fault(503, "busy"), Fault(529), Fault(drop=True)], ids=str
)
def test_what_may_pass_is_tried_again(server, fault):
    server.faults.extend([fault] * 3)
    assert ask(opened(server), rows(2), 1) == {0: "what is 0?!", 1: "what is 1?!"}
    assert server.tries == 5


def test_an_answer_that_does_not_come_is_tried_again(server, monkeypatch):
    monkeypatch.setattr(module, "SECONDS", (5.0, 0.3))
    hold, first = threading.Event(), iter([True])
    server.reply = lambda body: "late" if next(first, False) and hold.wait(30) else "there"
    assert ask(opened(server), rows(1)) == {0: "there"}
    hold.set()
    assert server.tries == 2


def test_tries_end_and_the_last_reason_is_said(server):
    server.fault = lambda body: Fault(500, "out of breath") if "2" in question(body) else Fault()
    with pytest.raises(MendableError, match=r"does not answer \(status 500: out of breath\)[^$]*row set/test/2"):
        ask(opened(server), rows(5), 1)
    assert server.tries == 2 + 4


def test_a_server_that_is_not_there_is_said(server):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        with pytest.raises(MendableError, match="does not answer"):
            Endpoint(f"http://127.0.0.1:{nobody.getsockname()[1]}/v1", "small", pauses=(0.0,))


@pytest.mark.parametrize(("asked", "waited"), [("2", 2.0), ("", 0.5), ("nonsense", 0.5), ("0", 0.5)])
def test_retry_after_is_kept_to_where_it_asks_for_more_than_the_pause(server, monkeypatch, asked, waited):
    waits = []
    monkeypatch.setattr(module, "_waited", lambda stop, seconds: bool(waits.append(seconds)))
    server.faults.append(Fault(429, "slow down", (("Retry-After", asked),)))
    assert ask(Endpoint(server.url, "small", pauses=(0.5,)), rows(1)) == {0: "what is 0?!"}
    assert waits == [waited]


def test_retry_after_may_be_a_date(server, monkeypatch):
    class Answer:
        def __init__(self, value):
            self.headers = {"Retry-After": value}

    monkeypatch.setattr(module.time, "time", lambda: 1_000_000.0)
    assert module._retry_after(Answer(formatdate(1_000_020, usegmt=True))) == 20
    assert module._retry_after(Answer(formatdate(999_000, usegmt=True))) == 0
    assert module._retry_after(None) == 0


def test_a_server_that_asks_for_too_long_is_given_up(server):
    server.faults.append(Fault(429, "come back tomorrow", (("Retry-After", "86400"),)))
    with pytest.raises(MendableError, match=r"come back tomorrow; it asks to wait 86,400 s"):
        ask(opened(server), rows(1))
    assert server.tries == 1


def test_refusals_are_said_at_once_and_never_with_the_key(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    answerer = opened(server)
    for status, message, said in (
        (
            401,
            "Incorrect API key provided: sk-very-secret.",
            r"refuses the key \(401\): Incorrect API key provided: …\.",
        ),
        (403, "not yours", r"refuses the key \(403\): not yours"),
        (404, "The model `small` does not exist.", r"no such model or address \(404\): The model `small`"),
        (418, "sk-very-secret is a teapot", r"refuses the request \(418\): … is a teapot"),
    ):
        server.faults.append(Fault(status, message))
        tries = server.tries
        with pytest.raises(MendableError, match=said) as raised:
            ask(answerer, rows(3), 1)
        assert "very-secret" not in str(raised.value) and server.tries == tries + 1


def test_key_comes_from_the_environment_and_goes_nowhere_else(server, monkeypatch):
    without = opened(server)
    ask(without, rows(1))
    assert server.keys == [None, None]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    with_one = opened(server)
    ask(with_one, rows(1))
    monkeypatch.setenv("MLPLORA_API_KEY", "sk-two")
    with_two = opened(server)
    assert server.keys[2:] == ["Bearer sk-one", "Bearer sk-one", "Bearer sk-two"]
    assert without.digest == with_one.digest == with_two.digest
    assert not {"sk-one", "sk-two"} & set(chain.from_iterable(map(str, value) for value in with_two.describe().items()))
    assert "sk-" not in f"{vars(with_two)} {server.bodies}"


def test_netrc_does_not_take_the_keys_place(server, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    ask(opened(server), rows(1))
    assert server.keys == [None, None]


def test_a_row_that_the_server_refuses_is_the_rows_fault_and_the_others_are_kept(server):
    server.fault = lambda body: Fault(400, "too long") if question(body) == "what is 1?" else Fault()
    found = {}
    with pytest.raises(RowError, match=r"refuses the request \(400\): too long[^$]*row set/test/1"):
        for number, answer in opened(server).answers(rows(2), "as_written", 7, 2, progress=False):
            found[number] = answer
    assert found == {0: "what is 0?!"}


def test_a_picture_that_cannot_be_read_is_named(server, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(RowError, match=r"broken\.png"):
        ask(opened(server), rows(1, tmp_path / "broken.png"))
    assert server.tries == 0


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"choices": []}', '{"choices": [{"message": {"content": 3}}]}'])
def test_what_is_no_completion_is_said(server, body):
    server.faults.append(Fault(body=body))
    with pytest.raises(MendableError, match="no chat completion"):
        ask(opened(server), rows(1))


def test_an_empty_completion_is_an_empty_answer(server):
    server.faults.append(Fault(body='{"choices": [{"message": {"content": null}}]}'))
    assert ask(opened(server), rows(1)) == {0: ""}


def test_redirects_are_not_followed(server):
    server.faults.append(Fault(307, "elsewhere", (("Location", "http://127.0.0.1:9/v1"),)))
    with pytest.raises(MendableError, match=r"\(307\)"):
        ask(opened(server), rows(1))


def test_model_must_be_one_of_the_servers(server):
    server.models = [{"id": "small"}, {"id": "smaller"}]
    with pytest.raises(MendableError, match=r"no model 'smal' \(did you mean 'small'\?\)[^$]*it has small, smaller"):
        Endpoint(server.url, "smal")
    with pytest.raises(MendableError, match="which of the endpoint's models"):
        Endpoint(server.url)
    server.models = [{"id": "only"}]
    assert Endpoint(server.url).name == "only"


def test_a_server_without_a_list_of_models_is_believed(server):
    server.models = None
    assert ask(opened(server), rows(1)) == {0: "what is 0?!"}
    with pytest.raises(MendableError, match="does not list its models"):
        Endpoint(server.url)


def test_digest_changes_with_what_answers_and_not_with_the_time(server):
    def digest(**more):
        server.models = [{"id": "small", "created": object.__hash__(object()), **more}]
        return opened(server).digest

    assert digest() == digest()
    assert len({digest(), digest(root="/models/a"), digest(root="/models/b"), digest(parent="base")}) == 4
    assert opened(server, seed=1).digest != opened(server).digest


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "http://", "http://me:sk-secret@host/v1", "http://host/v1?key=sk-secret"]
)
def test_addresses_that_cannot_be_or_hold_a_secret_are_refused(url):
    with pytest.raises(MendableError) as raised:
        Endpoint(url, "small")
    assert "secret" not in str(raised.value)


def test_the_whole_address_of_the_method_may_be_given(server):
    answerer = Endpoint(f"{server.url}/chat/completions", "small")
    assert answerer.url == server.url and ask(answerer, rows(1)) == {0: "what is 0?!"}


def test_who_stops_listening_stops_the_asking(server):
    found = opened(server).answers(rows(50), "as_written", 7, 1, progress=False)
    next(found)
    found.close()
    assert server.tries < 50
