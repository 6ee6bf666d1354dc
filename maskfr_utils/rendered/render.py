"""Rendered faces: the embedded default data, made by the program, with exact landmarks and no download.

A person (`person`) has a parametric head (`head`) and paint on it (`skin`). A picture adds expression, pose and light, and
what a camera does (`photograph`): projection, background, the flaws of photographs. OpenCV rasterises the head with a
depth buffer, straight into the frame of the aligned face; light falls on the vertices, with shadows from a depth map seen
by the main light.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import cv2
import numpy as np

from maskfr_utils.faces.align import FACE_SIZE as SIZE
from maskfr_utils.faces.align import TEMPLATE5, five_points, similarity
from maskfr_utils.rendered import head, skin
from maskfr_utils.rendered.checksums import checksum
from maskfr_utils.rendered.head import COLUMNS, EAR_ROWS, HAIR_ROWS, HEAD_ROWS
from maskfr_utils.rendered.person import draw_person
from maskfr_utils.rendered.photograph import (
    BOTH_SIDES,
    FAR,
    FOCAL,
    ONE_SIDE,
    SAMPLES,
    VIEW,
    Camera,
    background,
    develop,
    rasterise,
    smooth_outlines,
)
from maskfr_utils.rendered.skin import TEXELS

_BASE_ROWS = HEAD_ROWS + EAR_ROWS
_HEAD, _EARS, _HAIR = slice(HEAD_ROWS), slice(HEAD_ROWS, _BASE_ROWS), slice(_BASE_ROWS, _BASE_ROWS + HAIR_ROWS)


# The picture shows a coarser grid than light and paint have: every other row but at the mouth, every other column but in
# the middle, where an ear's ring closes too.
_SHOWN = np.r_[0:52:2, 52:68, 68:HEAD_ROWS:2, HEAD_ROWS - 1]
_ACROSS = np.r_[0 : COLUMNS // 2 : 2, COLUMNS // 2 - 1, COLUMNS // 2, COLUMNS // 2 + 1 : COLUMNS : 2]
_VISIBLE = np.abs(head.ANGLE[0, _ACROSS[:-1]]) < 2.3  # not the back of the head
_HALF = HEAD_ROWS // 2, COLUMNS // 2  # shadows are cast by, and fall on, every other vertex


def _shown(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the vertices that the rasteriser gets of some rows, and what it interpolates: (column, row) of texels."""
    row, column = np.meshgrid(rows, _ACROSS, indexing="ij")
    where = [(column + 0.5) * TEXELS - 0.5, (row - rows[0] + 0.5) * TEXELS - 0.5, 0 * row]
    return (row * COLUMNS + column).ravel(), np.stack(where, -1).reshape(-1, 3).astype(np.float32)


def _triangles() -> np.ndarray:
    """Triangles of head and ears that a picture may show: not the back of the head, nor between the ears."""
    columns = len(_ACROSS)
    ears = np.delete(head.cells(EAR_ROWS, columns) + len(_SHOWN) * columns, columns // 2 - 1, axis=1)
    return np.concatenate([head.cells(len(_SHOWN), columns)[:, _VISIBLE].reshape(-1, 3), ears.reshape(-1, 3)])


_TRIANGLES = _triangles()
_HEAD_VERTICES, _HEAD_COORDINATES = _shown(np.r_[_SHOWN, HEAD_ROWS:_BASE_ROWS])
_HAIR_VERTICES, _HAIR_COORDINATES = _shown(np.arange(_BASE_ROWS, _BASE_ROWS + HAIR_ROWS))
_GAP = np.ones((11, 11), np.uint8)
# Loose hairs, about 1: pictures show pieces of it.
_LOOSE = np.random.default_rng(0).standard_normal((208, 208), np.float32)
_LOOSE = 1 + 0.6 * cv2.GaussianBlur(_LOOSE, (0, 0), 0.7, sigmaY=2.0)


@dataclass(frozen=True)
class RenderedFaces:
    """A batch of rendered faces.

    Attributes:
        images: (N, 112, 112, 3) uint8 RGB, aligned.
        labels: (N,) int64, the identity of each picture; pictures of one identity follow each other.
        landmarks: (N, 68, 2) float32, exact (x, y) in pixels, iBUG order; the chin may lie just below the picture.
        checksums: (N,) uint32, by which masks are drawn: those of the pictures, or those that `checksums` keeps.
    """

    images: np.ndarray
    labels: np.ndarray
    landmarks: np.ndarray
    checksums: np.ndarray


@dataclass(frozen=True)
class _Person:
    """What stays the same from picture to picture; surfaces of head, ears and hair one below the other."""

    p: SimpleNamespace
    shape: np.ndarray  # (3, rows, COLUMNS) without expression
    expressions: np.ndarray  # (6, 3 * HEAD_ROWS * COLUMNS)
    occlusion: np.ndarray  # (rows, COLUMNS)
    places: np.ndarray  # (2, 2, 68) x and y of the landmarks, eyes shut and open
    paint: np.ndarray  # (4, ...) of head and ears
    paint_picture: Callable  # into `paint`
    hair: np.ndarray  # (5, ...) paint
    hair_triangles: np.ndarray
    frame: list[np.ndarray]  # of glasses, lines of points (n, 3)
    casters: np.ndarray  # triangles that cast shadows


def check_arguments(identities: int, per_identity: int, seed: int, difficulty: float) -> None:
    """Refuses what `render_faces` cannot draw (ValueError)."""
    for name, value, low in (("identities", identities, 1), ("per_identity", per_identity, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
            raise ValueError(f"{name} must be an integer of at least {low}, got {value!r}")
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty must lie between 0 and 1, got {difficulty!r}")


def render_faces(
    identities: int, per_identity: int, *, seed: int = 0, difficulty: float = 0.5, first: int = 0
) -> RenderedFaces:
    """Render faces of made-up people.

    Identity i, and picture j of it, look the same however many are asked for.

    Args:
        identities: number of people, at least 1.
        per_identity: pictures of each, at least 1.
        seed: any integer from 0.
        difficulty: from 0 (people differ much, the pictures of one little) to 1 (the reverse).
        first: the identity to begin with.

    Raises:
        ValueError: an argument out of its range.
    """
    check_arguments(identities, per_identity, seed, difficulty)
    images = np.empty((identities * per_identity, SIZE, SIZE, 3), np.uint8)
    landmarks = np.empty((len(images), 68, 2), np.float32)
    checksums = np.empty(len(images), np.uint32)
    labels = np.repeat(np.arange(first, first + identities, dtype=np.int64), per_identity)
    for i in range(identities):
        person = _make_person(_generator(seed, first + i), 1.4 - 0.8 * difficulty)
        for j in range(per_identity):
            k = i * per_identity + j
            images[k], landmarks[k] = _render(person, _generator(seed, first + i, j), 5 ** (difficulty - 0.5))
            checksums[k] = checksum(images[k], seed, difficulty, first + i, j)
    return RenderedFaces(images, labels, landmarks, checksums)


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _make_person(rng: np.random.Generator, spread: float) -> _Person:
    p = draw_person(rng, spread)
    face = head.head_shape(p)
    hair, y = head.hair_shape(p, face)
    parts = face, head.ear_shape(p), hair
    paint, hair_paint = skin.paint_head(p, rng), skin.paint_hair(p, rng, y)
    # Hair that is nowhere opaque is left out: it would hide the hair behind it, and cast a shadow.
    seen = cv2.dilate(hair_paint[4], np.ones((5, 5)))[TEXELS // 2 :: TEXELS, TEXELS // 2 :: TEXELS] > 0.02
    shown = seen[:, _ACROSS]
    casters = head.cells(HAIR_ROWS // 2, COLUMNS // 2)[seen[:-2:2, :-2:2] & seen[2::2, 2::2]] + np.prod(_HALF)
    return _Person(
        p,
        np.concatenate(parts, 1),
        head.expressions(p).reshape(6, -1),
        np.concatenate([head.occlusion(part, head.normals(part)) for part in parts]),
        np.stack([head.landmark_places(p, openness).T for openness in (0, 1)]),
        paint,
        skin.eyes_and_mouth(paint, p),
        hair_paint,
        head.cells(HAIR_ROWS, len(_ACROSS))[shown[:-1, :-1] & shown[1:, 1:]].reshape(-1, 3),
        head.glasses(p),
        np.concatenate([head.cells(*_HALF).reshape(-1, 3), casters.reshape(-1, 3)]).astype(np.int32),
    )


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    angles = np.radians([yaw, pitch, roll])
    (cy, cp, cr), (sy, sp, sr) = np.cos(angles), np.sin(angles)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (lean @ nod @ turn).astype(np.float32)


def _render(person: _Person, rng: np.random.Generator, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """One picture (112, 112, 3) and its landmarks (68, 2)."""
    p = person.p
    vertices, turn, openness, gap = _pose(person, rng, strength)
    camera, landmarks = _aim(person, vertices, openness, rng, strength)
    light = _light(person, vertices, rng)
    flat = vertices.reshape(3, -1)
    person.paint_picture(openness, rng.normal(0, 0.12, 2), gap)
    u, v, far = rasterise(camera.project(flat[:, _HEAD_VERTICES]), _TRIANGLES, _HEAD_COORDINATES, ONE_SIDE)
    picture = background(rng)
    seen = (far <= FAR - 1).view(np.uint8)
    cv2.copyTo(_look_up(_lit(person.paint, light[:, :_BASE_ROWS]), u, v), seen, picture)
    if len(person.hair_triangles):
        picture = _add_hair(picture, far, person, camera.project(flat[:, _HAIR_VERTICES]), light[:, _HAIR], rng)
    if p.glasses and rng.random() < 0.9:
        points = camera.project(turn @ np.concatenate(person.frame).T)
        lines = np.split(points, np.cumsum([len(line) for line in person.frame[:-1]]))
        _draw_glasses(picture, far, lines, p, float(light[:3, : HEAD_ROWS // 2].mean()))
    return develop(smooth_outlines(picture, far), rng, strength), landmarks


def _pose(person: _Person, rng: np.random.Generator, strength: float) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Vertices of the head with an expression, turned; the turn (3, 3), how open the eyes are, the gap between the lips."""
    smile, gap = rng.normal(0.35, 0.4 * strength), max(0.02, rng.normal(-0.1, 0.5 * strength))
    smiles = smile + rng.normal(0, 0.08, 2)
    brows, frown, pursed = [0, 0, -0.3] + np.array([0.5, 0.4, 0.4]) * strength * rng.standard_normal(3)
    weights = np.float32([gap - head.LIP_GAP, *smiles, brows, abs(frown), max(0.0, pursed)])
    openness = float(np.clip(rng.normal(1.0, 0.13 * strength) - 0.12 * max(smile, 0), 0.45, 1.25))
    vertices = person.shape.copy()
    vertices[:, _HEAD] += (weights @ person.expressions).reshape(3, HEAD_ROWS, COLUMNS)
    yaw, pitch, roll = (rng.normal(0, v * strength) for v in (15, 6, 4))
    turn = _rotation(min(max(yaw, -35), 35), pitch, roll)
    return (turn @ vertices.reshape(3, -1)).reshape(vertices.shape), turn, openness, gap


def _aim(
    person: _Person, vertices: np.ndarray, openness: float, rng: np.random.Generator, strength: float
) -> tuple[Camera, np.ndarray]:
    """A camera whose picture is aligned, and the landmarks (68, 2) in it: their places in space decide the alignment."""
    distance = rng.uniform(80, 240)
    shut, wide = person.places  # linear in between, as the lids are
    points = head.sample(vertices[:, _HEAD], *head.grid_position(*(shut + openness * (wide - shut))))
    points = (points[:2] / (distance - points[2])).T
    aligned = similarity(five_points(points), TEMPLATE5 + rng.normal(0, 0.6 * strength, 2)).astype(np.float32)
    return Camera(distance, aligned), points @ aligned[:, :2].T + aligned[:, 2]


def _add_hair(
    picture: np.ndarray,
    far: np.ndarray,
    person: _Person,
    scene: np.ndarray,
    light: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """The picture with hair (vertices `scene`) before it; `far` becomes nearer where the hair is solid."""
    free = far > FAR - 1
    sides = BOTH_SIDES if person.p.hair_end > 9 else ONE_SIDE  # long hair shows its inner side beside the neck
    u, v, near = rasterise(scene, person.hair_triangles, _HAIR_COORDINATES, sides)
    colour = _look_up(_lit(person.hair, light), u, v)
    # A shell is not a mass of hair: before the background, thin hair counts for more, and gaps beside the head close.
    opacity = cv2.extractChannel(colour, 3)
    opacity = np.minimum(opacity * np.where(free, np.float32(3), np.float32(1)), 1) * (near < far)
    solid = opacity > 0.5
    hairy = solid.view(np.uint8)
    closed = cv2.dilate(hairy | ~free, _GAP)
    closed = cv2.erode(closed, _GAP, borderType=cv2.BORDER_CONSTANT, borderValue=0) & cv2.dilate(hairy, _GAP)
    picture[closed.view(bool) & free, :3] = 0.3 * light[:3].mean((1, 2)) * skin.hair_colour(person.p).ravel()
    picture = cv2.blendLinear(colour, picture, opacity, 1 - opacity)
    np.copyto(far, near, where=solid)
    return _fray(picture, colour, opacity, free & ~solid, rng)


def _lit(paint: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Paint (4 or 5, ...) under light and gleam (4, rows, COLUMNS): (..., 4), colours and what the last plane of paint holds."""
    colour = [cv2.resize(plane, paint.shape[:0:-1], interpolation=cv2.INTER_LINEAR) for plane in light]
    gleam = colour.pop()
    gleam *= paint[3]
    for plane, reflectance in zip(colour, paint[:3], strict=True):
        plane *= reflectance
        plane += gleam
    return cv2.merge([*colour, paint[-1]])


def _look_up(texture: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The texture (rows, columns, k) at positions (n, n), as (n, n, k)."""
    return cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _light(person: _Person, vertices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light and gleam (4, rows, COLUMNS) on every vertex."""
    n = head.normals(vertices, (_HEAD, _EARS, _HAIR))
    shape = n.shape[1:]
    n = n.reshape(3, -1)
    sky, ground = rng.uniform(0.12, 0.36), rng.uniform(0.05, 0.2)
    around = person.occlusion.reshape(-1) * (np.float32((sky + ground) / 2) - np.float32((sky - ground) / 2) * n[1])
    out = np.empty((4, *shape), np.float32)
    light, gleam = out[:3].reshape(3, -1), out[3].reshape(-1)
    light[:], gleam[:] = around * _tint(rng, 0.06), 0
    wrap = np.float32([[0.34], [0.20], [0.15]])  # light bleeds under the skin, red most: soft and warm where it ends
    for k in range(rng.integers(1, 4)):
        side, height = rng.normal(0, 0.7), rng.normal(0.4, 0.35)
        d = np.float32([np.sin(side) * np.cos(height), -np.sin(height), np.cos(side) * np.cos(height)])
        power = np.float32(rng.uniform(0.5, 1.1) if k == 0 else rng.uniform(0.05, 0.35))
        lit = power * _shadow(vertices, person.casters, d).reshape(-1) if k == 0 else power
        light += _tint(rng, 0.07) / (1 + wrap) * (lit * np.maximum(d @ n + wrap, 0))
        half = d + np.float32([0, 0, 1])
        shine = np.maximum(half / np.linalg.norm(half) @ n, 0)
        for _ in range(4):
            shine *= shine
        gleam += lit * shine
    for plane in out[:3, _HEAD]:  # light wanders under the skin
        cv2.GaussianBlur(plane, (0, 0), 0.8, dst=plane)
    return out


def _tint(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """A colour (3, 1) of light, warm or cold."""
    return np.float32(1 + rng.normal(0, sigma) * np.array([[1], [0], [-1]]))


def _shadow(vertices: np.ndarray, casters: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Share (rows, COLUMNS) of a far light from direction `d` that reaches each vertex."""
    side = np.array([d[2], 0, -d[0]]) / np.hypot(d[0], d[2])
    down = [-side[2] * d[1], side[2] * d[0] - side[0] * d[2], side[0] * d[1]]  # side x d
    points = np.concatenate([vertices[:, :HEAD_ROWS:2, ::2], vertices[:, _BASE_ROWS::2, ::2]], 1)
    x, y, z = np.float32([side, down, d]) @ points.reshape(3, -1)
    n, away, fov = 64, np.float32(300), 0.1  # from so far that rays are nearly parallel
    z = away - z
    depth = np.full((n, n), FAR, np.float32)
    scene = np.stack([x, y, -z], 1)
    cv2.triangleRasterizeDepth(scene, casters, depth, VIEW, fov, 100.0, FAR, ONE_SIDE)
    scale = np.float32(n / 2 / np.tan(fov / 2)) / z
    u, v = x * scale + np.float32(n / 2 - 0.5), np.float32(n / 2 - 0.5) - y * scale
    nearest = cv2.remap(depth, u[None], v[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    lit = head.ramp(0.9, 0.4, z - nearest).reshape(-1, COLUMNS // 2)
    out = np.ones(vertices.shape[1:], np.float32)
    for part, rows in (_HEAD, lit[: HEAD_ROWS // 2]), (_HAIR, lit[HEAD_ROWS // 2 :]):
        out[part] = cv2.resize(cv2.blur(rows, (3, 3)), (COLUMNS, 2 * len(rows)), interpolation=cv2.INTER_LINEAR)
    return out


def _draw_glasses(
    picture: np.ndarray, far: np.ndarray, lines: list[np.ndarray], p: SimpleNamespace, light: float
) -> None:
    """Draw frames (lines of projected points) where the head does not hide them, in place."""
    scale = SAMPLES / SIZE
    ink = np.zeros(far.shape, np.uint8)
    pieces = []
    for line in lines:
        at = line[:, :2] / -line[:, 2:] * [FOCAL * scale, -FOCAL * scale] + (SAMPLES - 1) / 2
        column, row = np.clip(at.round().astype(int), 0, SAMPLES - 1).T
        free = -line[:, 2] < far[row, column] + 0.3
        at = (at * 16).round().astype(np.int32)  # OpenCV draws in sixteenths
        pieces.extend(np.stack([at[:-1], at[1:]], 1)[free[:-1] & free[1:]])
    cv2.polylines(ink, pieces, False, 255, max(1, round(p.rim * 5.6 * scale)), cv2.LINE_AA, 4)
    picture[..., :3] += ink[..., None] * np.float32(1 / 255) * (np.float32(p.frame * light) - picture[..., :3])


def _fray(
    picture: np.ndarray, colour: np.ndarray, opacity: np.ndarray, free: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The picture with loose hairs beyond the hair's outline, before the background (`free`) only."""
    row, column = rng.integers(0, len(_LOOSE) - SAMPLES, 2)
    loose = _LOOSE[row : row + SAMPLES, column : column + SAMPLES]
    weight = head.ramp(0.2, 0.75, cv2.blur(opacity, (7, 7)) * loose) * free
    return cv2.blendLinear(cv2.blur(colour, (7, 7)), picture, weight, 1 - weight)
