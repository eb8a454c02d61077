"""Chats through the processor's own template, and where the assistant's words are in them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chat_processors import processors
from PIL import Image
from tiny_llava import build_processor

from data_prep.chat import GENERATION, check_text, messages, prompt_text, render, special_tokens
from data_prep.collate import PromptCollator
from data_prep.example import PICTURE, Example
from data_prep.labels import token_ids
from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError

PROCESSORS = processors()


def example(question="what is it?", answer="a cat", pictures=1):
    images = tuple(Image.new("RGB", (8, 8)) for _ in range(pictures))
    return Example("row/7", images, question, answer, (answer,), "open")


def turns(*texts):
    """A chat of these texts, the user first."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": [{"type": "text", "text": text}]} for i, text in enumerate(texts)]


def test_messages_put_pictures_first_and_strip():
    user, assistant = messages(example(" why? ", " so\n", pictures=2), "short_answer")
    assert [part["type"] for part in user["content"]] == ["image", "image", "text"]
    assert user["content"][-1]["text"] == "why?\nAnswer the question using a single word or phrase."
    assert assistant["content"] == [{"type": "text", "text": "so"}]


def test_unknown_prompt_is_named():
    with pytest.raises(MendableError, match="did you mean 'short_answer'"):
        messages(example(), "short_answr")


def test_text_as_it_is_trained_on():
    asked = "<image>\nwhat is it?\nAnswer the question using a single word or phrase."
    chat = messages(example(), "short_answer")
    text, _ = render(PROCESSORS["chatml"], chat)
    assert text == f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\na cat<|im_end|>"
    text, _ = render(PROCESSORS["llava-hf"], chat)
    assert text == f"USER: {asked} ASSISTANT: a cat<|im_end|>"


@pytest.mark.parametrize("name", PROCESSORS)
def test_training_text_begins_with_the_prompt_that_is_asked(name):
    processor, chat = PROCESSORS[name], messages(example(), "short_answer")
    text, [(start, end)] = render(processor, chat)
    assert text[:start] == prompt_text(processor, chat[:-1])
    assert text[start:end].lstrip() == "a cat" + processor.tokenizer.eos_token
    assert end == len(text)


@pytest.mark.parametrize("name", PROCESSORS)
def test_every_answer_of_a_long_chat_has_its_span(name):
    text, spans = render(PROCESSORS[name], turns("a?", "a", "what?", "ASSISTANT: b", "c?", "c c"))
    end_token = PROCESSORS[name].tokenizer.eos_token
    ends = [answer + end_token for answer in ("a", "ASSISTANT: b", "c c")]
    assert [text[start:end].lstrip() for start, end in spans] == ends
    assert text.count(end_token) == (6 if name == "chatml" else 3)


def test_end_token_after_a_space_is_not_written_twice():
    processor = processors()["llava-hf"]
    processor.stock.chat_template = processor.chat_template.replace(
        "{{ content['text'] + ' '}}",
        "{{ content['text'] + ' ' + ('<|im_end|>' if message['role'] == 'assistant' else '')}}",
    )
    text, _ = render(processor, turns("a?", "a", "b?", "b"))
    assert text == "USER: a? ASSISTANT: a<|im_end|>USER: b? ASSISTANT: b<|im_end|>"


@pytest.mark.parametrize(
    ("template", "what"),
    [
        (
            "{% for m in messages %}{{ m['role'] }}{% endfor %}{% if add_generation_prompt %}GO{% endif %}",
            "right after",
        ),
        ("{{ messages | length }}{{ messages[-1]['content'][0]['text'] }}", "right after"),
        (None, "no chat template"),
    ],
)
def test_templates_that_do_not_render_turn_by_turn_are_refused(template, what):
    processor = processors()["chatml"]
    processor.stock.chat_template = template
    with pytest.raises(MendableError, match=what):
        render(processor, turns("a?", "b"))


def test_empty_answers_are_refused():
    with pytest.raises(MendableError, match="nothing to learn"):
        render(PROCESSORS["chatml"], messages(example(answer="  "), "short_answer"))


@pytest.mark.parametrize("text", ["<image>", "a<|im_end|>b", "<|im_start|>system", "x <pad>", "\ud800"])
def test_control_tokens_in_the_data_are_refused_with_the_row(text):
    specials = special_tokens(PROCESSORS["chatml"])
    for row in (example(question=text), example(answer=text)):
        with pytest.raises(MendableError, match="row/7"):
            check_text(row, specials)


def test_other_signs_are_text():
    check_text(example("is 1 < 2 > 0 | image?", "<im> 😀 ASSISTANT:"), special_tokens(PROCESSORS["chatml"]))


def test_a_turn_that_is_written_otherwise_once_it_is_over():
    """As Qwen3.5's and Gemma 4's: an empty block of thoughts in the prompt, and none in a turn that is past."""
    processor = processors()["chatml"]
    template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'][-1]['text'] }}|{% endfor %}"
    processor.stock.chat_template = template + "{% if add_generation_prompt %}<assistant><think></think>{% endif %}"
    chat = [{"role": role, "content": [{"type": "text", "text": role[0]}]} for role in ("user", "assistant")]
    end = processor.tokenizer.eos_token
    assert render(processor, chat) == (f"<user>u|<assistant><think></think>a{end}", [(34, 35 + len(end))])
    with pytest.raises(MendableError, match="right after"):
        render(processor, [*chat, *chat])


def test_control_tokens_before_the_answer_are_learnt():
    processor = processors()["chatml"]
    template = (
        "{% for m in messages %}<{{ m['role'] }}><|im_start|>{{ m['content'][-1]['text'] }}<|im_end|>{% endfor %}"
    )
    processor.stock.chat_template = template + "{% if add_generation_prompt %}<assistant>{% endif %}"
    chat = [{"role": role, "content": [{"type": "text", "text": role[0]}]} for role in ("user", "assistant")] * 2
    text, spans = render(processor, chat)
    assert [text[start:end] for start, end in spans] == ["<|im_start|>a<|im_end|>"] * 2
    assert text == "<user><|im_start|>u<|im_end|><assistant><|im_start|>a<|im_end|>" * 2


MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{%- if m['role'] == 'assistant' %}{% generation %}"
    "{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{{ '<|im_end|>\n' }}{%- endgeneration -%}"
    "{% else %}{% for c in m['content'] %}{{ '<image>' if c['type'] == 'image' else c['text'] }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def with_template(template):
    processor = processors()["chatml"]
    processor.stock.chat_template = template
    return processor


def test_a_template_s_own_generation_blocks_say_what_is_learnt():
    chat = turns("a?", "a", "what?", "b b")
    marked, plain = with_template(MARKED), with_template(GENERATION.sub("", MARKED))
    text, spans = render(marked, chat)
    assert (text, spans) == render(plain, chat)
    assert [text[start:end] for start, end in spans] == ["a<|im_end|>", "b b<|im_end|>"]


def test_a_generation_block_may_hold_what_no_prompt_writes():
    thinking = MARKED.replace("{% generation %}", "{% generation %}{{ '<think></think>' }}")
    text, spans = render(with_template(thinking), turns("a?", "a", "what?", "b"))
    assert [text[start:end] for start, end in spans] == [f"<think></think>{end}<|im_end|>" for end in "ab"]


def test_generation_blocks_that_miss_an_answer_are_refused():
    lost = MARKED.replace("m['role'] == 'assistant'", "m['role'] == 'assistant' and loop.last")
    with pytest.raises(MendableError, match="marks 1 answers"):
        render(with_template(lost), turns("a?", "a", "what?", "b"))


def test_pictures_stand_where_the_signs_are():
    row = replace(example(f"left {PICTURE} or {PICTURE}?", pictures=3), earlier=((f"{PICTURE}", "yes"),))
    first, _, second, _ = messages(row, "as_written")
    assert first["content"] == [{"type": "image"}]
    texts = [part.get("text") for part in second["content"]]
    assert texts == ["left ", None, " or ", None, "?"]
    with pytest.raises(MendableError, match="mark 3 pictures, and the row has 2"):
        messages(replace(row, images=row.images[:2]), "as_written")


def test_a_system_text_heads_the_chat():
    system, user, _ = messages(replace(example(), system=" Be brief.\n"), "as_written")
    assert system == {"role": "system", "content": [{"type": "text", "text": "Be brief."}]} and user["role"] == "user"


def test_a_conversation_that_the_template_refuses_is_a_row_s_fault():
    processor = with_template("{{ raise_exception('no system turn here') }}")
    with pytest.raises(RowError, match="no system turn here"):
        render(processor, turns("a?", "a"))


@pytest.mark.parametrize(
    ("template", "fact"),
    [
        ("{{ raise_exception('never') }}", "never"),
        ("{{ 1 / 0 }}", "zero"),
        ("{{ messages[0].content + 'x' }}", "TypeError"),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "0 picture placeholders for 1 pictures"),
        ("{% for", "refuses"),
    ],
)
def test_a_template_that_fails_on_a_row_rejects_that_row(template, fact):
    processor, row = build_processor(), example()
    processor.stock.chat_template = template
    collator = PromptCollator(processor)
    for attempt in (lambda: render(processor, messages(row, "as_written")), lambda: collator.text(row)):
        with pytest.raises(RowError, match=fact) as error:
            attempt()
        assert error.value.reason == "template"
    assert error.value.where == "row row/7"


def test_a_text_that_the_tokenizer_cannot_read_rejects_its_row(monkeypatch):
    processor = build_processor()
    real = type(processor.tokenizer).__call__

    def call(self, text, **options):
        if any("odd" in one for one in text):
            raise TypeError("TextEncodeInput must be a string")
        return real(self, text, **options)

    monkeypatch.setattr(type(processor.tokenizer), "__call__", call)
    with pytest.raises(RowError, match="TextEncodeInput"):
        token_ids(processor.tokenizer, ["plain", "odd"])
