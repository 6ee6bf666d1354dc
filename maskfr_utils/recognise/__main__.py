"""Naming people in photos on the command line: `python -m maskfr_utils.recognise -h`."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from maskfr_utils.messages import brief, start_command

PRIVACY = (
    "An embedding is biometric data: enrol people who have agreed to it, keep the gallery where others cannot read it, and "
    "delete it (`remove`, or the folder) when it has served its purpose."
)


def enrol(args: argparse.Namespace) -> None:
    from maskfr_utils.recognise import files
    from maskfr_utils.recognise.gallery import RATE, Gallery

    with files.alone(args.gallery):
        if files.state(args.gallery):
            gallery = Gallery.load(args.gallery, args.network)
            gallery.rate = gallery.rate if args.rate is None else args.rate
        else:
            gallery = Gallery(args.network, rate=RATE if args.rate is None else args.rate)
        done = gallery.enrol(args.source, person=args.person)
        gallery.save(args.gallery)
    for person, photos in done.people.items():
        print(f"{photos:6} photos of {person}")
    for note in done.layout:
        print(printable(note))
    for photo, why_not in done.left_out.items():
        print(f"left out {printable(photo)}: {why_not}")
    for photo, notes in done.notes.items():
        print(f"enrolled {printable(photo)} though {' and '.join(notes)}")
    tell("left out", done.skipped)
    if done.replaced:
        print(f"replaced: {done.replaced} photos, by others of the same person and file name (rename one to keep both)")
    tell_rule(gallery)


def name(args: argparse.Namespace) -> None:
    from maskfr_utils.recognise.gallery import Gallery
    from maskfr_utils.recognise.results import name_photos

    gallery = Gallery.load(args.gallery, args.network)
    named, skipped = name_photos(gallery, args.source, args.out)
    for row in (row for photo in named for row in photo.rows()):
        told = f"{row['name']:20} {row['cosine']:6.2f}  {row['notes']}" if row["name"] else row["notes"]
        print(f"{printable(str(row['picture'])):40} {told}".rstrip())
    tell("left out", skipped)
    tell_rule(gallery)
    print(f"{args.out}: pictures/, names.csv, names.json")


def people(args: argparse.Namespace) -> None:
    from maskfr_utils.recognise import files

    for person, photos in files.read(args.gallery).people.items():
        print(f"{len(photos):6} photos of {person}")


def remove(args: argparse.Namespace) -> None:
    from maskfr_utils.recognise import files

    left = files.forget(args.gallery, args.person)
    print(f"deleted {', '.join(args.person)}; {len(left.people)} people are left in {args.gallery}")


def verify(args: argparse.Namespace) -> None:
    from maskfr_utils.recognise.compare import verify
    from maskfr_utils.recognise.embedder import load_embedder

    found = verify(load_embedder(args.network), *args.photo, rate=args.rate)
    if args.json:
        print(json.dumps(asdict(found), ensure_ascii=False))
        return
    print(f"{'one person' if found.same else 'two people'}: cosine {found.cosine:.3f}, threshold {found.threshold:.3f}")
    for photo, notes in zip(args.photo, found.notes, strict=True):
        if notes:
            print(f"{photo}: {', '.join(notes)}")
    print(f"(at most {args.rate:g} of pairs of strangers reach it, by {printable(found.validation)})")


def embed(args: argparse.Namespace) -> None:
    from maskfr_utils.recognise.compare import embed_folder
    from maskfr_utils.recognise.embedder import load_embedder

    counts = embed_folder(load_embedder(args.network), args.source, args.out)
    print(f"{counts.pop('faces')} faces in {args.out}")
    tell("without a face", counts)


def calibrate(args: argparse.Namespace) -> None:
    from maskfr_utils.recognise.embedder import check_output, load_embedder, save_embedder
    from maskfr_utils.recognise.validation import calibrate_on, rendered_calibration

    embedder = load_embedder(args.network)
    check_output(args.out, embedder, half=args.half)
    is_demo = args.source == "demo"
    embedder.calibration = rendered_calibration(embedder, 300) if is_demo else calibrate_on(embedder, args.source)
    save_embedder(args.out, embedder, half=args.half)
    print(f"{args.out}: {embedder.calibration.pairs:,} pairs of strangers, {embedder.calibration.validation}")
    for rate, cosine in zip(embedder.calibration.rates, embedder.calibration.cosines, strict=True):
        print(f"{rate:10.2g} of them reach cosine {cosine:.3f}")


def export(args: argparse.Namespace) -> None:
    from maskfr_utils.recognise.embedder import load_embedder, save_embedder

    save_embedder(args.out, load_embedder(args.network))
    print(args.out)


def demo(args: argparse.Namespace) -> None:
    from maskfr_utils.recognise.demo import write_photos

    write_photos(args.out)
    print(f"{args.out}: people/ to enrol, met/ to name; none of them exists")


def tell(what: str, counts: Mapping[str, int]) -> None:
    for reason, count in counts.items():
        print(f"{what}: {count} {reason}")


def tell_rule(gallery) -> None:
    print(
        f"{len(gallery.people)} people, {len(gallery)} photos; a face is named from cosine {gallery.threshold:.3f} on: at most "
        f"{gallery.rate:g} of strangers reach it, by {printable(gallery.calibration.validation)}"
    )


def printable(name: str) -> str:
    """A name from elsewhere without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in name)


COMMANDS = {
    "enrol": (enrol, "add the people of a folder (<person>/<photo>) to a gallery, which is made if missing"),
    "name": (name, "name everybody in a photo or a folder of photos: annotated pictures, names.csv, names.json"),
    "people": (people, "list who is enrolled"),
    "remove": (remove, "delete people from a gallery and from the disk"),
    "verify": (verify, "compare two photos: one person or two?"),
    "embed": (embed, "write the embeddings of all faces of a folder as .npz or .parquet"),
    "calibrate": (
        calibrate,
        "measure on a folder of other people how alike a network finds strangers; writes the network anew",
    ),
    "export": (export, "write a network as .onnx or .safetensors"),
    "demo": (demo, "write rendered photos to try all this on"),
}

WRITES = ("enrol", "remove")  # a gallery, at the end and whole


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m maskfr_utils.recognise", description=__doc__, epilog=PRIVACY)
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {
        name: commands.add_parser(name, help=text, description=text, epilog=PRIVACY)
        for name, (_, text) in COMMANDS.items()
    }
    for name in ("enrol", "name", "people", "remove"):
        made[name].add_argument("gallery", type=Path, help="folder of the gallery")
    pictures = "a photo, folder, zip or tar"
    sources = {
        "enrol": "a folder, zip or tar of <person>/<photo>; with --person also one photo, or photos of one person; a picture"
        " of 112 x 112 pixels is taken as an aligned face",
        "name": pictures,
        "embed": pictures,
    }
    for name, text in sources.items():
        made[name].add_argument("source", type=Path, help=text)
    default = {
        "enrol": "an enrolled gallery's own, else the package's",
        "name": "the gallery's own; one of ONNX is not kept in it, so name it here",
    }
    for name in ("enrol", "name", "verify", "embed", "export", "calibrate"):
        made[name].add_argument(
            "--network",
            help="a run's folder, its model.safetensors, arcface_torch's backbone.pth"
            f"{', or .onnx' * (name not in ('export', 'calibrate'))} (default: "
            f"{default.get(name, 'the network of the package')}; the package's is for rendered people only)",
        )
    made["enrol"].add_argument(
        "--person", help="whose all these photos are (default: of each the folder right below SOURCE)"
    )
    made["enrol"].add_argument(
        "--rate",
        type=float,
        help="share of strangers that may be taken for somebody (default: an enrolled gallery's own, else 0.01)",
    )
    made["name"].add_argument("--out", type=Path, default=Path("named"), help="folder for the results (default: named)")
    made["remove"].add_argument("person", nargs="+", help="whom to forget")
    made["verify"].add_argument("photo", nargs=2, type=Path)
    made["verify"].add_argument(
        "--rate",
        type=float,
        default=0.001,
        help="share of pairs of strangers that may be taken for one (default 0.001)",
    )
    made["verify"].add_argument("--json", action="store_true", help="print JSON")
    made["calibrate"].add_argument(
        "source", help="<person>/<photo>, of people who will not be enrolled; demo: rendered people"
    )
    made["calibrate"].add_argument("--half", action="store_true", help="write .safetensors in 16 bits, half the size")
    for name in ("embed", "calibrate", "export"):
        made[name].add_argument("out", type=Path, help="file to write")
    made["demo"].add_argument("out", type=Path, help="folder to write into")
    return whole


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    start_command()
    args = parser().parse_args(argv)
    try:
        COMMANDS[args.command][0](args)
    except (OSError, ValueError, ImportError) as error:
        print(f"maskfr_utils.recognise: {brief(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        told = "; the gallery is as it was" if args.command in WRITES else ""
        told = f"; {args.out} tells of the photos that were named" if args.command == "name" else told
        print(f"\nstopped{told}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
