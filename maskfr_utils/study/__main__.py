"""Runs what is missing of the study: `python -m maskfr_utils.study`.

`--list` tells each run's state, and what it will take, without a list it runs what is missing, `--choose` writes the learning rates that the
trials chose, and `--check` fails where a record in `book/results/` is not what the study as it stands would make. `--pack`
and `--collect` let another machine make them.
"""

import argparse
import math
import os
import sys
from pathlib import Path

from maskfr_utils import paths
from maskfr_utils.messages import brief, start_command
from maskfr_utils.names import MODELS
from maskfr_utils.study import captions, plan, shown, trials
from maskfr_utils.study.check import HEADLINE, problems
from maskfr_utils.study.making import run_all
from maskfr_utils.study.plan import GROUPS
from maskfr_utils.study.run import Run
from maskfr_utils.study.scales import SCALES
from maskfr_utils.study.state import costs, status, told_cost


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    start_command()
    parser = _parser()
    args = parser.parse_args(argv)
    if not paths.is_checkout():
        parser.exit(2, "the study needs its repository (records, notebooks, params): clone it, and run this there\n")
    for group in args.groups:
        if group not in GROUPS:
            parser.error(f"unknown group {group!r}: one of {', '.join(GROUPS)}")
    if args.pack and not args.scale:
        parser.error("--pack needs --scale")
    if args.part_size is not None and not (args.pack and 1 <= args.part_size < math.inf):
        parser.error("--part-size must be 1 or more, and is of --pack")
    if idle := _idle(args):
        parser.error(f"{' and '.join(idle)} would be ignored: leave it out")
    try:
        return _done(args)
    except BrokenPipeError:  # whoever reads along wants no more: no error
        raise
    except (ValueError, OSError) as error:
        print(f"python -m maskfr_utils.study: {brief(error)}", file=sys.stderr)
        return 1


def _done(args: argparse.Namespace) -> int:
    """Does what is asked for; returns the exit status."""
    scales = [args.scale] if args.scale else list(SCALES)
    if args.check:
        found = problems(args.results)
        print(*found, sep="\n") if found else print("every record is what the study would make now")
        return bool(found)
    if args.headline:
        with paths.replacing((args.results or paths.results_dir()) / HEADLINE) as temporary:
            temporary.write_text(captions.headline(args.results), encoding="utf-8")
        return 0
    if args.choose:
        for scale in scales:
            trials.write_tuned(scale, args.results)
        return 0
    if args.pack or args.collect:
        return _away(args)
    return _make(args, scales)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m maskfr_utils.study", description="Run what is missing of the study; nothing done is run again."
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(GROUPS)}; default: all")
    scales = "; ".join(f"{name}: {scale.faces}" for name, scale in SCALES.items())
    parser.add_argument("--scale", choices=SCALES, help=f"{scales}; default: all")
    parser.add_argument("--model", choices=MODELS, help="only the runs of this network")
    parser.add_argument(
        "--results", type=Path, help="folder of the records (default: the book's); an empty one makes all anew"
    )
    parser.add_argument("--part-size", type=float, metavar="MB", help="of --pack: the largest file that it may hold")
    todo = parser.add_mutually_exclusive_group()
    todo.add_argument(
        "--list", action="store_true", help="only tell the state of each run and measurement, and what a run will take"
    )
    todo.add_argument(
        "--check", action="store_true", help="only tell what is stale or unknown; status 1 if anything is"
    )
    todo.add_argument(
        "--choose", action="store_true", help="only write the learning rates and settings that the trials chose"
    )
    todo.add_argument("--headline", action="store_true", help="only write the table of the book's first page")
    todo.add_argument(
        "--pack", type=Path, metavar="DIR", help="leave a folder that makes the runs of --scale elsewhere"
    )
    todo.add_argument("--collect", type=Path, metavar="DIR", help="take in the records that a pack has made")
    return parser


def _idle(args: argparse.Namespace) -> list[str]:
    """The arguments that what is asked for does not look at."""
    all_runs = args.check or args.headline or args.collect
    asked = {
        "a group": args.groups and (all_runs or args.choose or args.pack),
        "--scale": args.scale and all_runs,
        "--model": args.model and (all_runs or args.choose),
        "--results": args.results and args.pack,
    }
    return [name for name, idle in asked.items() if idle]


def _away(args: argparse.Namespace) -> int:
    """Packs, or takes back in what a pack has made."""
    from maskfr_utils.study.pack import collect, pack

    if args.pack:
        pack(args.scale, args.pack, [args.model] if args.model else MODELS, args.part_size)
        print(f"{args.pack}: take it where the runs are to be made, and there `python run.py --within SECONDS`")
        return 0
    taken, refused = collect(args.collect, args.results)
    print(*(f"{name}: taken in" for name in taken), sep="\n", end="\n" * bool(taken))
    print(*(f"{name}: refused: {brief(why, 240)}" for name, why in refused.items()), sep="\n", end="\n" * bool(refused))
    print(f"{len(taken)} records taken in, {len(refused)} refused")
    return bool(refused)


def _make(args: argparse.Namespace, scales: list[str]) -> int:
    """Tells the state of each run, and makes those that are missing."""

    def states() -> dict[Run, str]:
        runs = plan.runs(args.groups, scales, args.results)
        return {run: status(run, args.results) for run in runs if args.model in (None, run.model)}

    if args.results is None and not args.list:
        for scale in scales:  # a call that was killed may have left them behind their trials
            trials.write_tuned(scale)
    now = states()
    waiting = [run for run, state in now.items() if state != "done"]
    seconds = costs(waiting, args.results) if args.list else {}
    for run, state in now.items():
        print(f"{run.name:50} {state}" + (f", about {seconds[run] / 60:.0f} minutes" if run in seconds else ""))
    if args.list:
        if not (args.groups or args.scale or args.model):
            print(*(f"{name:50} {state}" for name, state in measured(args.results).items()), sep="\n")
        print(*told_cost(waiting, seconds), sep="\n")
        return 0
    if not args.scale and (left_out := [scale for scale in scales if SCALES[scale].gpu]):
        print(
            *(f"{scale} is for a GPU: `--scale {scale}` makes it, or packs it with --pack" for scale in left_out),
            sep="\n",
        )
        scales = [scale for scale in scales if scale not in left_out]
        now = states()
    before, result = None, 0
    while (waiting := _next(now)) and waiting != before and not result:  # trials go on while the best is at an edge
        before, result = waiting, run_all(waiting, args.results)
        for scale in scales:
            if args.results is None:
                trials.write_tuned(scale)
        now = states()
    left = [run for run, state in now.items() if state != "done" and trials.waits(run)]
    for scale in scales:
        if models := [run.model for run in left if run.scale == scale]:
            whose, tuning = " and ".join(dict.fromkeys(models)), plan.command("tuning", scale, folder=args.results)
            print(f"{len(models)} runs wait for the trials of {whose}: `{tuning}`")
    if before is None and not left:
        print("nothing to run")
    return result


def measured(folder: Path | None) -> dict[str, str]:
    """The measurements that the chapters open -> whether there is a record; each chapter tells the command that makes it."""
    folder = folder or paths.results_dir()
    return {
        name: "done" if (folder / name).exists() else f"missing: the chapter {chapter} tells how to measure it"
        for name, chapter in sorted(shown.opened().items())
    }


def _next(states: dict[Run, str]) -> list[Run]:
    """The runs to make next: trials first, since the others take what they choose; none whose parameters are not chosen yet."""
    ready = [run for run, state in states.items() if state != "done" and not trials.waits(run)]
    return [run for run in ready if run.trial] or ready


if __name__ == "__main__":
    try:
        ended = main()
        sys.stdout.flush()
    except BrokenPipeError:  # `--list | head` wants no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        ended = 0
    sys.exit(ended)
