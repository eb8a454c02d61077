"""The command line: ``python -m recipes --help``; MLPLORA_DEBUG=1 shows where an error came from."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from mlplora_vlm.errors import MendableError
from recipes.verbs import VERBS


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done; 1: the tuned model does not look at its pictures; 2: a mistake that the user can mend."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)  # overrides may stand before and after options
    if odd := [word for word in rest if word.startswith("-") or "overrides" not in given]:
        parser.error(f"unrecognized arguments: {' '.join(odd)}")
    if "overrides" in given:
        given.overrides += rest
    try:
        return given.verb(given)
    except MendableError as error:
        if os.environ.get("MLPLORA_DEBUG") == "1":
            traceback.print_exception(error)
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    modules = {name: import_module(f"recipes.verbs.{name}") for name in VERBS}
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m recipes",
        description="Fine-tunes vision-language models with MLP-generated LoRA adapters, and proves each step.",
        epilog="examples:\n" + "".join(module.EXAMPLES for module in modules.values()),
        formatter_class=raw,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, module in modules.items():
        text, epilog = str(module.__doc__), f"examples:\n{module.EXAMPLES}"
        one = verbs.add_parser(
            name.replace("_", "-"),
            help=text.partition("\n")[0].rstrip("."),
            description=text,
            epilog=epilog,
            formatter_class=raw,
        )
        module.arguments(one)
        one.set_defaults(verb=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
