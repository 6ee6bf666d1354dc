"""The numbers published before us."""

# The student report, as fractions: IResNet-50 at batch 512, trained and tested on the same kind of faces; the networks on
# masked faces, with their batch sizes. Of Figure 9 only the best batch size is known: the rest is in the picture alone.
TABLE_1 = {"masked": 0.8989, "unmasked": 0.9494}
TABLE_2 = {
    "resnet50": (0.8962, 512),
    "iresnet50": (0.8989, 512),
    "iresnet100": (0.8907, 512),
    "ressanet50": (0.9017, 512),
    "ressanet100": (0.9208, 256),
}
BEST_BATCH = 512
# It tested on a random 10% of about 100,000 photos and as many mirror images: on so many different photos.
TEST_PHOTOS = round(100_000 * (1 - 0.9**2))
