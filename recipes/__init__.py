"""Recipes: the choices of a run, the chain of its stages, and the command line."""

import logging

# On a CPU bitsandbytes warns at every import that an optional kernel is not installed; nothing here asks for it.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
