"""Kinds of masks and the numbers that pick among them."""

import hashlib

import numpy as np
import pytest

from maskfr_utils import masks
from maskfr_utils.masks import chance
from maskfr_utils.masks.kinds import ALL_KINDS


@pytest.mark.parametrize("name", ALL_KINDS)
def test_nets_run_from_the_middle_outward_and_from_the_upper_edge_down(name):
    net = np.array(ALL_KINDS[name].net)
    assert net.shape == (5, 4, 3)
    assert (net[:, 0, 0] == 0).all() and (np.diff(net[..., 0], axis=1) > 0).all()
    assert (np.diff(net[..., 1], axis=0) > 0).all()


def test_a_bare_face_is_no_kind_of_mask():
    assert {*ALL_KINDS} - {*masks.KINDS} == {masks.NO_MASK}


def test_random_numbers_keep_their_places():
    """Counted out by hand: whatever is added, the masks of a seed stay what they were."""
    digest = hashlib.blake2b(b"3/7").digest()
    numbers = [int.from_bytes(digest[i : i + 2], "little") / 2**16 for i in range(0, 64, 2)]
    first = ("style", "colour", "pattern", "second_colour", "variant", "valve", "wear", "straps", "folds", "height")
    drawn = chance.draw(3, [5, 7])[1]
    assert [drawn[name] for name in first] == numbers[:10]
    assert drawn["exposure"] == numbers[10] and drawn["cast"].tolist() == numbers[11:14]
    assert drawn["grain"] == numbers[15] and drawn["put_on"].ravel().tolist() == numbers[16:24]
