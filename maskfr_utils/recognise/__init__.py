"""Naming people, masked or not, in photos: enrol a folder, name a photo, "unknown" where nobody fits.

    >>> gallery = Gallery("runs/mine")
    >>> gallery.enrol("people/")
    >>> gallery.name("party.jpg")[0].name

What it keeps of a photo is an embedding, some hundred numbers by which its person is recognised: biometric data, which in many
places may be kept only with that person's consent. `Gallery.remove` and `Gallery.save` delete it.

- `quality`: the faces of a photo, and what is wrong with each.
- `embedder`: a trained network and its preprocessing, from a run, a file, or arcface_torch's weights.
- `calibration`, `validation`: from a rate of false accepts to a threshold, measured on people set aside.
- `search`: exact search among embeddings; `gallery`: enrolled people; `person`: what they can be called; `files`: the
  gallery on disk.
- `results`: annotated pictures and tables; `compare`: two photos, the embeddings of a folder; `demo`: rendered photos to try.

`python -m maskfr_utils.recognise -h` does the same on the command line.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskfr_utils.recognise.embedder import Embedder, load_embedder
    from maskfr_utils.recognise.gallery import UNKNOWN, Gallery, Match

__all__ = ["UNKNOWN", "Embedder", "Gallery", "Match", "load_embedder"]


def __getattr__(name: str) -> object:
    """What is exported, once it is asked for: torch takes seconds, in which the command would not hear Ctrl-C."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = "embedder" if name in ("Embedder", "load_embedder") else "gallery"
    return getattr(import_module(f"{__name__}.{where}"), name)
