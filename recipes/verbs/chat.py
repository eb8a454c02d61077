"""Talks with a model about pictures, in the terminal; with two models, such as base and tuned, side by side.

Show a picture with /picture PATH, or drop the file on the terminal; then ask, and ask on: each model remembers its own
answers.  What is piped in is read line by line, so a conversation can be kept in a file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from eval_harness.models import WORDS
from mlplora_vlm.errors import MendableError, did_you_mean
from recipes.model_words import loaded, model_options

if TYPE_CHECKING:
    from rich.console import Console

    from eval_harness.chat import Talk

EXAMPLES = """\
  python -m recipes chat out/llava_vqa-demo/merged
  python -m recipes chat demo/llava-smollm2-135m out/llava_vqa-demo/adapter
  printf '/picture cat.png\\nwhat is this?\\n' | python -m recipes chat http://localhost:8000/v1#llava
"""
HELP = """\
/picture PATH   shows a picture; it goes before the next question (so does a picture's path at a line's start)
/reset          forgets the pictures and the conversation
/help           this
/quit           ends (Ctrl-D too)
anything else is asked"""
COMMANDS = ("/picture", "/reset", "/help", "/quit")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``chat``."""
    parser.add_argument("model", metavar="MODEL", help=WORDS)
    parser.add_argument("other", nargs="?", metavar="MODEL2", help="a second one, asked the same")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="the longest answer (%(default)s)")
    model_options(parser)


def run(given: argparse.Namespace) -> int:
    """0 where all went well; 2 where input that is piped in could not all be done."""
    from rich.console import Console

    from eval_harness.chat import Talk

    if given.max_new_tokens < 1:
        raise MendableError("it must be at least 1", "--max-new-tokens", "leave it out")
    with ExitStack() as models:
        answerers = [models.enter_context(loaded(word, given)) for word in (given.model, given.other) if word]
        return _talked(Talk(answerers, given.max_new_tokens), Console(highlight=False, markup=False, emoji=False))


def _talked(talk: Talk, console: Console) -> int:
    failed = False
    if sys.stdin.isatty():
        console.print(" and ".join(each.name for each in talk.answerers), style="bold")
        console.print(HELP, style="dim")
    for line in _lines():
        try:
            if not _done(line.strip(), talk, console):
                break
        except MendableError as error:
            console.print(str(error), style="red")
            failed = True
        except KeyboardInterrupt:  # of an answer that takes too long; at the prompt it ends the talk
            console.print("stopped", style="dim")
    return 2 if failed and not sys.stdin.isatty() else 0


def _lines() -> Iterator[str]:
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    import readline  # noqa: F401 - lines can be edited, and earlier ones be had again

    while True:
        try:
            yield input("> ")
        except EOFError:
            return


def _done(line: str, talk: Talk, console: Console) -> bool:
    """Does what the line says; False where it ends the talk."""
    from eval_harness.chat import dropped, named

    word, _, rest = line.partition(" ")
    if word == "/quit":
        return False
    if word == "/help":
        console.print(HELP)
    elif word == "/reset":
        talk.reset()
        console.print("nothing was shown or said", style="dim")
    elif word == "/picture":
        _show([named(rest)], talk, console)
    else:
        pictures, question = dropped(line)
        _show(pictures, talk, console)
        if question.startswith("/") and not pictures:
            fix = f"one of: {', '.join(COMMANDS)}; a question may begin with a space and another word"
            raise MendableError(f"there is no command {word!r:.80}{did_you_mean(word, COMMANDS)}", "chat", fix)
        if question:
            _answered(talk, question, console)
    return True


def _show(pictures: list[Path], talk: Talk, console: Console) -> None:
    for path in pictures:
        width, height = talk.show(path)
        console.print(f"[{path.name}, {width} x {height} pixels]", style="dim")


def _answered(talk: Talk, question: str, console: Console) -> None:
    from eval_harness.chat import printable

    answers = [printable(answer) for answer in talk.ask(question)]
    if len(answers) == 1:
        console.print(answers[0])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(expand=True)
    for answerer in talk.answerers:
        table.add_column(Text(printable(answerer.name)), ratio=1, overflow="fold")
    table.add_row(*map(Text, answers))
    console.print(table)
