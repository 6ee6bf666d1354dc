"""`make pdf` and `make release`, from a clone: what is handed to readers and archives is whole."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from maskfr_utils.paths import ROOT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the repository")
@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_a_release_is_whole(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone], check=True)
    environment = os.environ | {"PYTHONPATH": str(clone)}
    made = subprocess.run(
        ["make", "-o", ".venv/.ready", f"BIN={Path(sys.executable).parent}", f"CHROMIUM={CHROMIUM}", "pdf", "release"],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]

    dist = clone / "dist"
    sums = dict(reversed(line.split("  ")) for line in (dist / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in dist.iterdir() if p.name != "SHA256SUMS"
    }
    (wheel,) = (name for name in sums if name.endswith(".whl"))
    assert sums.keys() == {wheel, "source.tar.gz", "book.zip", "masked_face_recognition.pdf", "CITATION.cff"}

    chapters = {path.stem for path in (ROOT / "notebooks").glob("*.py")}
    with zipfile.ZipFile(dist / "book.zip") as book:
        assert chapters <= {Path(name).stem for name in book.namelist() if name.endswith(".html")}
    tracked = set(subprocess.check_output(["git", "ls-files"], cwd=clone, text=True).splitlines())
    with tarfile.open(dist / "source.tar.gz") as source:
        assert {m.name.removeprefix("masked_face_recognition/") for m in source if m.isfile()} == tracked
    pdf = (dist / "masked_face_recognition.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", pdf)) > 4 * len(chapters)
