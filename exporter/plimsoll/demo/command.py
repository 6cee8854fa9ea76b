"""`plimsoll demo`: the whole stack on loopback, from its first line to its end."""

from __future__ import annotations

import contextlib
import math
import secrets
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Protocol

import psycopg
from psycopg.conninfo import conninfo_to_dict

from plimsoll.demo import alertmanager, application, exporter, processes, programs, prometheus, receiver
from plimsoll.demo.history import DAY, History
from plimsoll.demo.postgres import PostgresServer, find_binaries
from plimsoll.demo.processes import ProcessError, workspace
from plimsoll.demo.service import Service, fetch
