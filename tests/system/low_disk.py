"""plscp on a disk that has as much free as the file beside the settings says: real but for the answer of statvfs."""

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from plscp.cli import main

FREE = Path("free")
real = os.statvfs


def statvfs(path: Any) -> os.statvfs_result:
    found = list(real(path))
    found[0], found[1], found[4] = 1, 1, int(FREE.read_text())
    return os.statvfs_result(found)


if __name__ == "__main__":
    os.statvfs = statvfs
    sys.exit(main())
