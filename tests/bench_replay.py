"""Answers over HTTP that are made once more from their records, by hand; one line of JSON.

    OMP_NUM_THREADS=1 python -m tests.bench_replay HOME --count 50

HOME is a home with the sample corpora published; it is copied. Each record is replayed after all have been made, in
another order, with the model and the seed that it names.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import httpx

from rag.database import Database
from rag.keys import Keys
from rag.types import Access, Principal, Role
from tests.bench_service import CORPORA, REAL, questions, show
from tests.service_clients import home_database, people, service

SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--set", action="append", default=[], help="A setting, as VAUBAN_NAME=value.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-replay-") as folder:
        home = Path(folder) / "home"
        shutil.copytree(chosen.home, home)
        database = home_database(home)
        persons = people(database, CORPORA, len(CORPORA))
        with closing(Database.open(database)) as opened:
            who = Principal("auditor", frozenset({"agents"}), roles=frozenset({Role.AUDITOR}), access=Access.KEY)
            auditor = {"Authorization": f"Bearer {Keys(opened).create(who, 1)[1]}"}
        settings = REAL | dict(one.split("=", 1) for one in chosen.set)
        with (
            service(Path(folder), **settings) as server,
            httpx.Client(base_url=server.url, trust_env=False, timeout=600) as to,
        ):
            asked = [(person, question) for person in persons for question in questions()[person.corpus]]
            random.Random(SEED).shuffle(asked)
            for person, question in asked[: chosen.count]:
                body = {
                    "model": "vauban",
                    "messages": [{"role": "user", "content": question}],
                    "seed": SEED,
                    "max_tokens": chosen.tokens,
                }
                to.post("/v1/chat/completions", json=body, headers=person.headers).raise_for_status()
            listed = (
                to.get(f"/v1/audit/records?kind=answer&limit={chosen.count}", headers=auditor).raise_for_status().json()
            )
            records = [one["seq"] for one in listed["data"]]
            random.Random(SEED + 1).shuffle(records)
            done = [
                to.post(f"/v1/audit/records/{one}/replay", headers=auditor).raise_for_status().json() for one in records
            ]
            differences = Counter(difference for one in done for difference in one["differences"])
            equal = sum(one["equal"] for one in done)
            show("replay", {"records": len(done), "equal": equal, "differences": differences})


if __name__ == "__main__":
    main()
