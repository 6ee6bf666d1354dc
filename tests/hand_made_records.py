"""Records written by hand: what a reader can count out on paper.

Four people, five photos each. A run is a row of 20 digits: of each photo the place of the right person among all, so that
1 is right. People are told apart by the blanks.
"""

import json
from pathlib import Path

ALL = "11111 11111 11111 11111"
KINDS = ["cloth", "n95", "n95", "cloth", "cloth"] * 4


def write(folder: Path, name: str, masked: str, unmasked: str = ALL, learnt: float = 0.5, **params: object) -> None:
    """Writes a record under the name of its run, `<scale>-<network>-<condition>-s<seed>`; a wrong guess is the next person."""
    ranks = {twin: [int(c) for c in row if c != " "] for twin, row in (("masked", masked), ("unmasked", unmasked))}
    _, model, condition, *_, seed = name.split("-")
    people = [i // 5 for i in range(20)]
    guesses = {twin: [(who + (r > 1)) % 4 for who, r in zip(people, row, strict=True)] for twin, row in ranks.items()}
    common = {"dataset": "demo", "lr": 0.1, "width": 0.25, "epochs": 2, "batch_size": 16, "scale": 16, "margin": 0.3}
    record = {
        "params": common
        | {"model": model, "condition": condition, "seed": int(seed[1:]), "data_seed": 0, "scored_on": "test"}
        | params,
        "metrics": {twin: scores(row.count(1)) for twin, row in ranks.items()},
        "photos": {"label": people, "mask": KINDS, "yaw": [0] * 20, **guesses}
        | {f"{twin}_rank": row for twin, row in ranks.items()},
        "history": [{"train_accuracy": 0.0, "masked": 0.1}, {"train_accuracy": learnt, "masked": 0.2}],
        "throughput": {"steps": 100, "train_images_per_second": 10.0},
        "provenance": {
            "data": "x", "train_photos": 80, "identities": 4, "device": "a CPU", "threads": 1, "precision": "32-true", "seconds": 60.0
        },
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(record))


def scores(right: int) -> dict[str, float]:
    """Of 20 photos of 4 people: each wrong one is a false positive and a false negative, of 80 decisions."""
    wrong = 20 - right
    counts = {"tp": right, "fp": wrong, "fn": wrong, "tn": 80 - right - 2 * wrong}
    interval = {"accuracy_low": 0.9 * right / 20, "accuracy_high": 1.0}
    return interval | {
        "accuracy": right / 20,
        "macro": right / 20,
        "report_formula": 1 - 2 * wrong / 80,
        "photos": 20,
        **counts,
    }


def some_runs(folder: Path) -> Path:
    """IResNet-50: right on 16, 17 and 18 masked photos; trained without masks on 10, 9 and 8. ResSaNet-50 on 18 and 19."""
    write(folder, "demo-iresnet50-masked-s0", "11112 11112 11112 11112", learnt=0.5)
    write(folder, "demo-iresnet50-masked-s1", "11112 11111 11112 11112", learnt=0.6)
    write(folder, "demo-iresnet50-masked-s2", "11111 11112 11112 11111", learnt=0.7)
    write(folder, "demo-iresnet50-unmasked-s0", "11222 11223 11122 11122")
    write(folder, "demo-iresnet50-unmasked-s1", "11222 11223 11222 11122")
    write(folder, "demo-iresnet50-unmasked-s2", "11222 11223 11222 11222")
    write(folder, "demo-ressanet50-masked-s0", "11112 11111 11111 11112", learnt=0.9)
    write(folder, "demo-ressanet50-masked-s1", "11112 11111 11111 11111", learnt=0.9)
    return folder


def other_runs(folder: Path) -> Path:
    """Beside `some_runs` three seeds trained on both twins, and of two losses, one of which was tried nine times.

    Trained on both: right on as many masked photos as the specialist, and on one bare photo less than its specialist.
    """
    some_runs(folder)
    rows = ["11112 11112 11112 11112", "11112 11111 11112 11112", "11111 11112 11112 11111"]
    for seed, row in enumerate(rows):
        write(folder, f"demo-iresnet50-both-s{seed}", row, "11111 11111 11111 11112")
        write(folder, f"demo-iresnet50-masked-arcface-s{seed}", row)
        write(folder, f"demo-iresnet50-masked-softmax-s{seed}", row.replace("11111", "11122").replace("11112", "11222"))
    for trial in range(9):
        row = "11111 11111 11111 " + ("11112" if trial == 4 else "11222")
        write(folder, f"demo-iresnet50-masked-cosface-t{trial}-trial-s0", row, scored_on="validation")
    return folder
