"""What do the tests of the HTTP service share?"""

from fix_api import api

__all__ = ["api"]
