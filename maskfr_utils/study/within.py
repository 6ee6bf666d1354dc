"""Where a pack runs: as many whole runs as surely fit into a time, the most valuable first.

A run is started only if it surely ends in time, by the pace of a few steps at first and then by what the runs of its
network took. Each is a process of its own, so that two may share a device. Whatever is stopped or killed goes on from its
last checkpoint at the next call; a record, once made, is kept.
"""

import argparse
import contextlib
import io
import math
import signal
import subprocess
import sys
import time

from maskfr_utils import fingerprint, paths
from maskfr_utils.messages import brief
from maskfr_utils.names import unknown
from maskfr_utils.peaks import in_fresh_process
from maskfr_utils.probes.runs import of_run
from maskfr_utils.records import read_record, record_or_none
from maskfr_utils.stopping import Stopping
from maskfr_utils.study import plan, scales, trials
from maskfr_utils.study.making import STOPPED, images_per_second, make
from maskfr_utils.study.plan import ABLATION
from maskfr_utils.study.run import Run

FIFTY, HUNDRED = ("iresnet50", "ressanet50", "resnet50"), ("iresnet100", "ressanet100")
ALONE_FROM = 512  # pictures a batch: larger ones have the device for themselves
START = 25.0  # seconds that a run takes beside its steps, at most
SURE = 1.5  # times what its steps should take: photos are scored, checkpoints written, the device is shared
AGAIN = 1.15  # times what a run of the same network took
GRACE = 15.0  # seconds before the end, in which what still runs saves its state


def portions(scale: str) -> dict[str, list[Run]]:
    """Name -> runs, the most valuable first: what to do with one lease of a machine. Trials grow as they come in.

    But for those of `first`, no run is in two of them: each may have a machine of its own.
    """

    def tried(*models: str) -> list[Run]:
        return [run for model in models for run in trials.rate_trials(scale, model)]

    def final(*models: str) -> list[Run]:
        return [Run(scale=scale, model=m, seed=s) for s in range(scales.SCALES[scale].seeds) for m in models]

    base, parts = final("iresnet50"), ABLATION[1:-1]
    return {
        "first": [*tried(*FIFTY[:2]), *final(*FIFTY[:2])],
        "rates_50": tried(*FIFTY),
        "finals_50": final(*FIFTY),
        "rates_100": tried(*HUNDRED),
        "finals_100": final(*HUNDRED),
        "conditions": [run for run in plan.table_1(scale) if run not in base],
        "ablation": [*tried(*parts), *final(*parts)],
        "more_conditions": [run for run in plan.conditions(scale) if run not in plan.table_1(scale)],
        "losses": plan.losses(scale),
        "report": plan.report(scale),
        "batch_size": [run for run in plan.figure_9(scale) if run not in base],
        "audit": plan.audit(scale),
        "changes": plan.changes(scale),
    }


class Session:
    """One call of `run.py`.

    Args:
        scale: of the runs.
        models: the networks that the pack is for.
        portion: one of `portions`; None: all, in their order.
        within: seconds.
        at_once: runs that share the device; None: as many as is fast, see `places`.
        began: what `time.monotonic` told when that time began.
    """

    def __init__(
        self, scale: str, models: list[str], portion: str | None, within: float, at_once: int | None, began: float
    ):
        self.scale, self.models, self.portion, self.at_once = scale, models, portion, at_once
        self.began, self.within = began, within
        self.running: dict[Run, tuple[subprocess.Popen, float]] = {}
        self.made, self.failed, self.unfit = [], set(), set()
        self.paces: dict[tuple, float] = {}  # pictures a second of runs alike in `work`, as a few steps have it
        self.took: dict[tuple, float] = {}  # seconds a picture of such runs, all in
        self.prepared: set[int] = set()

    @property
    def left(self) -> float:
        """Seconds to the time when runs that still go on are stopped."""
        return self.within - GRACE - (time.monotonic() - self.began)

    def say(self, text: str) -> None:
        """A line, with the time since the start."""
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", flush=True)

    def missing(self) -> list[Run]:
        """The runs of the portion that have no record yet, or none that can be read."""
        named = portions(self.scale)
        runs = named[self.portion] if self.portion else [run for runs in named.values() for run in runs]
        return [r for r in dict.fromkeys(runs) if r.model in self.models and record_or_none(r.record_path()) is None]

    def ready(self) -> list[Run]:
        """Those to be started now or never: a run waits for the trials that decide its parameters."""
        over = self.failed | self.unfit | self.running.keys()
        return [run for run in self.missing() if run not in over and not trials.waits(run)]

    def seconds(self, run: Run) -> float:
        """What a run will take, at most."""
        if run.work in self.took:
            return AGAIN * self.took[run.work] * run.passes()
        if run.work not in self.paces:
            # In a process of its own: what a device was given for it is given back.
            self.paces[run.work] = in_fresh_process(images_per_second, run)
        return START + SURE * self.places(run) * run.passes() / self.paces[run.work]

    def places(self, run: Run) -> int:
        """Runs that share the device while this one is made, itself included.

        Two at once train 1.3 times the pictures of one after the other (batch 128, one H200). A large batch fills a GPU by itself, and
        on a CPU they would fight for its cores.
        """
        import torch

        return self.at_once or (2 if torch.cuda.is_available() and run.batch < ALONE_FROM else 1)

    def fits(self, run: Run) -> bool:
        """Whether a run surely ends in time; its faces are prepared by the way."""
        from maskfr_utils.prepare import prepare

        if self.left < START:
            return False
        with contextlib.redirect_stdout(io.StringIO()):  # a line a run is enough
            if self.seconds(run) > self.left:
                return False
            if run.seed not in self.prepared:
                prepare(**run.config().data(), progress=False)
                self.prepared.add(run.seed)
        return self.seconds(run) <= self.left

    def start(self, run: Run) -> None:
        """Starts a run; what it says goes to `logs/`."""
        log = paths.home() / "logs" / f"{run.name}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("w", encoding="utf-8") as file:
            command = [sys.executable, "-m", run.module, *run.command]
            # In a session of its own: what stops this process from the keyboard reaches it through this one, once.
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        self.running[run] = process, time.monotonic()

    def settle(self, run: Run) -> None:
        """Takes the record of a run that has ended, or says why there is none."""
        process, began = self.running.pop(run)
        took = time.monotonic() - began
        if process.returncode or not make(run):
            self.failed.add(run)
            log = (paths.home() / "logs" / f"{run.name}.log").read_text(encoding="utf-8", errors="replace")
            self.say(f"{run.name} failed: {(log.strip().splitlines() or ['it said nothing'])[-1][:200]}")
            return
        record = read_record(run.record_path())
        took = max(took, record["provenance"]["seconds"])  # a run that was taken up again had begun before
        self.took[run.work] = max(took / run.passes(), self.took.get(run.work, 0.0))
        self.made.append(run)
        told = ", ".join(f"{twin} {scores['accuracy']:.1%}" for twin, scores in record["metrics"].items())
        pace = record["throughput"]["train_images_per_second"]
        self.say(f"{run.name}: {record['params']['scored_on']} {told} ({took:.0f} s, {pace:.0f} images/s)")
        trials.write_tuned(self.scale)

    def stop(self) -> None:
        """Lets what runs save its state and end; what does not in time is killed, and what has ended is taken in."""
        for process, _ in self.running.values():
            process.terminate()
        for run, (process, _) in list(self.running.items()):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(5.0, min(60.0, self.left + GRACE - 1)))
            if process.returncode in (None, *STOPPED, -signal.SIGTERM):  # the last: before it could save anything
                process.kill()
                self.say(f"{run.name} stopped; the same command goes on with it")
            else:
                self.settle(run)
        self.running = {}

    def step(self) -> bool:
        """Settles what has ended and starts a run, if there is place for one; whether there is more to do."""
        for run in [run for run, (process, _) in self.running.items() if process.poll() is not None]:
            self.settle(run)
        run = next(iter(self.ready()), None)
        if run is None or len(self.running) >= min(map(self.places, (run, *self.running))):
            time.sleep(0.5 * bool(self.running))
            return bool(self.running)
        try:
            if self.fits(run):
                self.start(run)
            else:
                self.unfit.add(run)
        except (ImportError, OSError, ValueError, RuntimeError) as error:  # of its faces, or of its few steps
            self.failed.add(run)
            self.say(f"{run.name} failed: {brief(error, 200)}")
        return True

    def work(self) -> int:
        """Makes what fits; returns the exit status."""
        trials.write_tuned(self.scale)  # a call that was killed may have left it behind its trials
        with Stopping() as stopping:
            try:
                while not stopping.asked and self.left > 0 and self.step():
                    pass
            finally:
                self.stop()
        missing = self.missing()
        waiting = sum(map(trials.waits, missing))
        self.say(
            f"{len(self.made)} runs made, {len(self.failed)} failed, {len(missing)} are missing, of which {waiting} wait for "
            "their network's trials"
        )
        return 128 + stopping.asked if stopping.asked else int(bool(self.failed))


def moved(manifest: dict) -> list[str]:
    """The parts of the code that compute other numbers here than where it was packed: no record would be taken back."""
    runs = [Run(scale=manifest["scale"], model=model) for model in manifest["models"]]
    parts = {name: compute for run in runs for name, compute in of_run(run.params()).items()}
    return fingerprint.moved(manifest["fingerprint"], fingerprint.numbers(parts))


def main(manifest: dict, argv: list[str] | None = None, began: float | None = None) -> int:
    """The command of a pack; returns its exit status.

    Args:
        manifest: what `pack.json` holds.
        argv: of the command line.
        began: what `time.monotonic` told when it was started; default: now.
    """
    names = list(portions(manifest["scale"]))
    parser = argparse.ArgumentParser(prog="python run.py", description=f"Make runs of the study: {manifest['scale']}.")
    parser.add_argument("--within", type=float, default=math.inf, help="seconds; default: until all are made")
    parser.add_argument("--portion", help=f"{', '.join(names)}, or its number from 0; default: all, in this order")
    parser.add_argument(
        "--at-once", type=int, help="runs that share the device (default: 2 on a GPU, 1 with large batches or on a CPU)"
    )
    parser.add_argument("--list", action="store_true", help="only tell what is missing")
    args = parser.parse_args(argv)
    if args.portion and args.portion.isdecimal() and int(args.portion) < len(names):
        args.portion = names[int(args.portion)]
    if args.portion not in (None, *names):
        parser.error(unknown("portion", args.portion, names))
    if not args.within > 0 or (args.at_once is not None and args.at_once < 1):
        parser.error("--within and --at-once must be above 0")
    began = time.monotonic() if began is None else began
    session = Session(manifest["scale"], manifest["models"], args.portion, args.within, args.at_once, began)
    if args.list:
        print(*(run.name for run in session.missing()), sep="\n")
        return 0
    if session.left >= START and (parts := moved(manifest)):
        print(
            f"run.py: the libraries here compute other numbers for {', '.join(parts)}: records made here would be refused",
            file=sys.stderr,
        )
        return 1
    try:
        return session.work()
    except KeyboardInterrupt:  # a second one, which does not wait
        return 130
