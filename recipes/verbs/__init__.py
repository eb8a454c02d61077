"""One module a verb of the command line; a verb is added by adding its file here.

Each module has a docstring (its first line is the help, the rest the description), ``EXAMPLES``, a text, and
``arguments(parser)`` and ``run(given) -> exit code``.
"""

from __future__ import annotations

import pkgutil

VERBS: tuple[str, ...] = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
