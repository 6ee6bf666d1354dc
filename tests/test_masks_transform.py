"""Masks as a torchvision transform: kinds of input, chance, loader workers, what is refused."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from maskfr_utils import masks
from maskfr_utils.rendered import render_faces

RED = masks.Style("inpaint", colours={"#ff0000": 1})


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    return torch.from_numpy(render_faces(3, 2, seed=3).images).permute(0, 3, 1, 2)


def red_mouths(images: torch.Tensor) -> torch.Tensor:
    """Whether the middle of the mouth, as aligned faces have it, is pure red: (...,) of (..., 3, 112, 112)."""
    return (images[..., 90, 56] == torch.tensor([255, 0, 0])).all(-1)


def test_every_kind_of_input_comes_back_as_it_came(faces):
    transform = masks.RandomVirtualMask(RED)
    batches = faces.view(2, 3, 3, 112, 112)
    for given in (faces[0], faces, batches, tv_tensors.Image(faces), tv_tensors.Video(batches)):
        before = given.clone()
        got = transform(given)
        assert type(got) is type(given) and got.shape == given.shape and got.dtype == torch.uint8
        assert red_mouths(got.as_subclass(torch.Tensor)).all()
        assert torch.equal(given, before)
    picture = transform(Image.fromarray(faces[0].permute(1, 2, 0).numpy()))
    assert picture.mode == "RGB" and picture.getpixel((56, 90)) == (255, 0, 0)
    assert transform(faces[:0]).shape == (0, 3, 112, 112)


def test_in_a_composition_with_labels(faces):
    chain = v2.Compose(
        [masks.RandomVirtualMask(RED), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    )
    image, label, other = chain(tv_tensors.Image(faces[0]), 7, torch.tensor([1, 2]))
    assert image[:, 90, 56].tolist() == [1, -1, -1]
    assert label == 7 and other.tolist() == [1, 2]


def test_landmarks_that_come_along_are_used(faces):
    rendered = render_faces(3, 2, seed=3)
    points = tv_tensors.KeyPoints(torch.from_numpy(rendered.landmarks), canvas_size=(112, 112))
    transform = masks.RandomVirtualMask("surgical")
    torch.manual_seed(1)
    images, given, label = transform(tv_tensors.Image(faces), points, 7)
    torch.manual_seed(1)
    seed = int((torch.rand(6), torch.randint(2**62, ()))[1])
    expected = masks.mask_faces(rendered.images, rendered.landmarks, style="surgical", seed=seed).images
    np.testing.assert_array_equal(images.permute(0, 2, 3, 1).numpy(), expected)
    assert torch.equal(given, points) and label == 7
    sample = transform({"image": faces[0], "points": tv_tensors.KeyPoints(points[0], canvas_size=(112, 112))})
    assert (sample["image"] != faces[0]).any()
    for wrong in (points[:2], points[:, :5]):
        with pytest.raises(ValueError, match="landmarks of 2 faces for 6|key points"):
            transform(faces, tv_tensors.KeyPoints(wrong, canvas_size=(112, 112)))


def test_chance_is_torchs_own(faces):
    transform = masks.RandomVirtualMask()
    torch.manual_seed(5)
    first, second = transform(faces), transform(faces)
    torch.manual_seed(5)
    again = transform(faces)
    assert torch.equal(first, again)
    assert (first != second).flatten(1).any(1).all()
    assert (first != faces).flatten(1).any(1).all()


def test_each_picture_has_its_own_chance(faces):
    many = faces.repeat(50, 1, 1, 1)
    torch.manual_seed(0)
    masked = red_mouths(masks.RandomVirtualMask(RED, p=0.3)(many))
    assert abs(masked.float().mean() - 0.3) < 0.1
    assert torch.equal(masks.RandomVirtualMask(p=0)(faces), faces)


class OneFace(torch.utils.data.Dataset):
    """The same face again and again."""

    def __init__(self, face: torch.Tensor, transform: v2.Transform) -> None:
        self.face, self.transform = face, transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.face), index


def test_in_loader_workers_each_draws_its_own(faces):
    transform = pickle.loads(pickle.dumps(masks.RandomVirtualMask({"surgical": 1, "cloth": 2})))
    loader = DataLoader(OneFace(faces[0], transform), batch_size=2, num_workers=2)

    def epoch() -> torch.Tensor:
        return torch.cat([images for images, _ in loader])

    torch.manual_seed(1)
    first, second = epoch(), epoch()
    torch.manual_seed(1)
    again = epoch()
    assert torch.equal(first, again)
    assert len({image.numpy().tobytes() for image in torch.cat([first, second])}) == 16


@pytest.mark.parametrize(
    "given",
    [
        torch.zeros(3, 112, 112),
        torch.zeros(3, 64, 64, dtype=torch.uint8),
        torch.zeros(112, 112, 3, dtype=torch.uint8),
        torch.zeros(1, 112, 112, dtype=torch.uint8),
        Image.fromarray(np.zeros((112, 112), np.uint8)),
        Image.new("RGB", (112, 96)),
    ],
)
def test_what_is_no_aligned_face_is_refused(given):
    with pytest.raises(ValueError, match=r"aligned faces.*got .*align_face"):
        masks.RandomVirtualMask()(given)


def test_wrong_arguments_are_refused_at_once():
    with pytest.raises(ValueError, match="did you mean surgical"):
        masks.RandomVirtualMask("surgicl")
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"0\.\.1"):
            masks.RandomVirtualMask(p=p)


def test_masks_without_the_transform_need_no_torch():
    code = "import sys; from maskfr_utils import masks; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="RandomMask"):
        masks.RandomMask  # noqa: B018
