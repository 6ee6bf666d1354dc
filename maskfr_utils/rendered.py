"""Rendered faces: the embedded default data, made by the program, with exact landmarks and no download.

A person is a parametric head (`head`) with paint (`skin`). A picture adds pose, expression, light, camera, background
and the flaws of photographs. OpenCV rasterises the head with a depth buffer, at twice the resolution, straight into the
frame of the aligned face; light falls on the vertices, with shadows from a depth map seen by the main light.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from . import head, skin
from .head import COLUMNS, EAR_ROWS, HAIR_ROWS, HEAD_ROWS
from .skin import TEXELS

SIZE = 112
TEMPLATE5 = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
_OVER = 2  # samples a pixel, each way
_FAR = 400.0
_FOV = 0.5
_FOCAL = SIZE / 2 / np.tan(_FOV / 2)  # of the aligned picture, pixels
_CAMERA = np.eye(4, dtype=np.float32)[:3]
_BASE_ROWS = HEAD_ROWS + EAR_ROWS
_PARTS = slice(0, HEAD_ROWS), slice(HEAD_ROWS, _BASE_ROWS), slice(_BASE_ROWS, _BASE_ROWS + HAIR_ROWS)
_BASE_TRIANGLES = np.concatenate(
    [
        head.grid_triangles(HEAD_ROWS).reshape(-1, 3),
        np.delete(head.grid_triangles(EAR_ROWS, HEAD_ROWS), COLUMNS // 2 - 1, axis=1).reshape(-1, 3),  # between the ears
    ]
)


def _rasteriser(culling):
    return cv2.TriangleRasterizeSettings().setCullingMode(culling).setShadingType(cv2.RASTERIZE_SHADING_SHADED)


_ONE_SIDE, _BOTH_SIDES = _rasteriser(cv2.RASTERIZE_CULLING_CCW), _rasteriser(cv2.RASTERIZE_CULLING_NONE)
_column, _row = np.meshgrid(np.arange(COLUMNS, dtype=np.float32), np.arange(_BASE_ROWS + HAIR_ROWS, dtype=np.float32))
# What the rasteriser interpolates over the picture: column and row of the grid, as fractions.
_COORDINATES = np.stack([(_column + 0.5) / COLUMNS, (_row + 0.5) / 256, 0 * _row], -1).reshape(-1, 3)


@dataclass(frozen=True)
class RenderedFaces:
    """A batch of rendered faces.

    Attributes:
        images: (N, 112, 112, 3) uint8 RGB, aligned.
        labels: (N,) int64, the identity of each picture; pictures of one identity follow each other.
        landmarks: (N, 68, 2) float32, exact (x, y) in pixels, iBUG order; the chin may lie just below the picture.
    """

    images: np.ndarray
    labels: np.ndarray
    landmarks: np.ndarray


@dataclass(frozen=True)
class _Person:
    """What stays the same from picture to picture."""

    p: object  # names and values of shape and looks
    shape: np.ndarray  # (rows, COLUMNS, 3) neutral vertices of head, ears, hair
    expressions: np.ndarray  # (6, HEAD_ROWS, COLUMNS, 3)
    occlusion: np.ndarray  # (rows, COLUMNS, 1) share of the ambient light that arrives
    paint: np.ndarray  # head and ears: RGB, gloss
    hair: np.ndarray  # hair: RGB, gloss, opacity
    hair_triangles: np.ndarray


def render_faces(identities: int, per_identity: int, *, seed: int = 0, difficulty: float = 0.5) -> RenderedFaces:
    """Render faces of made-up people.

    Identity i, and picture j of it, look the same however many are asked for.

    Args:
        identities: number of people, at least 1.
        per_identity: pictures of each, at least 1.
        seed: any integer from 0.
        difficulty: from 0 (people differ much, their pictures little) to 1 (the reverse).

    Raises:
        ValueError: an argument out of its range.
    """
    for name, value, low in (("identities", identities, 1), ("per_identity", per_identity, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
            raise ValueError(f"{name} must be an integer of at least {low}, got {value!r}")
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty must lie between 0 and 1, got {difficulty!r}")
    n = identities * per_identity
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    landmarks = np.empty((n, 68, 2), np.float32)
    for i in range(identities):
        person = _make_person(np.random.default_rng([seed, i]), 1.4 - 0.8 * difficulty)
        for k in range(i * per_identity, (i + 1) * per_identity):
            rng = np.random.default_rng([seed, i, k - i * per_identity])
            images[k], landmarks[k] = _render(person, rng, 0.4 + 1.2 * difficulty)
    return RenderedFaces(images, np.repeat(np.arange(identities), per_identity), landmarks)


def _make_person(rng, spread):
    p = head.draw_person(rng, spread)
    face = head.head_shape(p)
    ears = head.ear_shape(p)
    hair, y = head.hair_shape(p, face)
    paint = skin.paint_head(p, rng)
    skin.paint_scalp(paint, p, rng)
    hair_paint = skin.paint_hair(p, rng, y)
    # Hair that is nowhere opaque is not drawn: what lies behind it would be hidden.
    seen = cv2.dilate(hair_paint[..., 4], np.ones((5, 5)))[TEXELS // 2 :: TEXELS, TEXELS // 2 :: TEXELS] > 0.02
    seen = seen[:-1, :-1] & seen[1:, 1:]
    triangles = head.grid_triangles(HAIR_ROWS, _BASE_ROWS)[seen].reshape(-1, 3)
    occlusion = np.concatenate([head.concavity(part, head.normals(part)) for part in (face, ears, hair)])[..., None]
    shape = np.concatenate([face, ears, hair])
    return _Person(p, shape, head.expressions(p), occlusion, paint, hair_paint, triangles)


def _rotation(yaw, pitch, roll):
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(v), np.sin(v)) for v in (yaw, pitch, roll))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    lean = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (lean @ nod @ turn).astype(np.float32)


def _similarity(source, target):
    """The (2, 2) matrix and shift (2,) that bring points closest to target, without shear."""
    z, w = source @ [1, 1j], target @ [1, 1j]
    dz = z - z.mean()
    a = (dz.conj() @ (w - w.mean())) / (dz.conj() @ dz).real
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag], [a.imag, a.real]], np.float32), np.array([b.real, b.imag], np.float32)


def _render(person, rng, strength):
    """One picture (112, 112, 3) and its landmarks (68, 2)."""
    p = person.p
    smile, gap = rng.normal(0.35, 0.4 * strength), max(0.02, rng.normal(-0.1, 0.5 * strength))
    weights = [gap - head.LIP_GAP, smile + rng.normal(0, 0.08), smile + rng.normal(0, 0.08), rng.normal(0, 0.5 * strength)]
    weights += [abs(rng.normal(0, 0.4 * strength)), max(0.0, rng.normal(-0.3, 0.4 * strength))]
    openness = float(np.clip(rng.normal(1.0, 0.13 * strength) - 0.12 * max(smile, 0), 0.45, 1.25))
    vertices = person.shape.copy()
    vertices[:HEAD_ROWS] += np.tensordot(np.array(weights, np.float32), person.expressions, 1)
    yaw, pitch, roll = (rng.normal(0, v * strength) for v in (15, 6, 4))
    turn = _rotation(*np.radians([np.clip(yaw, -35, 35), pitch, roll]))
    vertices = vertices @ turn.T

    # The landmarks' places in the camera's picture decide the alignment, which then becomes part of the projection.
    distance = rng.uniform(45, 130)
    depth = np.float32(distance) - vertices[..., 2:]
    flat = vertices[..., :2] / depth
    points = head.sample(vertices[:HEAD_ROWS], *head.grid_position(*head.landmark_places(p, openness).T))
    points = points[:, :2] / (distance - points[:, 2:])
    five = np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])
    matrix, shift = _similarity(five, TEMPLATE5 + rng.normal(0, 0.6 * strength, (1, 2)))
    landmarks = points @ matrix.T + shift
    scene = np.empty_like(vertices)
    scene[..., :2] = (flat @ matrix.T + (shift - np.float32((SIZE - 1) / 2))) * (depth * np.float32(1 / _FOCAL)) * np.array([1, -1], np.float32)
    scene[..., 2:] = -depth

    light, gleam, facing = _light(person, vertices, rng)
    paint = person.paint.copy()
    skin.paint_picture(paint, p, openness, rng.normal(0, 0.12, 2), gap)
    picture = _background(rng)
    where, far = _rasterise(scene, _BASE_TRIANGLES, _ONE_SIDE)
    colour = paint[..., :3] * _texels(light[:_BASE_ROWS]) + (paint[..., 3] * _texels(gleam[:_BASE_ROWS]))[..., None]
    seen = far < _FAR - 1
    picture[seen] = _look_up(colour, where[seen])
    if len(person.hair_triangles):
        where, near = _rasterise(scene, person.hair_triangles, _BOTH_SIDES)
        where[..., 1] -= _BASE_ROWS / 256
        seen = near < far
        hair = np.empty((HAIR_ROWS * TEXELS, COLUMNS * TEXELS, 4), np.float32)
        hair[..., :3] = person.hair[..., :3] * _texels(light[_BASE_ROWS:]) + (person.hair[..., 3] * _texels(gleam[_BASE_ROWS:]) * 0.3)[..., None]
        hair[..., 3] = person.hair[..., 4] * _texels(facing)
        found = _look_up(hair, where[seen])
        picture[seen] += found[:, 3:] * (found[:, :3] - picture[seen])
    if p.glasses and rng.random() < 0.9:
        lines = head.glasses(p)
        points = np.concatenate(lines) @ turn.T
        depth = np.float32(distance) - points[:, 2]
        xy = (points[:, :2] / depth[:, None]) @ matrix.T + shift
        _draw_glasses(picture, far, xy, depth, [len(line) for line in lines], p, float(light[: HEAD_ROWS // 2].mean()))
    return _develop(picture, rng, strength), landmarks


def _rasterise(scene, triangles, settings):
    n = SIZE * _OVER
    where, depth = np.zeros((n, n, 3), np.float32), np.full((n, n), _FAR, np.float32)
    cv2.triangleRasterize(scene.reshape(-1, 3), triangles, _COORDINATES, where, depth, _CAMERA, _FOV, 10.0, _FAR, settings)
    return where, depth


def _draw_glasses(picture, far, xy, depth, lengths, p, light):
    """Draw frames (lines of points in the aligned picture, with depths) where the head does not hide them, in place."""
    pixel = np.clip((xy * _OVER).astype(int), 0, len(far) - 1)
    free = depth < far[pixel[:, 1], pixel[:, 0]] + 0.3
    ink = np.zeros(far.shape, np.uint8)
    width = max(1, round(p.lens[3] * 5.6 * _OVER))
    at = np.round(((xy + 0.5) * _OVER - 0.5) * 16).astype(np.int32)  # in sixteenths of a sample
    start = 0
    for n in lengths:
        for i in range(start, start + n - 1):
            if free[i] and free[i + 1]:
                cv2.line(ink, at[i], at[i + 1], 255, width, cv2.LINE_AA, 4)
        start += n
    rows = slice(*np.flatnonzero(ink.any(1))[[0, -1]] + [0, 1]) if ink.any() else slice(0, 0)
    weight = ink[rows, :, None] * np.float32(1 / 255)
    picture[rows] += weight * (np.float32(p.frame) * np.float32(light) - picture[rows])


def _texels(grid):
    """A grid of values at the resolution of the paint."""
    return cv2.resize(grid, (COLUMNS * TEXELS, len(grid) * TEXELS), interpolation=cv2.INTER_LINEAR)


def _look_up(texture, where):
    """Values (n, k) of a texture at n positions; OpenCV wants them in rows of no more than 2^15."""
    uv = np.zeros((-(-len(where) // 256), 256, 2), np.float32)
    uv.reshape(-1, 2)[: len(where)] = where[:, :2] * np.float32([COLUMNS * TEXELS, 256 * TEXELS]) - np.float32(0.5)
    values = cv2.remap(texture, uv, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(-1, texture.shape[2])[: len(where)]


def _light(person, vertices, rng):
    """Light (rows, columns, 3) and gleam (rows, columns) on every vertex, and how solid the hair's rim looks."""
    n = np.concatenate([head.normals(vertices[part]) for part in _PARTS])
    sky, ground = rng.uniform(0.15, 0.45), rng.uniform(0.08, 0.25)
    tint = (1 + rng.normal(0, 0.06) * np.array([1, 0, -1])).astype(np.float32)
    up = np.float32(0.5) - np.float32(0.5) * n[..., 1:2]
    light = person.occlusion * (np.float32(ground) + np.float32(sky - ground) * up) * tint
    gleam = np.zeros(n.shape[:2], np.float32)
    for k in range(rng.integers(1, 4)):
        side, height = rng.normal(0, 0.7), rng.normal(0.4, 0.35)
        d = np.array([np.sin(side) * np.cos(height), -np.sin(height), np.cos(side) * np.cos(height)], np.float32)
        power = rng.uniform(0.45, 0.9) if k == 0 else rng.uniform(0.05, 0.35)
        tint = (power * (1 + rng.normal(0, 0.08) * np.array([1, 0, -1]))).astype(np.float32)
        lit = _shadow(vertices, person.hair_triangles, d) if k == 0 else np.float32(1)
        # Light bleeds under the skin, the red most: the terminator is soft and warm.
        cos = (n @ d)[..., None]
        wrap = np.array([0.28, 0.14, 0.10], np.float32)
        light += tint * lit * np.clip((cos + wrap) / (1 + wrap), 0, None)
        half = d + np.array([0, 0, 1], np.float32)
        shine = np.clip(n @ (half / np.linalg.norm(half)), 0, None) ** 2
        shine *= shine
        shine *= shine
        gleam += np.float32(power) * shine * shine * (lit if k else lit[..., 0])
    facing = np.abs(n[_PARTS[2]][..., 2])
    return light, gleam, head.ramp(0.0, 0.15, facing)


def _shadow(vertices, hair_triangles, d):
    """Share (rows, columns, 1) of a far light from direction `d` that reaches each vertex."""
    side = np.array([d[2], 0, -d[0]], np.float32)
    side /= np.linalg.norm(side)
    frame = np.stack([side, np.cross(d, side), d]).astype(np.float32)
    seen = vertices @ frame.T
    n, away, fov = 64, 300.0, 0.1
    seen[..., 2] -= away
    depth = np.full((n, n), _FAR, np.float32)
    triangles = np.concatenate([_BASE_TRIANGLES, hair_triangles]) if len(hair_triangles) else _BASE_TRIANGLES
    cv2.triangleRasterizeDepth(seen.reshape(-1, 3), triangles, depth, _CAMERA, fov, 100.0, _FAR, _BOTH_SIDES)
    scale = np.float32(n / 2 / np.tan(fov / 2)) / -seen[..., 2]
    u, v = seen[..., 0] * scale + (n - 1) / 2, (n - 1) / 2 - seen[..., 1] * scale
    nearest = cv2.remap(depth, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_FAR)
    lit = head.ramp(0.9, 0.4, -seen[..., 2] - nearest)
    for part in _PARTS:
        lit[part] = cv2.blur(lit[part], (5, 5))
    return lit[..., None]


def _background(rng):
    """A blurred room or view (n, n, 3), linear."""
    n = SIZE * _OVER
    cells = rng.integers(2, 7, 2)
    grey = rng.uniform(0.02, 0.7) ** 1.3
    small = grey * np.exp(0.5 * rng.standard_normal((*cells, 1)) + 0.15 * rng.standard_normal((*cells, 3)))
    small = small * np.exp(0.2 * rng.standard_normal(3))
    mode = cv2.INTER_CUBIC if rng.random() < 0.6 else cv2.INTER_AREA
    picture = cv2.resize(small.astype(np.float32), (n, n), interpolation=mode)
    return np.clip(cv2.blur(picture, (9, 9)), 0, 1)


def _develop(picture, rng, strength):
    """From linear light to a photograph (112, 112, 3) uint8: exposure, white balance, blur, grain, compression."""
    picture = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    level = float(picture[35:100, 35:77].mean())
    balance = np.exp(rng.normal(0, 0.07 * strength, 3) * [1, 0.4, 1]) * 2 ** rng.normal(0, 0.35 * strength) * 0.36 / max(level, 0.02) ** 0.65
    picture *= balance.astype(np.float32)
    blur = abs(rng.normal(0, 0.6 * strength))
    if blur > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    picture = np.clip(picture, 0, 1) ** np.float32(1 / 2.2)
    curve = np.float32(np.clip(rng.normal(0.35, 0.25 * strength), -0.2, 0.9))  # contrast
    picture = 255 * (picture + curve * picture * (1 - picture) * (2 * picture - 1))
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(0.7 + abs(rng.normal(0, 2.5 * strength)))
    picture = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        quality = int(rng.uniform(50, 96))
        picture = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return picture
