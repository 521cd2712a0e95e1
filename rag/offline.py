"""The switches that keep every library from reaching for a network.

Libraries read them when they are imported, so ``rag/__init__.py`` sets them before anything else is. Only
``vauban models pull`` lifts them, in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

SWITCHES = {
    "DO_NOT_TRACK": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_OFFLINE": "1",
    "LANGCHAIN_TRACING_V2": "false",
    "LANGSMITH_TRACING": "false",
    "OTEL_SDK_DISABLED": "true",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_OFFLINE": "1",
}


def apply(environ: MutableMapping[str, str] | None = None) -> None:
    """Set every switch, over whatever the environment says."""
    (os.environ if environ is None else environ).update(SWITCHES)
