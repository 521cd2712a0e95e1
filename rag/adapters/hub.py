"""The program that fetches a model from a public repository; the only one that may use a network beyond loopback.

``rag.pull`` starts it in a process of its own, by its path, because importing our package switches networks off. So
it imports nothing of ours. It reads a request on standard input and writes the reply on standard output; progress
bars go to standard error.
"""

from __future__ import annotations

import json
import pathlib
import sys


def fetch(repository: str, revision: str, files: list[str], target: str) -> dict[str, object]:
    """Download the files of ``repository`` that match one of ``files`` into ``target``, at one exact revision.

    Returns that revision. Nothing else is in ``target`` then.
    """
    import fnmatch

    import huggingface_hub

    found = huggingface_hub.HfApi().model_info(repository, revision=revision, timeout=30)
    names = [sibling.rfilename for sibling in found.siblings or []]
    wanted = [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in files)]
    if found.sha is None or not wanted:
        raise LookupError(f"no file of {repository} matches {', '.join(files)}")
    huggingface_hub.snapshot_download(
        repository, revision=found.sha, local_dir=target, allow_patterns=wanted, max_workers=2
    )
    for path in pathlib.Path(target).rglob("*"):
        if path.is_file() and path.relative_to(target).as_posix() not in wanted:
            path.unlink()  # left by a download that was broken off, or the library's own notes
    return {"revision": found.sha}


def main() -> None:
    """Serve one request."""
    request = json.load(sys.stdin)
    try:
        reply = fetch(**request)
    except Exception as error:  # noqa: BLE001  the reply is how this process says that anything went wrong
        reply = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]}
    json.dump(reply, sys.stdout)


if __name__ == "__main__":
    main()
