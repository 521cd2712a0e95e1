"""The engine: from a question to a cited answer.

Importing it closes the network switches of every library (see :mod:`rag.offline`), before any of them is read.
"""

from rag import offline

offline.apply()
