"""The words of captions: Stanford's PTB tokeniser where Java is there, else our own likeness of it.

Source: github.com/salaniz/pycocoevalcap at commit ad63453 (version 1.2 on PyPI), tokenizer/ptbtokenizer.py, which calls
Stanford CoreNLP 3.4.1 and drops punctuation.  We run the jar and drop the signs that come with that package, its
oddity included: brackets stay, as "-lrb-" and "-rrb-", since its list has them in capitals.  Two deviations: whatever
Java takes for the end of a line becomes a space first, where the original then has every later caption's words under
the wrong picture; and text is UTF-8 in any locale.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from mlplora_vlm.errors import MendableError

_LINE_ENDS = re.compile(r"[\n\r\v\f\x85\u2028\u2029]")


def words(captions: Sequence[str]) -> list[str]:
    """Each caption's words in lower case, with single spaces between them and no punctuation; in the order given."""
    lines = tuple(_LINE_ENDS.sub(" ", caption) for caption in captions)
    return list(_by_java(lines)) if java_is_there() else [likeness(line) for line in lines]


def grouped_words(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """The `words` of the predictions, and of each one's references; one call of Java for all of them."""
    found = iter(words([*predictions, *(text for texts in references for text in texts)]))
    return [next(found) for _ in predictions], [[next(found) for _ in texts] for texts in references]


def about() -> dict[str, str]:
    """Which tokeniser there is."""
    if java_is_there():
        return {"tokeniser": "Stanford PTB (CoreNLP 3.4.1, pycocoevalcap)"}
    lacks = "for want of Java or pycocoevalcap: not to be put beside published scores"
    return {"tokeniser": f"a likeness of Stanford's PTB, {lacks}"}


@lru_cache
def java_is_there() -> bool:
    """Whether Java and pycocoevalcap, which brings the jars, are installed."""
    return shutil.which("java") is not None and find_spec("pycocoevalcap") is not None


def jars() -> Path:
    """The folder of pycocoevalcap."""
    spec = find_spec("pycocoevalcap")
    assert spec and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def run_java(arguments: Sequence[str], said: str, folder: Path) -> list[str]:
    """The lines that Java answers to ``said``, in UTF-8; raises MendableError with its last words where it fails."""
    command = ["java", "-Dfile.encoding=UTF-8", *arguments]
    run = subprocess.run(command, input=said.encode("utf-8", "replace"), capture_output=True, cwd=folder)
    if run.returncode:
        raise MendableError(
            f"Java stopped with {run.returncode}: {run.stderr.decode(errors='replace').strip()[-300:]}",
            " ".join(command),
            "check the Java that is first on the PATH: version 8 or later, with 2 GiB of memory to spare",
        )
    return run.stdout.decode().split("\n")


@lru_cache(maxsize=4)  # several metrics ask for the same captions
def _by_java(lines: tuple[str, ...]) -> tuple[str, ...]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

    tokeniser = ["-cp", STANFORD_CORENLP_3_4_1_JAR, "edu.stanford.nlp.process.PTBTokenizer"]
    said = "".join(f"{line}\n" for line in lines)
    found = run_java([*tokeniser, "-preserveLines", "-lowerCase", "-encoding", "UTF-8"], said, jars() / "tokenizer")
    assert len(found) == len(lines) + 1, f"{len(lines)} captions came back as {len(found) - 1}"
    return tuple(" ".join(word for word in line.rstrip().split(" ") if word not in PUNCTUATIONS) for line in found[:-1])


_SPELT = {
    **{"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"},
    **{"cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na", "gimme": "gim me"},
    **{"½": "1/2", "¼": "1/4", "¾": "3/4"},
}
_TOKEN = re.compile(
    r"(?:[^\W\d_]\.){2,}"  # U.S.
    r"|\d+(?:[.,:]\d+)+"  # 1,000 and 3.5
    r"|[^\W_](?:[^\W_]|[\u0300-\u036f]|['’\-/_](?=[^\W_]))*"  # t-shirt, o'clock
    r"|[()\[\]{}½¼¾]|[$£€%#&@+*=<>/\\|~^°]"
)
_CLITIC = re.compile(r"(?<=\w)(n['’]t|['’](?:s|m|d|re|ve|ll))$")


def likeness(caption: str) -> str:
    """Words as Stanford's tokeniser parts them, nearly: clitics ("do n't"), numbers, hyphens, brackets and a few signs.

    Not done: abbreviations by list, ordinals, fractions, web addresses and faces.  docs/agreement.md says how often
    the two differ.
    """
    found: list[str] = []
    for token in _TOKEN.findall(caption.lower()):
        if token in _SPELT:
            found.append(_SPELT[token])
        else:
            clitics: list[str] = []
            while clitic := _CLITIC.search(token):  # could n't 've
                clitics.insert(0, clitic[0].replace("’", "'"))
                token = token[: clitic.start()]
            found += [token, *clitics]
    return " ".join(found)
