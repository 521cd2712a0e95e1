"""The ``vauban eval`` commands. They wire the folders together and so may cross the arrows between them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from eval import answers, cases, claims, extraction, gate, hostile, injection, report, retrieval, runs, speed
from eval.compare import compare
from eval.page import page
from eval.vectors import CachedEmbedder
from ingest import pipeline
from ingest.chunk import split_text
from ingest.jobs import open_parts
from rag import extracts, schemas
from rag.cosines import Cosines
from rag.errors import Conflict
from rag.home import Home
from rag.live import Live
from rag.seams import Generator
from rag.settings import Settings
from rag.types import Chunk, Principal
from rag.wiring import Vauban, dense_weight, open_embedder, open_reranker, open_vauban

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
SaveOption = Annotated[Path | None, typer.Option("--save", help="Keep the run in this JSON file.")]
SplitOption = Annotated[str | None, typer.Option("--split", help="Only the cases of this split: dev or frozen.")]


@app.command("retrieval")
def measure_retrieval(
    dataset: Annotated[Path, typer.Option("--dataset", help="Folder with corpus.jsonl, queries.jsonl and qrels.tsv.")],
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the search on a data set in the BEIR layout, in a store of its own that is thrown away."""
    from rag.adapters.qdrant_edge import EdgeStore

    settings = Settings.load()
    found = retrieval.evaluate(
        dataset,
        split=_split,
        embedder=open_embedder(settings),
        open_store=EdgeStore.open,
        cache=settings.root / "cache" / "vectors",
        reranker=open_reranker(settings),
        dense_weight=dense_weight(settings),
        settings=_chosen(settings),
    )
    if save:
        runs.save(found.as_run(), save)
    print(report.as_text(found.as_json()) if as_json else found.as_table())


@app.command("answers")
def measure_answers(
    questions: Annotated[
        list[Path] | None, typer.Option("--questions", help="Files of questions; default the golden set.")
    ] = None,
    split: SplitOption = None,
    worksheet: Annotated[
        int, typer.Option("--worksheet", min=0, help="Print this many displayed sentences for a person to judge.")
    ] = 0,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask golden questions of the published corpora, and judge what a reader would see."""
    settings = Settings.load()
    asked = [case for case in (cases.load(questions) if questions else cases.golden()) if split in (None, case.split)]

    def through(ask: answers.Ask, published: set[str], models: dict[str, str]) -> answers.Report:
        missing = {case.corpus for case in asked if case.corpus} - published
        if missing:
            raise Conflict(
                f"these corpora are not published here: {', '.join(sorted(missing))}; run `make samples` first",
                f"ces corpus ne sont pas publiés ici : {', '.join(sorted(missing))} ; lancez d'abord « make samples »",
                code="not_published",
            )
        about = report.facts(settings=_chosen(settings), models=models, corpus=_fingerprint(asked))
        return answers.run(asked, ask, labels=answers.read_labels(), about=about)

    found = _with_engine(settings, through)
    if save:
        runs.save(found.as_run(split or ("golden" if questions is None else "questions")), save)
    if worksheet:
        print(report.as_text(found.worksheet(worksheet)))
    else:
        print(report.as_text(found.as_json()) if as_json else found.as_text())


@app.command("claims")
def measure_claims(
    split: SplitOption = None,
    responses: Annotated[
        Path | None, typer.Option("--responses", help="Rank these rated answers by faithfulness instead.")
    ] = None,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the verification of claims on minimal pairs, true paraphrases and sentences worded freely."""
    similarity = Cosines(open_embedder(Settings.load()))
    if responses is not None:
        rows = [json.loads(line) for line in responses.read_text(encoding="utf-8").splitlines() if line.strip()]
        print(report.as_text(claims.rated(rows, similarity)))
        return
    found = claims.measure(split, similarity=similarity)
    if save:
        settings = Settings.load()
        about = report.facts(
            settings=_chosen(settings), models={"embedder": open_embedder(settings).fingerprint}, corpus="golden"
        )
        runs.save(claims.as_run(split, similarity, about), save)
    print(json.dumps(found, ensure_ascii=False, indent=2) if as_json else claims.table(found))


@app.command("scoring", hidden=True)
def fit_scoring() -> None:
    """Fit anew by which weights a claim is scored, on development sentences; for those who change the verification."""
    from eval import scoring

    found = scoring.fit(scoring.examples())
    scoring.write(found, Path(extracts.__file__).parent / "data" / "verdicts.json")
    print(report.as_text(found))


@app.command("injection")
def measure_injection(
    attacks: Annotated[
        list[Path] | None, typer.Option("--attacks", help="Files of attacks; default the shipped set.")
    ] = None,
    obedient: Annotated[
        bool, typer.Option("--obedient/--no-obedient", help="Also a model that obeys every order of a document.")
    ] = True,
    save: SaveOption = None,
    as_json: JsonOption = False,
) -> None:
    """Attack a copy of this home with hostile documents, and see what reaches the reader."""
    settings = Settings.load()
    if Home.open(settings.root).server() is not None:
        raise Conflict(
            "a server is running on this home; stop it, or copy the home, before it is attacked",
            "un serveur utilise ce dossier ; arrêtez-le, ou copiez le dossier, avant de l'attaquer",
            code="server_running",
        )
    asked = [one for path in attacks or [hostile.ATTACKS] for one in hostile.attacks(path)]
    with tempfile.TemporaryDirectory(prefix="vauban-attacked-") as folder:
        root = Path(folder)
        attacked = settings.model_copy(update={"home": root / "home", "sources": ()})
        shutil.copytree(settings.root, attacked.root, ignore=shutil.ignore_patterns("*.lock", "server.json", "cache"))
        with open_vauban(attacked) as vauban:
            clean = [name for name, lineage in vauban.catalog.lineages().items() if lineage]
            if not clean:
                raise Conflict(
                    "nothing is published here to be attacked; run `make samples` first",
                    "rien n'est publié ici qui puisse être attaqué ; lancez d'abord « make samples »",
                    code="not_published",
                )
            hostile.write(asked, root / "hostile")
            with open_parts(vauban) as parts:
                pipeline.sync(root / "hostile", hostile.CORPUS, parts)
            models: dict[str, Generator | None] = {"none": None}
            if vauban.generator is not None:
                models[settings.generator] = vauban.generator
            if obedient:
                models["obedient"] = injection.Obedient()
            about = report.facts(settings=_chosen(settings), models=_models(vauban), corpus=hostile.fingerprint(asked))
            vauban.embedder = CachedEmbedder(vauban.embedder)  # each question is asked under every model and policy
            found = injection.run(
                asked,
                lambda model, policy: vauban.engine_with(model, policy),
                models,
                vauban.local,
                clean,
                about=about,
            )
    if save:
        runs.save(found.as_run(), save)
    print(report.as_text(found.as_json()) if as_json else found.as_text())
    raise typer.Exit(1 if any(outcome.harmful for outcome in found.outcomes) else 0)


@app.command("speed")
def measure_speed(split: SplitOption = "dev", as_json: JsonOption = False) -> None:
    """Measure how long a reader waits for passages and for the answer; the server must not be running."""
    settings = Settings.load()
    asked = [case for case in cases.golden() if split in (None, case.split)]
    with open_vauban(settings) as vauban:
        vauban.warm()
        about = report.facts(settings=_chosen(settings), models=_models(vauban), corpus=_fingerprint(asked))
        found = speed.measure(vauban.engine, asked, _reader(vauban), about)
    print(report.as_text(found.as_json()) if as_json else found.as_text())


KeptArgument = Annotated[list[Path], typer.Argument(help="JSON files that --save wrote.")]


@app.command("compare")
def compare_runs(
    first: Annotated[Path, typer.Argument(help="A run that --save wrote.")],
    second: Annotated[Path, typer.Argument(help="Another run over the same rows.")],
    out: Annotated[Path | None, typer.Option("--out", help="Write both and their difference as an HTML page.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs row by row, with the significance of each difference."""
    runs_read = runs.load(first), runs.load(second)
    found = compare(*runs_read)
    if out:
        _write(out, page(runs_read, [found]))
    print(report.as_text(found.as_json()) if as_json else found.as_text())


@app.command("report")
def write_report(
    kept: KeptArgument,
    out: Annotated[Path, typer.Option("--out", help="The HTML page to write.")] = Path("report.html"),
) -> None:
    """Write runs as one HTML page with plots, breakdowns and failures, which needs nothing else to be read."""
    _write(out, page([runs.load(path) for path in kept]))
    print(out)


@app.command("gate")
def check_floors(
    kept: KeptArgument,
    floors: Annotated[
        Path | None, typer.Option("--floors", help="TOML of the bounds; default the shipped one.")
    ] = None,
) -> None:
    """Exit 1 when a run falls below the floors that are kept for it; for continuous integration."""
    found = gate.breaches([runs.load(path) for path in kept], gate.read(floors or gate.FLOORS))
    for breach in found:
        print(breach)
    raise typer.Exit(1 if found else 0)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@app.command("extraction")
def measure_extraction(
    dataset: Annotated[Path, typer.Option("--dataset", help="Folder in the BEIR layout whose queries have answers.")],
    as_json: JsonOption = False,
) -> None:
    """Measure how often the answer is inside the sentences that are quoted, within 60 and 120 words."""
    settings = Settings.load()
    about = report.facts(settings=_chosen(settings), models={}, corpus=dataset.name)
    found = extraction.evaluate(_spans_of(dataset, settings), dataset=dataset.name, run=about)
    print(report.as_text(found.as_json()) if as_json else found.as_table())


@app.command("quotes", hidden=True)
def fit_quotes(
    dataset: Annotated[list[Path], typer.Option("--dataset", help="Folders whose queries have answers.")],
    every: Annotated[int, typer.Option("--every", min=1, help="Take one query in so many.")] = 1,
) -> None:
    """Fit anew which sentences are quoted, on data sets and on the development and practice questions."""
    settings = Settings.load()
    sets = {folder.name: extraction.rows(_spans_of(folder, settings, every)) for folder in dataset}
    with open_vauban(settings, generate=False) as vauban:
        vauban.warm()
        sets["golden"] = extraction.rows(extraction.of_golden(vauban.engine, _reader(vauban)))
    trees, figures = extraction.fit(sets)
    extraction.write(trees, figures, Path(extracts.__file__).parent / "data" / "extracts.json")
    print(report.as_text(figures))


def _spans_of(dataset: Path, settings: Settings, every: int = 1) -> list[extraction.Asked]:
    from rag.adapters.qdrant_edge import EdgeStore

    return extraction.read(
        dataset,
        split=_split,
        embedder=open_embedder(settings),
        open_store=EdgeStore.open,
        cache=settings.root / "cache" / "vectors",
        every=every,
        dense_weight=dense_weight(settings),
    )


@app.command("sufficiency", hidden=True)
def fit_sufficiency() -> None:
    """Fit anew when to refuse, on the development and practice questions; for those who change the search."""
    from eval import sufficiency

    with open_vauban(Settings.load(), generate=False) as vauban:
        vauban.warm()
        found = sufficiency.fit(vauban.engine, _reader(vauban))
    sufficiency.write(found, Path(extracts.__file__).parent / "data" / "sufficiency.json")
    print(report.as_text(found.figures))


def _split(line: retrieval.Line) -> list[Chunk]:
    """A document of a data set, split as an article or page of the real corpora is."""
    return split_text(
        line.id,
        line.title,
        line.text,
        corpus=retrieval.CORPUS,
        language=line.language,
        section=line.place,
        article=line.article or "",
    )


def _with_engine(
    settings: Settings, through: Callable[[answers.Ask, set[str], dict[str, str]], answers.Report]
) -> answers.Report:
    """Ask through the server that owns the home, or, when there is none, own it for the run."""
    server = Home.open(settings.root).server()
    if server is None:
        with open_vauban(settings) as vauban:
            published = {name for name, lineage in vauban.catalog.lineages().items() if lineage}
            return through(answers.of_engine(vauban.engine, _reader(vauban)), published, _models(vauban))
    live = Live(server, settings.language)
    try:

        def ask(case: cases.Case) -> schemas.Asked:
            return live.ask(case.text, None, case.as_of.isoformat() if case.as_of else None)

        return through(ask, set(live.published()), {"server": server.url})
    finally:
        live.close()


def _reader(vauban: Vauban) -> Principal:
    """Who asks the golden questions: the local person, who must be one of the samples' audience."""
    return vauban.local


def _chosen(settings: Settings) -> dict[str, object]:
    """The settings that decide what an answer is."""
    names = {"embedder", "generator", "reranker", "policy", "context", "llama_url", "local_groups", "local_clearance"}
    return settings.model_dump(mode="json", include=names)


def _models(vauban: Vauban) -> dict[str, str]:
    parts = {"embedder": vauban.embedder, "generator": vauban.generator, "reranker": vauban.reranker}
    return {name: part.fingerprint for name, part in parts.items() if part is not None}


def _fingerprint(asked: list[cases.Case]) -> str:
    """A hash of the questions that were asked."""
    return report.digest("\n".join(f"{case.id}\t{case.text}" for case in asked))


if __name__ == "__main__":
    app()
