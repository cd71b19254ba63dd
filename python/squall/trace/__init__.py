"""Traces: what each life of each worker did with trees and tuples, and the laws that hold of it.

`topology.trace.dir` has the workers of a run write them; `python -m squall.trace FOLDER` tries the laws on them.
"""

from squall.trace.laws import Breach, check
from squall.trace.life import Life, lives_in

__all__ = ["Breach", "Life", "check", "lives_in"]
