"""Runs a command beside the tests' hub: ``python tests/recipes/beside_hub.py COMMAND …``.

The command has that hub as its own, an empty cache of what came from it, and a token; then what the hub holds is
listed.  So ``python -m recipes push`` can be tried on nobody.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile

from hub_server import TOKEN, serve


def main(command: list[str]) -> int:
    """Runs the command beside a hub of its own; returns its exit status."""
    with serve() as hub, tempfile.TemporaryDirectory() as home:
        own = {"HF_ENDPOINT": hub.address, "HF_HOME": home, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        status = subprocess.run(command, env=os.environ | own, check=False).returncode
        for name, repo in hub.repos.items():
            print(f"{name} ({'private' if repo.private else 'public'})")
            for path, content in sorted(hub.files(name).items()):
                print(f"  {path}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()[:12]}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
