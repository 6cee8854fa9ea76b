"""Runs the command line as `python -m plimsoll`."""

import sys

from plimsoll.cli import main

sys.exit(main())
