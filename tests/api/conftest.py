"""What do the tests of the HTTP service share?"""

from support.api import api
from support.raw_http import echo

__all__ = ["api", "echo"]
