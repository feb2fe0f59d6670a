"""Does each nemesis do what its name says, and does its heal leave nothing of it?

Against a real small cluster, which they all break and mend in turn; after each of them a task has to go through from the API to its
effect. One of each family runs with the ordinary tests, all of them with LEASEQ_TEST_ALL_NEMESES=1.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import psutil
import psycopg
import pytest
import pytest_asyncio
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError, TimeoutError

from leaseq.model import TERMINAL
from leaseq_chaos.cluster.cluster import Cluster, Layout, open_cluster
from leaseq_chaos.cluster.proxy import Proxy
from leaseq_chaos.nemesis import clocks
from leaseq_chaos.nemesis.catalogue import NEMESES
from leaseq_chaos.nemesis.nemesis import Impossible, Injury
from leaseq_chaos.scenario import DEFAULT_CONFIG
from leaseq_chaos.workload.accounts import prepare
from source_tree import ROOT
