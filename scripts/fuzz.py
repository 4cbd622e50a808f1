"""Feed what reads strangers' bytes with bytes that no one wrote, each target for a while; a crash fails the run.

usage: fuzz.py WORK_DIR [TARGET…]

The targets are those of `fuzz/`. Builds, inputs found and crashes go below WORK_DIR. FUZZ_SECONDS is the time of
each target (60), and a run continues where the last one ended.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
FUZZ = CHECKOUT / "fuzz"
# Bounded memory: a length that is believed before the bytes are there must crash. Half would be what compiling the
# largest pattern of a schema takes together with all that was compiled before it.
MOST_MEGABYTES = 2048
# Longest time of one input in seconds, on a busy machine. The slowest honest one, a schema, takes a tenth of it.
MOST_SECONDS = 20
# Longest input in bytes: long enough for two archives' entries or a whole key set.
LONGEST = 8192


def build(work: Path) -> Path:
    """Compile all targets; the directory that they are in."""
    # The compiler's coverage flags are not for stable toolchains; nothing else here needs another one.
    environment = {**os.environ, "RUSTC_BOOTSTRAP": "1"}
    command = [
        "cargo",
        "fuzz",
        "build",
        "--fuzz-dir",
        str(FUZZ),
        "--sanitizer",
        "none",
        "--target-dir",
        str(work),
    ]
    subprocess.run(command, cwd=CHECKOUT, env=environment, check=True)
    told = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    host = next(line.removeprefix("host: ") for line in told.splitlines() if line.startswith("host: "))
    return work / host / "release"


def archive(directory: Path) -> bytes:
    """A package as a small archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for path in sorted(directory.iterdir()):
            if path.is_file():
                package.write(path, path.name)
        package.writestr("src/part.py", "X = 1\n" * 40)
    return out.getvalue()


def made_seeds() -> dict[str, list[bytes]]:
    """First inputs that other files of the checkout hold already."""
    vectors = json.loads((CHECKOUT / "proto/frames/vectors.json").read_text())
    frames = [bytes.fromhex(vector["frame_hex"]) for vector in [*vectors["frames"], *vectors["refused"]]]
    agents = [archive(CHECKOUT / "tests/agents" / name) for name in ("echo", "hello")]
    return {"frames": frames, "worker": [b"\x06" + frame for frame in frames], "archive": agents}


def plant(target: str, corpus: Path) -> None:
    """Put the first inputs of a target into its corpus."""
    corpus.mkdir(parents=True, exist_ok=True)
    written = [path.read_bytes() for path in sorted((FUZZ / "seeds" / target).glob("*"))]
    seeds = written + made_seeds().get(target, [])
    if not seeds:
        sys.exit(f"fuzz: {target} has no seeds: give it some in fuzz/seeds/{target}")
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)


def run(program: Path, work: Path, seconds: int) -> bool:
    """Run one target; whether it withstood."""
    target = program.name
    corpus, crashes, log = work / "corpus" / target, work / "crashes" / target, work / f"{target}.log"
    crashes.mkdir(parents=True, exist_ok=True)
    plant(target, corpus)
    command = [
        str(program),
        str(corpus),
        f"-artifact_prefix={crashes}/",
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MOST_MEGABYTES}",
        f"-timeout={MOST_SECONDS}",
        f"-max_len={LONGEST}",
        "-print_final_stats=1",
    ]
    with log.open("wb") as out:
        ended = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    lines = log.read_text(errors="replace").splitlines()
    units = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "?")
    if ended == 0:
        print(f"fuzz: {target}: {units} inputs, nothing found", flush=True)
        return True
    print("\n".join(lines[-40:]))
    found = [line.split("Test unit written to ")[-1] for line in lines if "Test unit written to" in line]
    print(f"fuzz: {target}: FAILED by {', '.join(found) or f'status {ended}, see {log}'}", flush=True)
    return False


def main() -> int:
    """0 if every target withstood."""
    work = Path(sys.argv[1]).resolve()
    known = sorted(path.stem for path in (FUZZ / "fuzz_targets").glob("*.rs"))
    wanted = sys.argv[2:] or known
    if unknown := sorted(set(wanted) - set(known)):
        sys.exit(f"fuzz: no such target: {', '.join(unknown)}; there are {', '.join(known)}")
    programs = build(work)
    seconds = int(os.environ.get("FUZZ_SECONDS") or 60)
    withstood = [run(programs / target, work, seconds) for target in wanted]
    return 0 if all(withstood) else 1


if __name__ == "__main__":
    sys.exit(main())
