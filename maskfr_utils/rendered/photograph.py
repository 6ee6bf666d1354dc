"""The camera of rendered faces: where a point lands in the picture, what each sample sees, what stands behind the head,
and how linear light becomes a photograph with a photograph's flaws.
"""

from dataclasses import dataclass
from statistics import NormalDist

import cv2
import numpy as np

from maskfr_utils.faces.align import FACE_SIZE as SIZE

_FOV = 0.5
SAMPLES = 144  # rendered size, brought down to SIZE at the end
FAR = 400.0  # cm: nothing lies beyond
VIEW = np.eye(4, dtype=np.float32)[:3]  # the rasteriser's: points come in the camera's own coordinates
FOCAL = SIZE / 2 / np.tan(_FOV / 2)  # of the aligned picture, pixels


def _settings(culling: int) -> cv2.TriangleRasterizeSettings:
    return cv2.TriangleRasterizeSettings().setCullingMode(culling).setShadingType(cv2.RASTERIZE_SHADING_SHADED)


ONE_SIDE, BOTH_SIDES = _settings(cv2.RASTERIZE_CULLING_CCW), _settings(cv2.RASTERIZE_CULLING_NONE)
_THREE = np.ones((3, 3), np.uint8)
# From a random byte to a normal number.
_GRAIN = np.float32([NormalDist().inv_cdf((k + 0.5) / 256) for k in range(256)])


@dataclass(frozen=True)
class Camera:
    """A pinhole camera whose picture is the aligned face.

    Attributes:
        distance: from the head's origin, cm.
        alignment: (2, 3) float32, from the picture plane to the aligned picture: part of the projection, so that no pixel is
            resampled.
    """

    distance: float
    alignment: np.ndarray

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (3, n) for `rasterise`, (n, 3) float32: where perspective and alignment put them, at their true depth."""
        # Linear in space, as the depth multiplies x and y again.
        (a, b, x), (c, d, y) = self.alignment - [0, 0, (SIZE - 1) / 2]
        matrix = np.array([[a, -c, 0], [b, -d, 0], [-x, y, FOCAL]]) / FOCAL
        shift = np.float32([x * self.distance / FOCAL, -y * self.distance / FOCAL, -self.distance])
        return points.T @ matrix.astype(np.float32) + shift


def rasterise(
    scene: np.ndarray, triangles: np.ndarray, coordinates: np.ndarray, settings: cv2.TriangleRasterizeSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where in the texture the surface lies that each sample sees, and how far.

    Args:
        scene: (n, 3) float32 vertices, as `Camera.project` gives them.
        triangles: (t, 3) int32, indices of vertices.
        coordinates: (n, 3) float32, column and row of each vertex in the texture, and 0.
        settings: `ONE_SIDE` or `BOTH_SIDES`, of each triangle.

    Returns:
        Column and row, and the depth in cm (`FAR` where there is nothing), each (SAMPLES, SAMPLES) float32.
    """
    where = np.zeros((SAMPLES, SAMPLES, 3), np.float32)
    depth = np.full((SAMPLES, SAMPLES), FAR, np.float32)
    cv2.triangleRasterize(scene, triangles, coordinates, where, depth, VIEW, _FOV, 10.0, FAR, settings)
    return cv2.extractChannel(where, 0), cv2.extractChannel(where, 1), depth


def background(rng: np.random.Generator) -> np.ndarray:
    """A wall with things on it and lamps before it, out of focus: (SAMPLES, SAMPLES, 4) float32, linear; the last channel is
    not used."""
    n, shade = 48, rng.uniform(0.1, 0.8) ** 2

    def colour(spread: float) -> np.ndarray:
        warmth = np.array([1, 0.1, -1]) * rng.normal(0.05, 0.25)
        return shade * np.exp(spread * rng.standard_normal() + warmth + rng.normal(0, 0.06, 3))

    place, (down, across) = np.linspace(-0.5, 0.5, n, dtype=np.float32), rng.normal(0, 0.7, 2)
    wall = (np.exp(down * place[:, None] + across * place)[..., None] * colour(0)).astype(np.float32)
    for _ in range(rng.integers(0, 8)):  # doors, shelves, windows, people
        x, y = rng.uniform(-10, n, 2)
        width, height = rng.uniform(3, 30, 2)
        wall[max(0, int(y)) : int(y + height), max(0, int(x)) : int(x + width)] = colour(0.8)
    for _ in range(rng.poisson(0.7)):
        cv2.circle(wall, rng.integers(0, n, 2).tolist(), int(rng.integers(1, 5)), (4 * colour(0.3)).tolist(), -1)
    wall = cv2.GaussianBlur(wall, (0, 0), rng.uniform(0.8, 5)).clip(0, 1)
    return cv2.resize(cv2.cvtColor(wall, cv2.COLOR_RGB2RGBA), (SAMPLES, SAMPLES), interpolation=cv2.INTER_LINEAR)


def smooth_outlines(picture: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Mix what lies beside a step in depth, which the rasteriser leaves jagged."""
    step = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, _THREE) > 0.8
    edge = cv2.blur(step.astype(np.float32), (3, 3))
    return cv2.blendLinear(cv2.GaussianBlur(picture, (0, 0), 0.9), picture, edge, 1 - edge)


def develop(picture: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """From linear light (SAMPLES, SAMPLES, 4) to a photograph (112, 112, 3) uint8 RGB.

    Exposure, white balance, blur, contrast, grain, JPEG; `strength` scales how much they vary.
    """
    picture = cv2.cvtColor(cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGBA2RGB)
    level = max(float(picture[35:100, 35:77].mean()), 0.02)
    balance = np.exp(rng.normal(0, 0.06 * strength, 3) * [1, 0.4, 1]) * 2 ** rng.normal(0.15, 0.5 * strength)
    picture = cv2.multiply(picture, (*(balance * 0.36 / level**0.65), 0))
    blur = abs(rng.normal(0, 0.45 * strength))
    if blur > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    sharper = float(rng.uniform(0.1, 0.7))  # as cameras make their pictures
    picture = cv2.addWeighted(picture, 1 + sharper, cv2.GaussianBlur(picture, (0, 0), 1.0), -sharper, 0)
    # Tone curve: gamma, then more contrast in the middle, t + contrast t (1 - t) (2 t - 1); from 0 to 255.
    tone = cv2.pow(np.clip(picture, 0, 1, out=picture), 1 / 2.2)
    contrast = float(np.clip(rng.normal(0.6, 0.25 * strength), -0.1, 1.0))
    picture = tone * (-510 * contrast)
    picture += 765 * contrast
    picture *= tone
    picture += 255 * (1 - contrast)
    picture *= tone
    grain = 0.7 + abs(rng.normal(0, 1.8 * strength))
    noise = cv2.LUT(np.frombuffer(rng.bytes(SIZE * SIZE), np.uint8).reshape(SIZE, SIZE), _GRAIN)
    noise = cv2.GaussianBlur(noise, (3, 3), 0.6)  # a sensor's grain is not finer than its colour filter
    noise = cv2.multiply(cv2.merge([noise] * 3), (*(1.6 * grain * np.exp(0.2 * rng.standard_normal(3))), 0))
    picture = cv2.add(picture, noise, dtype=cv2.CV_8U)
    if rng.random() < 0.6:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(50, 96))])[1]
        picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)
    return picture
