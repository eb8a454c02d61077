"""Shows the model card that `push` would publish; nothing is sent.

Everything in it comes from the run's result.json; a run that learnt rows by heart has no scores to show.
"""

from __future__ import annotations

import argparse

from recipes.verbs.push import chosen, publish_words

EXAMPLES = """\
  python -m recipes card out/llava_vqa-demo --to me/llava-easy-vqa --what merged > README.md
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``card``."""
    publish_words(parser)


def run(given: argparse.Namespace) -> int:
    """0, with the cards on stdout."""
    recipe = chosen(given)
    from mlplora_vlm.errors import MendableError
    from mlplora_vlm.publish import NOWHERE
    from recipes.publish import proven, write_cards

    if recipe.publish.to == NOWHERE:
        raise MendableError("a card names its repo, and publish.to names none", "publish.to", "say --to namespace/name")
    for text in write_cards(recipe, given.out, proven(recipe, given.out)).values():
        print(text)
    return 0
