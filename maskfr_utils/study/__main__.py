"""Runs what is missing of the study: `python -m maskfr_utils.study`.

`--list` tells each run's state, without a list it runs what is missing, and `--check` fails where a record in
`book/results/` is not what the study as it stands would make.
"""

import argparse
import sys

from maskfr_utils import paths
from maskfr_utils.study import captions
from maskfr_utils.study.check import HEADLINE, problems
from maskfr_utils.study.plan import GROUPS, SCALES, runs
from maskfr_utils.study.run import run_all
from maskfr_utils.study.state import status


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m maskfr_utils.study", description="Run what is missing of the study; nothing done is run again."
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)}; default: all")
    parser.add_argument("--scale", choices=SCALES, help="demo: rendered faces; pocket: real photos; default: both")
    todo = parser.add_mutually_exclusive_group()
    todo.add_argument("--list", action="store_true", help="only tell the state of each run")
    todo.add_argument(
        "--check", action="store_true", help="only tell what is stale or unknown; status 1 if anything is"
    )
    todo.add_argument("--headline", action="store_true", help="only write the table of the book's first page")
    args = parser.parse_args(argv)
    if not paths.is_checkout():
        parser.exit(2, "the study needs its repository (records, notebooks, params): clone it, and run this there\n")
    for group in args.groups:
        if group not in GROUPS:
            parser.error(f"unknown group {group!r}: one of {', '.join(GROUPS)}")
    if args.check:
        found = problems()
        print(*found, sep="\n") if found else print("every record is what the study would make now")
        return bool(found)
    if args.headline:
        with paths.replacing(paths.results_dir() / HEADLINE) as temporary:
            temporary.write_text(captions.headline(), encoding="utf-8")
        return 0
    chosen = runs(args.groups, [args.scale] if args.scale else SCALES)
    states = {run: status(run) for run in chosen}
    for run, now in states.items():
        print(f"{run.name:40} {now}")
    return 0 if args.list else run_all([run for run, now in states.items() if now != "done"])


if __name__ == "__main__":
    sys.exit(main())
