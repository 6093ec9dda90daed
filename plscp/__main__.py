"""`python -m plscp` is the `plscp` command."""

import sys

from plscp.cli import main

sys.exit(main())
