"""What do the tests of the HTTP service share?"""

from fix_api import api
from fix_http import echo

__all__ = ["api", "echo"]
