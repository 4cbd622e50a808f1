"""The Dockerfile, the release and the scripts that build the root say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rootfs import layers, notices
from rootfs.bom import Part

CHECKOUT = Path(__file__).resolve().parent.parent
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()


def test_the_dockerfile_gives_programs_the_same_variables_and_user() -> None:
    (told,) = re.findall(r"^ENV (.+)$", DOCKERFILE, re.MULTILINE)
    assert dict(each.split("=", 1) for each in told.split()) == layers.ENVIRONMENT
    assert f"USER {layers.USER}:{layers.USER}" in DOCKERFILE
    for place in layers.HIS:
        assert f"/out/layers/base/{place} /{place}" in DOCKERFILE


def test_the_dockerfile_installs_what_this_checkout_is_tested_with() -> None:
    setup = (CHECKOUT / "scripts" / "setup").read_text()
    (wanted,) = re.findall(r"^uv_version=(\S+)$", setup, re.MULTILINE)
    assert f"uv=={wanted}" in DOCKERFILE
    (toolchain,) = re.findall(
        r'^rust-version = "([\d.]+)"$', (CHECKOUT / "Cargo.toml").read_text(), re.MULTILINE
    )
    (image,) = re.findall(r"^FROM rust:([\d.]+)-", DOCKERFILE, re.MULTILINE)
    assert image == toolchain


def test_the_dockerfile_asks_for_health_as_the_image_that_is_made_without_an_engine() -> None:
    (options, command) = re.findall(
        r"^HEALTHCHECK (.+) CMD (\[.+\])$", DOCKERFILE.replace("\\\n", ""), re.MULTILINE
    )[0]
    assert tuple(json.loads(command)) == layers.HEALTH
    assert dict(each.removeprefix("--").split("=") for each in options.split()) == {
        "interval": f"{layers.HEALTH_TIMES['Interval']}s",
        "timeout": f"{layers.HEALTH_TIMES['Timeout']}s",
        "start-period": f"{layers.HEALTH_TIMES['StartPeriod']}s",
        "retries": str(layers.HEALTH_RETRIES),
    }


def test_every_layer_is_copied_in_its_order() -> None:
    copied = re.findall(r"^COPY --from=build /out/layers/(\w+)/ /$", DOCKERFILE, re.MULTILINE)
    assert copied == ["base", "python", "uv", "par"]


def test_the_version_of_the_manifest_has_a_chapter_of_the_changelog() -> None:
    (version,) = re.findall(r'^version = "([^"]+)"$', (CHECKOUT / "Cargo.toml").read_text(), re.MULTILINE)
    assert re.search(rf"^## {re.escape(version)}$", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert (
        f"\nversion: {version}\nappVersion: {version}\n"
        in (CHECKOUT / "conf/helm/par/Chart.yaml").read_text()
    )


def test_a_layer_is_the_same_whoever_builds_it_and_when(tmp_path: Path) -> None:
    made = []
    for number, mask in enumerate((0o644, 0o600)):
        root = tmp_path / str(number)
        (root / "usr/bin").mkdir(parents=True)
        (root / "var/lib/par").mkdir(parents=True)
        for name in ("b", "a") if number else ("a", "b"):
            path = root / "usr/bin" / name
            path.write_text(name)
            path.chmod(mask)
        (root / "usr/bin/a").chmod(mask | 0o100)
        (root / "bin").symlink_to("usr/bin")
        made.append(layers.layer("one", root, 0))
    assert made[0] == made[1] and made[0].digest == made[1].digest
    assert (made[0].size, made[0].files) == (2, 2)


def test_a_text_stands_once_below_all_that_came_with_it(tmp_path: Path) -> None:
    (tmp_path / "LICENSE-MIT").write_text("Copyright A\r\n\r\nPermission\r\n")
    (tmp_path / "notice.txt").write_text("Thanks\n")
    (tmp_path / "license_checker.rs").write_text("fn main() {}\n")
    (tmp_path / "README.md").write_text("see LICENSE\n")
    found = notices.texts(tmp_path)
    assert found == ["Copyright A\n\nPermission", "Thanks"]
    part = [Part(name, "1.0", f"pkg:cargo/{name}@1.0", ("MIT",)) for name in ("one", "two", "bare")]
    told = notices.page(
        [
            notices.Held(part[0], tuple(found)),
            notices.Held(part[1], ("Copyright A Permission",)),
            notices.Held(part[2], ()),
        ]
    )
    assert told.count("Permission") == 1
    assert "one 1.0, two 1.0\n\nCopyright A" in told
    assert "bare 1.0: MIT" in told
