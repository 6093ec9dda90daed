"""`python -m tests.cluster build|up|down|purge`: what tests/cluster runs on, by hand."""

import sys

from tests.cluster.cluster import KUBECONFIG, Cluster, timed
from tests.cluster.parts import PROGRAMS, VERSION, Missing, prepare, purge


def main(arguments: list[str]) -> int:
    """Do one of them; where the machine cannot, say why."""
    cluster = Cluster()
    try:
        match arguments:
            case ["build"]:
                prepare()
            case ["up"]:
                prepare()
                with timed("node ready"):
                    cluster.up()
                print(f"export KUBECONFIG={KUBECONFIG} PATH={PROGRAMS}:$PATH  # the image has the tag {VERSION}")
            case ["node"]:
                cluster.second_node()
            case ["down"]:
                cluster.down()
            case ["purge"]:
                cluster.down()
                purge()
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except Missing as missing:
        print(f"plscp: {missing}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
