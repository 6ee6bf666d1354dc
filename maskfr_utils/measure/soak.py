"""What broken files and kills do: `python -m maskfr_utils.measure.soak --inputs 100000 --kills 50`, or `make soak`.

Inputs are small whole files, changed at random (`mutations`, `formats`) and read in a process of its own, whose memory, time and
doings are watched. Each must be read, be refused by one clear line, or lose parts that are counted. Runs are killed at random
(`kills`), and must end as if they had not been.
"""

import faulthandler
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from json import JSONDecodeError
from multiprocessing.connection import Connection
from pathlib import Path

from tqdm.auto import tqdm

from maskfr_utils.config import ConfigError
from maskfr_utils.faces.pictures import PictureError
from maskfr_utils.measure import formats, kills
from maskfr_utils.measure import record as made_by
from maskfr_utils.measure.mutations import mutate, with_right_sums
from maskfr_utils.messages import LIMIT, PlainError, brief
from maskfr_utils.paths import results_dir
from maskfr_utils.peaks import in_fresh_process, peak
from maskfr_utils.records import write_json

OUT = results_dir() / "survival/soak.json"
SECONDS = 10  # of a core that an input may take
WALL = 300  # seconds after which a reader counts as hanging, whatever it waits for
BYTES = 2**30  # that an input may take, beyond what the reader holds before the first one
FORBIDDEN = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "pickle.find_class",
)
WRITING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
READ, SKIPPED, REFUSED, FAILED = "read", "skipped", "refused", "failed"


def damaged(name: str, number: int, seed: int, whole: list[formats.Files]) -> formats.Files:
    """Input `number` of a format: the files of one that is whole, of which one was changed."""
    draw = random.Random(f"{seed} {name} {number}")
    files, words = dict(draw.choice(whole)), formats.FORMATS[name].words
    file = draw.choice(sorted(files))
    data = mutate(files[file], draw, words)
    if file.endswith(".gz") or draw.random() < 0.7:
        data = with_right_sums(file, data)
        data = mutate(data, draw, words) if draw.random() < 0.2 else data
    return files | {file: data}


class Watch:
    """Notes what the process does that reading a file never needs: other programs, other classes, files outside a folder."""

    def __init__(self, folder: Path):
        self.folder, self.seen = os.path.realpath(folder), []
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple) -> None:
        if event in FORBIDDEN:
            self.seen.append(f"{event} {brief(arguments, 80)}")
        elif event in WRITING or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            path = arguments[0]
            outside = not isinstance(path, int) and not os.path.realpath(os.fsdecode(path)).startswith(self.folder)
            if outside and os.fsdecode(path) != os.devnull:
                self.seen.append(f"{event} {brief(path, 80)}")


def unclear(error: BaseException, files: formats.Files, folder: Path) -> str:
    """What is wrong with an error that a user is to read; nothing where it is clear."""
    text = str(error)
    plain = isinstance(error, ValueError | OSError) and not isinstance(error, UnicodeError | JSONDecodeError)
    if not plain and not isinstance(error, PlainError):
        return f"{type(error).__name__}: {brief(text, 150)}"
    names = {part for file in files for part in (file, Path(file).name)} | {folder.name}
    if not isinstance(error, PictureError | ConfigError) and not any(name in text for name in names):
        return f"names no file: {brief(text, 150)}"
    if len(text.replace(f"{folder}", "")) > LIMIT or "\n" in text:
        return f"{len(text)} characters, {text.count(chr(10)) + 1} lines: {brief(text, 150)}"
    return ""


def read_one(name: str, files: formats.Files, folder: Path, watch: Watch) -> tuple[str, str]:
    """Reads an input in `folder`: the outcome, and where it failed, what happened."""
    for file, data in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    watch.seen.clear()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # ends the process, wherever it is
    try:
        outcome, why = (SKIPPED if formats.FORMATS[name].read(folder) else READ), ""
    except Exception as error:
        why = unclear(error, files, folder)
        outcome = FAILED if why else REFUSED
    signal.setitimer(signal.ITIMER_PROF, 0)
    if watch.seen:
        outcome, why = FAILED, watch.seen[0]
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    return outcome, why


def reader(out: Connection, name: str, seed: int, numbers: range, folder: str) -> None:
    """The process that reads inputs: sends (number, outcome, why, bytes so far, seconds) of each, or why it cannot work."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.dont_write_bytecode = True
    tempfile.tempdir = folder
    box = Path(tempfile.mkdtemp(prefix="input-"))
    os.chdir(box)
    try:
        whole = formats.FORMATS[name].make()
        watch = Watch(Path(folder))
        for files in whole:
            outcome, why = read_one(name, files, box, watch)
            if outcome == FAILED:
                raise RuntimeError(f"a whole file fails: {why}")
    except Exception as error:  # whoever waits is told: what this process prints may be seen by nobody
        out.send(f"{type(error).__name__}: {brief(error, 150)}")
        raise
    faulthandler.disable()
    before = peak()
    if sys.platform == "linux":  # a net below the limit: the largest mistakes must not take the machine
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + 4 * BYTES,) * 2)
    for number in numbers:
        start = time.process_time()
        outcome, why = read_one(name, damaged(name, number, seed, whole), box, watch)
        taken = peak() - before
        if taken > BYTES:
            outcome, why = FAILED, f"took {taken / 2**20:,.0f} MB of memory"
        out.send((number, outcome, why, taken, time.process_time() - start))
        if taken > BYTES:
            return


def read_all(name: str, seed: int, numbers: range, bar: tqdm) -> dict:
    """Reads inputs of a format; how many came to what, and the failures by number. A reader that dies is followed by another."""
    counts, failures = Counter({READ: 0, SKIPPED: 0, REFUSED: 0, FAILED: 0}), {}
    most, slowest, total = 0, 0.0, 0.0
    context = multiprocessing.get_context(
        "fork"
    )  # to import all that a reader needs takes longer than a thousand inputs
    following = numbers.start
    while following < numbers.stop:
        with tempfile.TemporaryDirectory(prefix="maskfr-soak-") as folder:
            inbox, outbox = context.Pipe(duplex=False)
            left = range(following, numbers.stop)
            process = context.Process(target=reader, args=(outbox, name, seed, left, folder))
            process.start()
            outbox.close()
            try:
                while following < numbers.stop:
                    if not inbox.poll(WALL):
                        process.kill()
                    told = inbox.recv()
                    if isinstance(told, str):
                        raise RuntimeError(f"the reader of {name} cannot work: {told}")
                    number, outcome, why, taken, seconds = told
                    following, most = number + 1, max(most, taken)
                    slowest, total = max(slowest, seconds), total + seconds
                    counts[outcome] += 1
                    failures |= {number: why} if outcome == FAILED else {}
                    bar.update()
            except EOFError:
                pass
            process.join()
            if process.exitcode > 0:
                raise RuntimeError(f"the reader of {name} cannot work: status {process.exitcode}")
            if process.exitcode < 0:
                dead = signal.Signals(-process.exitcode)
                hung = {
                    signal.SIGPROF: f"more than {SECONDS} s of a core",
                    signal.SIGKILL: f"no answer in {WALL} s, or killed",
                }
                failures[following] = hung.get(dead, f"the interpreter died of {dead.name}")
                counts[FAILED] += 1
                following += 1
                bar.update()
    times = {"seconds": round(total, 1), "slowest_seconds": round(slowest, 2)}
    return {**counts, "most_bytes": most, **times, "failures": failures}


def shares(inputs: int, names: list[str]) -> dict[str, int]:
    """How many inputs each format gets."""
    total = sum(formats.FORMATS[name].share for name in names)
    return {name: max(1, round(inputs * formats.FORMATS[name].share / total)) for name in names}


def measure(out: Path, inputs: int, killings: int, seed: int, names: list[str], progress: bool = True) -> list[str]:
    """Writes the record; each failure, in a line that says how to repeat it."""
    started, found = time.perf_counter(), {}
    with tqdm(total=sum(shares(inputs, names).values()), unit="input", disable=not progress) as bar:
        for name, count in shares(inputs, names).items():
            bar.set_description(name)
            found[name] = {"inputs": count} | read_all(name, seed, range(count), bar)
    survived, limits = {}, {"seconds": SECONDS, "bytes": BYTES, "characters": LIMIT}

    def write() -> None:
        made = made_by.made(started, data="small files, changed at random")
        write_json(out, {"seed": seed, "limits": limits, "formats": found, "kills": survived, "provenance": made})

    write()  # what took long is kept, whatever becomes of the kills
    if killings:
        with tempfile.TemporaryDirectory(prefix="maskfr-kills-") as folder:
            survived = in_fresh_process(kills.killed_runs, folder, killings, seed)
    failed = [
        f"{name} {number} of seed {seed}: {why} (again: --again {name} {number} --seed {seed})"
        for name, each in found.items()
        for number, why in each["failures"].items()
    ]
    if any(survived.get(what) for what in ("failed", "unequal", "left")):
        failed.append(f"kills, seed {seed}: {survived}")
    write()
    return failed


def again(name: str, number: int, seed: int, folder: Path) -> str:
    """Writes one input into `folder`, reads a copy of it, and says what came of it."""
    whole = in_fresh_process(formats.FORMATS[name].make)
    for file, data in damaged(name, number, seed, whole).items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    with tqdm(disable=True) as bar:
        found = read_all(name, seed, range(number, number + 1), bar)
    return f"{folder}: {found}"


def main(argv: list[str] | None = None) -> int:
    """The command; 1 where anything failed."""
    parser = made_by.parser("soak", __doc__, OUT)
    parser.add_argument("--inputs", type=int, default=100_000, help="changed files, over all formats (100000)")
    parser.add_argument("--kills", type=int, default=50, help="of runs, at random points (50)")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (0)")
    parser.add_argument(
        "--formats", nargs="+", choices=formats.FORMATS, default=list(formats.FORMATS), help="these alone"
    )
    parser.add_argument("--again", nargs=2, metavar=("FORMAT", "NUMBER"), help="one input, into the folder soak-input")
    arguments = parser.parse_args(argv)
    if arguments.again:
        name, number = arguments.again
        if name not in formats.FORMATS or not number.isdecimal():
            parser.error(f"--again takes a format ({', '.join(formats.FORMATS)}) and a number")
        print(again(name, int(number), arguments.seed, Path("soak-input")))
        return 0
    failed: list[str] = []
    status = made_by.status(
        "soak",
        lambda: failed.extend(
            measure(arguments.out, arguments.inputs, arguments.kills, arguments.seed, arguments.formats)
        ),
    )
    print(*failed[:50], sep="\n")
    if len(failed) > 50:
        print(f"and {len(failed) - 50:,} more: {arguments.out}")
    return status or bool(failed)


if __name__ == "__main__":
    sys.exit(main())
