"""What a packed part of the study starts with, as its `run.py`: `python run.py --within SECONDS`; `-h` tells all.

Needs Python 3.11 or later and the libraries that training computes with, nothing else: nothing is installed or fetched.
This file joins the parts where the pack came in parts, checks every file by its hash and hands over to the package.
"""

import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path

BEGAN = time.monotonic()
HERE = Path(__file__).resolve().parent


def damaged(hashes: dict[str, str]) -> list[str]:
    """The files that are missing here, or hold something else than what was packed."""
    found = []
    for name, known in hashes.items():
        try:
            with (HERE / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != known:
                    found.append(name)
        except OSError:
            found.append(name)
    return found


def unpack(parts: dict[str, str]) -> None:
    """Joins the parts, in order, and unpacks them here."""
    if wrong := damaged(parts):
        sys.exit(
            f"run.py: {HERE / wrong[0]} is missing or damaged ({len(wrong)} of {len(parts)} parts are): copy it again"
        )
    with tempfile.TemporaryFile(dir=HERE) as whole:
        for name in parts:
            with (HERE / name).open("rb") as part:
                shutil.copyfileobj(part, whole, 2**20)
        whole.seek(0)
        with tarfile.open(fileobj=whole) as tar:
            tar.extractall(HERE, filter="data")


def find_libraries() -> None:
    """Lets this process and those that it starts find the package, its faces, and Fabric where it is not installed."""
    ours = [str(HERE)]
    try:
        import lightning_fabric  # noqa: F401
    except ImportError:
        ours.append(str(HERE / "vendor"))
    sys.path[:0] = ours
    os.environ["PYTHONPATH"] = os.pathsep.join([*ours, *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["MASKFR_DATA"] = str(HERE / "data")


def main() -> int:
    """The command; returns its exit status."""
    try:
        manifest = json.loads((HERE / "pack.json").read_text(encoding="utf-8"))
        files, parts = manifest["files"], manifest["parts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"run.py: {HERE / 'pack.json'} cannot be used ({error!r:.100}): copy the pack again")
    if parts and damaged(files):
        unpack(parts)
    if wrong := damaged(files):
        sys.exit(
            f"run.py: {HERE / wrong[0]} is missing or was changed, and {len(wrong) - 1} others: copy the pack again"
        )
    (HERE / "book" / "results").mkdir(parents=True, exist_ok=True)
    find_libraries()
    from maskfr_utils.study.within import main as run_within

    return run_within(manifest, began=BEGAN)


if __name__ == "__main__":
    sys.exit(main())
