"""The store as a data set of torch: pictures, twins, splits, loader workers."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from maskfr_utils.batches import FaceDataset
from maskfr_utils.store import TEST, TRAIN, FaceStore, FaceWriter


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FaceStore:
    path = tmp_path_factory.mktemp("store") / "faces.h5"
    images = np.random.default_rng(0).integers(0, 256, (12, 112, 112, 3), np.uint8)
    with FaceWriter(path) as writer:
        writer.append(images, 255 - images, ["a", "b", "c"] * 4)
        writer.assign(np.arange(12) % 3, np.where(np.arange(12) < 9, TRAIN, TEST), ["a", "b", "c"])
    return FaceStore(path)


@pytest.mark.parametrize(("condition", "length"), [("unmasked", 9), ("masked", 9), ("both", 18)])
def test_pictures_and_labels(store, condition, length):
    dataset = FaceDataset(store.path, condition)
    assert len(dataset) == length
    for i in (0, 4, length - 1):
        picture, label = dataset[i]
        masked = condition == "masked" or i >= 9
        expected, _ = store.batch([i % 9], masked=masked)
        assert picture.shape == (3, 112, 112) and picture.dtype == torch.uint8 and label == i % 3
        np.testing.assert_array_equal(picture.permute(1, 2, 0).numpy(), expected[0])
    assert len(list(dataset)) == length  # it ends


def test_loader_workers_and_transform(store):
    dataset = FaceDataset(store, "both", split=TEST, transform=lambda picture: picture.float() / 255)
    plain = [FaceDataset(store, "both", split=TEST)[i] for i in range(6)]
    for workers in (0, 2):
        ((images, labels),) = DataLoader(dataset, batch_size=6, num_workers=workers)
        assert images.shape == (6, 3, 112, 112) and images.dtype == torch.float32
        assert labels.tolist() == [label for _, label in plain]
        assert torch.equal(images, torch.stack([picture for picture, _ in plain]).float() / 255)


def test_unknown_condition(store):
    with pytest.raises(ValueError, match="did you mean masked"):
        FaceDataset(store, "maskd")
