"""Seeded hard cases for the metrics: answers and captions of our own making, perturbed where scorers differ.

Contractions, number words, articles, commas in numbers, full stops, ties between annotators, Unicode, empty answers.
A case is a row as in predictions.jsonl, without its score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

NUMBER = 2000
Row = dict[str, Any]


def _words(text: str) -> list[str]:
    return text.split()


NOUNS = _words(
    "dog cat bus train clock tree horse kite bench pizza laptop umbrella giraffe surfboard traffic light "
    "tennis racket stop sign bottle cake zebra motorcycle snowboard t-shirt fire hydrant café man woman child"
)
COLOURS = _words("red blue green white black yellow grey brown orange")
VERBS = _words("runs sits stands sleeps jumps waits rides looks flies eats")
PLACES = ["on the grass", "in a kitchen", "beside the road", "at night", "near the water", "under a tree", "outside"]
SHORT = _words(
    "dont cant wont isnt arent couldntve couldn'tve shouldve whats whos hes theyre yall'dve oclock somebody'd"
)
LONG = _words("don't can't won't isn't aren't couldn't've should've what's who's he's they're y'all'd've o'clock")
NUMBERS = _words("none zero one two three four five six seven eight nine ten eleven 0 1 2 3 7 10 12 100")
ODD = ["1,000", "1,,000", "12,345 people", "3.5", "3.5.", "U.S.", "e.g.", "2:30 pm", "$5", "50%", "#1", "at&t", "a/b"]
UNICODE = [
    "naïve",
    "Zürich",
    "日本",
    "ﬁsh",
    "İstanbul",
    "straße",
    "dog’s",
    "don’t",
    "don`t",
    "½",
    "１０",
    "é",
    "😀 cat",
]
SIGNS = list(";/[]\"{}()=+\\_-><@`,?!.'")


def cases(kind: str) -> list[Row]:
    """The 2,000 cases of a kind, the same at each call."""
    rng = Random(f"agreement {kind}")
    return [row for row, _ in zip(_KINDS[kind](rng), range(NUMBER), strict=False)]


def answer(rng: Random) -> str:
    """A short answer as an annotator may write it."""
    noun, colour = rng.choice(NOUNS), rng.choice(COLOURS)
    return rng.choice(
        [
            noun,
            colour,
            f"{colour} {noun}",
            f"{rng.choice(['a', 'an', 'the'])} {noun}",
            f"{rng.choice(NUMBERS)} {noun}s",
            rng.choice(NUMBERS),
            rng.choice(["yes", "no", "unanswerable", "unsuitable"]),
            rng.choice(SHORT),
            rng.choice(LONG),
            f"{rng.choice(SHORT)} {rng.choice(NOUNS)}",
            f"{noun}'s {rng.choice(NOUNS)}",
            rng.choice(ODD),
            rng.choice(UNICODE),
            f"{noun}, {colour}",
            f"{noun}-{colour}",
            f"{noun} and {rng.choice(NOUNS)}",
        ]
    )


def perturbed(rng: Random, text: str) -> str:
    """The text with one to three of the changes that normalisation may or may not undo."""
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        place = rng.randint(0, len(text))
        text = rng.choice(
            [
                text.upper(),
                text.capitalize(),
                f"{text}.",
                f"{text}..",
                f" {text}  ",
                f"{text}\n",
                text.replace(" ", "\t", 1),
                text.replace(" ", "  "),
                f"{rng.choice(['a', 'an', 'the', 'The'])} {text}",
                text.replace("'", ""),
                text.replace("'", "’"),
                text[:place] + rng.choice(SIGNS) + text[place:],
                f"{text[:place]} {rng.choice(SIGNS)} {text[place:]}",
                text[:place] + text[place + 1 :],
                f"{text}, {rng.choice(NUMBERS)}",
                f"{rng.choice(['1,000', '2,5', '1,,0'])} {text}",
                text.replace("one", "1").replace("two", "2").replace("three", "3"),
                "" if rng.random() < 0.3 else text,
            ]
        )
    return text


def _vqa(rng: Random) -> Iterator[Row]:
    """Ten annotators: of one mind, in two camps with ties, or all over the place."""
    while True:
        camps = [answer(rng) for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 10]))]
        given = [rng.choice(camps) for _ in range(10)]
        if rng.random() < 0.7:
            given = [perturbed(rng, text) if rng.random() < 0.4 else text for text in given]
        said = rng.choice([rng.choice(given), perturbed(rng, rng.choice(given)), perturbed(rng, rng.choice(camps))])
        yield {"prediction": said, "references": given}


def _short(rng: Random) -> Iterator[Row]:
    while True:
        right = answer(rng)
        yield {"prediction": perturbed(rng, right if rng.random() < 0.8 else answer(rng)), "references": [right]}


def _accepted(rng: Random) -> Iterator[Row]:
    """One to three references, the prediction near one of them."""
    while True:
        right = [
            " ".join(answer(rng) for _ in range(rng.choice([1, 1, 2, 4, 8]))) for _ in range(rng.choice([1, 1, 2, 3]))
        ]
        said = rng.choice(right) if rng.random() < 0.85 else answer(rng)
        yield {"prediction": _edited(rng, perturbed(rng, said)), "references": [perturbed(rng, text) for text in right]}


def _edited(rng: Random, text: str) -> str:
    """The text with up to half its signs put in, taken out or exchanged."""
    for _ in range(rng.randint(0, max(1, len(text) // 2)) if rng.random() < 0.6 else 0):
        place = rng.randint(0, len(text))
        text = text[:place] + rng.choice(["", "x", "É", " "]) + text[place + rng.choice([0, 1]) :]
    return text


def _numbers(rng: Random) -> Iterator[Row]:
    """Charts' numbers in many dresses, most of them within or just beyond 5 %."""
    while True:
        value = rng.choice([0, rng.randint(1, 20), rng.randint(1900, 2030), round(rng.uniform(-100, 100), 2)])
        off = rng.choice([0, 0.01, 0.0499, 0.05, 0.0501, 0.2, -0.05, -0.049])
        near = value * (1 + off)
        said = rng.choice(
            [
                str(value),
                f"{near:.4f}",
                f"{near}",
                f"{near:.1f}%",
                f"{near / 100}",
                f"{near:,.2f}",
                f" {value} ",
                f"${value}",
                f"{near:e}",
                "nan",
                "inf",
                "-inf",
                "1_000",
                "",
                "%",
                "5%%",
                "１２",
                answer(rng),
                f"about {value}",
                f"+{near}",
            ]
        )
        right = rng.choice([str(value), str(value), f"{value}%", f"{value:.2f}", "0", "0.0", answer(rng), said.upper()])
        yield {"prediction": said, "references": [right]}


def _question(rng: Random) -> tuple[str, list[str]]:
    count = rng.choice([2, 3, 4, 4, 4, 5])
    texts = rng.sample([*NOUNS, *COLOURS, "Yes", "No", "none of these", "2", "12", "a red bus", "the red bus"], count)
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCDE", texts, strict=False))
    hint = rng.choice(["", "", "Context: Look at the picture.\n", "Context: A. Lincoln said it.\n"])
    return f"{hint}What is in the picture?\n{listed}", texts


def _reply(rng: Random, letter: str, text: str) -> str:
    return rng.choice(
        [
            letter,
            letter,
            letter.lower(),
            f"{letter}.",
            f"{letter}. {text}",
            f"{letter}.{text}",
            f"({letter})",
            f" {letter} ",
            f"{letter})",
            f"The answer is {letter}.",
            f"the correct answer is **{letter}**, since there is a {text}",
            f"Answer is {letter.lower()}",
            f"It is {letter}, I think",
            f"Option {letter}: {text}",
            f"{letter} or {rng.choice('ABCD')}",
            text,
            f"I see a {text}.",
            f"A {text} is what the whole large picture shows here",
            f"I think that {letter} is what one could call the right one of them all",
            "",
            "Z",
            "Apple",
            "I can't process this file.",
            "Cannot determine the answer from it",
            f"{text} and {rng.choice(NOUNS)}",
            "Failed to obtain answer via API",
            f"{letter}: {text}! " * rng.choice([1, 2, 9]),
        ]
    )


def _choice(rng: Random) -> Iterator[Row]:
    while True:
        question, texts = _question(rng)
        right = rng.randrange(len(texts))
        said = right if rng.random() < 0.6 else rng.randrange(len(texts))
        yield {
            "prediction": _reply(rng, "ABCDE"[said], texts[said]),
            "references": ["ABCDE"[right]],
            "question": question,
        }


def _circular(rng: Random) -> Iterator[Row]:
    """Rotations of a question; those of half the questions are all answered right."""
    number = 0
    while True:
        question, texts = _question(rng)
        head = question[: question.index("\nA. ")]
        right, steady = rng.choice(texts), rng.random() < 0.5
        for turn in range(len(texts)):
            turned = texts[turn:] + texts[:turn]
            listed = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCDE", turned, strict=False))
            place = turned.index(right)
            said = place if steady or rng.random() < 0.7 else rng.randrange(len(turned))
            reply = rng.choice(["ABCDE"[said], f"{'ABCDE'[said]}. {turned[said]}"])
            yield {
                "id": f"circular/{number}/{turn}",
                "prediction": reply if steady else _reply(rng, "ABCDE"[said], turned[said]),
                "references": ["ABCDE"[place]],
                "question": f"{head}\n{listed}",
            }
        number += 1


def _yes_or_no(rng: Random, word: str) -> str:
    return rng.choice(
        [
            word,
            word.capitalize(),
            word.upper(),
            f"{word}.",
            f" {word}",
            f"{word.capitalize()}, there is a {rng.choice(NOUNS)}",
            f"{word.capitalize()}. It is not clear",
            f"There is {'a' if word == 'yes' else 'no'} {rng.choice(NOUNS)} in the picture.",
            f"It is {'' if word == 'yes' else 'not '}there",
            f"I do{'' if word == 'yes' else ' not'}, see it",
            f"Well {word}",
            "",
            "None",
            "Nothing",
            "yesno",
            "I know",
            f"{word}!",
            f"The {word}",
            word[0],
            "Да",
        ]
    )


def _yes_no(rng: Random) -> Iterator[Row]:
    while True:
        right = rng.choice(["yes", "no"])
        said = right if rng.random() < 0.7 else rng.choice(["yes", "no"])
        yield {"prediction": _yes_or_no(rng, said), "references": [right]}


def _mme(rng: Random) -> Iterator[Row]:
    """Two questions about each picture, one of them answered yes; pictures dealt out over the fourteen subtasks."""
    from eval_harness.metrics.mme import COGNITION, PERCEPTION

    number = 0
    while True:
        category = [*PERCEPTION, *COGNITION][number % 14]
        for question, right in enumerate(rng.sample(["yes", "no"], 2)):
            said = right if rng.random() < 0.75 else rng.choice(["yes", "no"])
            yield {
                "id": f"mme/{category}/{number}/{question}",
                "category": category,
                "prediction": _yes_or_no(rng, said),
                "references": [right.capitalize()],
            }
        number += 1


def caption(rng: Random) -> str:
    """A sentence about a picture."""
    noun, other = rng.choice(NOUNS), rng.choice(NOUNS)
    return rng.choice(
        [
            f"A {rng.choice(COLOURS)} {noun} {rng.choice(VERBS)} {rng.choice(PLACES)}.",
            f"{rng.choice(NUMBERS).capitalize()} {noun}s and a {other} {rng.choice(PLACES)}",
            f"The {noun}'s {other} {rng.choice(LONG)} move; it {rng.choice(VERBS)} {rng.choice(PLACES)}.",
            f'A {noun} with the sign "{rng.choice(ODD)}" {rng.choice(PLACES)}.',
            f"A {noun} ({rng.choice(COLOURS)}) {rng.choice(VERBS)}, while a {other} {rng.choice(VERBS)}!",
            f"{rng.choice(UNICODE)}: a {noun} -- {rng.choice(COLOURS)} -- {rng.choice(PLACES)}...",
            f"there is a {noun} that cannot be seen; it's {rng.choice(ODD)}",
        ]
    )


def _captions(rng: Random) -> Iterator[Row]:
    """Two to five captions of a picture; the prediction shares words with them, or is one, or is empty."""
    while True:
        first = caption(rng)
        wanted = [first, *(_reworded(rng, first) for _ in range(rng.choice([1, 2, 4, 4])))]
        said = rng.choice(
            [first, _reworded(rng, first), _reworded(rng, _reworded(rng, first)), caption(rng), perturbed(rng, first)]
        )
        said = rng.choice(["", "...", "a", "a a a a a a a"]) if rng.random() < 0.03 else said
        yield {"prediction": said, "references": wanted}


def _reworded(rng: Random, text: str) -> str:
    words = text.split(" ")
    for _ in range(rng.randint(0, 4)):
        place = rng.randrange(len(words))
        words[place : place + 1] = rng.choice([[], [rng.choice(NOUNS)], [words[place], rng.choice(COLOURS)]]) or ["the"]
    return " ".join(words).lower() if rng.random() < 0.3 else " ".join(words)


_KINDS: dict[str, Callable[[Random], Iterator[Row]]] = {
    "accepted": _accepted,
    "captions": _captions,
    "choice": _choice,
    "circular": _circular,
    "mme": _mme,
    "numbers": _numbers,
    "short": _short,
    "vqa": _vqa,
    "yes_no": _yes_no,
}
