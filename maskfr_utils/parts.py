"""What a long preparation keeps while it works, so that a killed one goes on where it was.

Each part is some blocks in a row, in a file of its own that appears whole, synced to the disk; the zip's checksums tell a damaged one.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from maskfr_utils.paths import remove_temporaries, replacing
from maskfr_utils.store import FACE_SHAPE
from maskfr_utils.twins import Block

EACH = 32  # blocks a part: some thousand pictures
_TEXTS = ("identities", "sources", "mask_kinds")
_PICTURES = ("images", "masked")


class Parts:
    """The parts of one file that is being made, in a folder beside it.

    Args:
        path: of that file.
        key: stands for all that decides its content; parts of another key are of no use, and are removed.
    """

    def __init__(self, path: Path, key: str):
        self.folder, self.key = path.with_name(f".parts-{path.name}"), key

    def kept(self) -> Iterator[list[Block]]:
        """The parts that are there, from the first on, up to one that is missing or damaged; what lies beyond is removed."""
        remove_temporaries(self.folder, older_than=0)
        start, paths = 0, sorted(self.folder.glob("part-*.npz"))
        for i, path in enumerate(paths):
            blocks = self._read(path) if path == self._path(start) else None
            if blocks is None:
                for left in paths[i:]:
                    left.unlink(missing_ok=True)
                return
            start += len(blocks)
            yield blocks

    def keep(self, start: int, blocks: list[Block]) -> None:
        """Writes the part that begins with block `start`.

        Raises:
            OSError: the disk is full, or cannot be written to.
        """
        with replacing(self._path(start), durable=True) as temporary, temporary.open("wb") as file:
            np.savez(file, **_arrays(blocks, self.key))

    def remove(self) -> None:
        """Removes them all."""
        for path in self.folder.glob("part-*.npz"):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _path(self, start: int) -> Path:
        return self.folder / f"part-{start:09d}.npz"

    def _read(self, path: Path) -> list[Block] | None:
        """The blocks of a part, or None where it is damaged or of another key."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                told = json.loads(str(arrays["told"]))
                return _blocks(dict(arrays), told["blocks"]) if told["key"] == self.key else None
        except Exception:  # damaged zips raise nearly anything
            return None


def _arrays(blocks: list[Block], key: str) -> dict[str, np.ndarray]:
    told = [{"rows": len(block.hashes), "skipped": block.skipped} for block in blocks]
    arrays = {"told": np.array(json.dumps({"key": key, "blocks": told}))}
    for name in blocks[0].columns:
        column = [row for block in blocks for row in block.columns[name]]
        if name in _TEXTS:  # numpy's own texts lose a NUL at the end, and take the room of the longest
            arrays[name] = np.frombuffer(json.dumps(list(map(str, column))).encode(), np.uint8)
        elif name in _PICTURES and column and isinstance(column[0], bytes):
            arrays[name] = np.frombuffer(b"".join(column), np.uint8)
            arrays[f"{name}_lengths"] = np.array(list(map(len, column)), np.int64)
        else:
            arrays[name] = np.concatenate(
                [block.columns[name] for block in blocks if len(block.hashes)] or [np.empty(0)]
            )
    return arrays | {"hashes": np.array([h for block in blocks for h in block.hashes], np.uint64)}


def _blocks(arrays: dict[str, np.ndarray], told: list[dict[str, Any]]) -> list[Block]:
    hashes = arrays.pop("hashes").tolist()
    columns: dict[str, Any] = {name: json.loads(arrays[name].tobytes()) for name in _TEXTS}
    for name in _PICTURES:
        if (lengths := arrays.get(f"{name}_lengths")) is None:
            columns[name] = arrays[name].reshape(-1, *FACE_SHAPE).astype(np.uint8, copy=False)
        else:
            data, ends = arrays[name].tobytes(), np.cumsum(lengths).tolist()
            columns[name] = [data[end - n : end] for end, n in zip(ends, lengths.tolist(), strict=True)]
    columns["landmarks"] = arrays["landmarks"].reshape(-1, 68, 2).astype(np.float32, copy=False)
    columns["masked_ok"] = arrays["masked_ok"].astype(bool, copy=False)
    count = sum(block["rows"] for block in told)
    if {len(column) for column in columns.values()} | {len(hashes)} != {count}:
        raise ValueError("columns of unequal length")
    blocks, row = [], 0
    for block in told:
        rows = slice(row, row := row + block["rows"])
        own = {name: column[rows] for name, column in columns.items()}
        blocks.append(Block(own, hashes[rows], dict(block["skipped"])))
    return blocks
