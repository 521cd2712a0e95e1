"""The page; it speaks HTTP to the API and imports only rag.schemas.

Importing it tells Gradio to keep no statistics of who used the page: it would, and load pandas for each question.
"""

import os
import sys

os.environ.update(GRADIO_ANALYTICS_CACHE_FREQUENCY=str(sys.maxsize), GRADIO_ANALYTICS_MAX_EVENTS="1")
