"""The random numbers of a mask, by name. They hang on the seed and the picture alone, whatever batch it comes in."""

import hashlib

import numpy as np

# The order is what ties a mask to its seed: a new number takes its room from "spare", none moves.
DRAW = np.dtype(
    [
        ("style", "f8"),
        ("colour", "f8"),
        ("pattern", "f8"),
        ("second_colour", "f8"),
        ("variant", "f8"),  # of the pattern, of the maker's print
        ("valve", "f8"),
        ("wear", "f8"),
        ("straps", "f8"),
        ("folds", "f8"),
        ("height", "f8"),
        ("exposure", "f8"),
        ("cast", "f8", 3),  # of red, green, blue
        ("unused", "f8"),
        ("grain", "f8"),
        ("put_on", "f8", (2, 4)),  # two each, added: to the right, down, turned, longer
        ("spare", "f8", 8),
    ]
)


def draw(seed: int, pictures: list[int]) -> np.ndarray:
    """(n,) of `DRAW`, numbers in [0, 1) in steps of 2**-16, from the seed and the pictures' checksums."""
    key = str(int(seed)).encode()
    digests = b"".join(hashlib.blake2b(key + b"/%d" % picture).digest() for picture in pictures)
    return (np.frombuffer(digests, "<u2").reshape(-1, 32) / 2.0**16).view(DRAW)[:, 0]
