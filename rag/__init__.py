"""The engine: from a question to a cited answer.

Importing it closes the network switches of every library (see :mod:`rag.offline`), before any of them is read.

It also makes the models' threads sleep when they wait for one another. By default they spin, and one busy neighbour on
the same cores then costs a factor of ten (SmolLM2 on 2 shared cores: 8 to 12 tokens of a prompt a second instead of
114 to 151; embedding is as fast either way). OpenMP reads it once, for whichever library loads it first.
"""

import os

from rag import offline

offline.apply()
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
