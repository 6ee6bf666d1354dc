import pytest
import torch

from maskfr_utils.batches import augment, to_input


@pytest.fixture
def images():
    faces = torch.randint(0, 256, (64, 112, 112, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return to_input(faces)


def draw(images, strength, seed=0):
    return augment(images.clone(), torch.Generator().manual_seed(seed), strength)


def test_input_range_and_order():
    face = torch.zeros(1, 112, 112, 3, dtype=torch.uint8)
    face[..., 0] = 255
    x = to_input(face)
    assert x.shape == (1, 3, 112, 112)
    assert x[0, 0].eq(1).all() and x[0, 1:].eq(-1).all()


def test_without_strength_each_picture_is_itself_or_its_mirror(images):
    drawn = draw(images, 0.0)
    same = (drawn == images).flatten(1).all(1)
    mirrored = (drawn == images.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 15 < mirrored.sum() < 49


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_range_shape_and_seed(images, strength):
    drawn = draw(images, strength)
    assert drawn.shape == images.shape and drawn.dtype == images.dtype
    assert drawn.isfinite().all() and drawn.abs().max() <= 1
    assert torch.equal(drawn, draw(images, strength))
    assert not torch.equal(drawn, draw(images, strength, seed=1))


def test_strength_moves_pictures_further(images):
    smooth = torch.nn.functional.avg_pool2d(images, 9, 1, 4)
    near, far = ((draw(smooth, s) - draw(smooth, 1e-6)).abs().mean() for s in (0.2, 1.0))
    assert 0 < near < far


def test_a_grey_picture_stays_grey(images):
    grey = images.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    drawn = draw(grey, 1.0)
    assert (drawn.amax(1) - drawn.amin(1)).max() < 1e-4
