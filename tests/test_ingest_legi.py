"""French law from its open-data dumps: each version of an article for its days, whatever is missing or broken."""

from __future__ import annotations

import datetime as dt
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ingest.discover import discover
from ingest.outline import outline
from ingest.parsers import Limits, legi, parse
from ingest.pipeline import Parts, SyncReport, sync
from ingest.reading import LocalReader
from ingest.sandbox import Sandbox
from ingest.source import Source
from rag.adapters.fake import DictStore, HashEmbedder
from rag.catalog import Catalog
from rag.errors import DocumentError, RejectReason
from rag.home import Home
from rag.types import BlockKind, Chunk, LegalStatus, Matrix, NormRank, Parsed, Query, Scope, Validity
from tests.legi_dump import NEVER, Article, Division, Text, Version, code, day, decree, law

DAYS = [
    day(1999), day(2005, 3, 1), day(2009, 12, 31), day(2010), day(2014, 6, 1), day(2015), day(2016, 1, 14),
    day(2016, 1, 15), day(2018, 8, 31), day(2018, 9), day(2019, 7), day(2021, 5, 1), day(2026, 11, 23), day(2028),
    day(2030), day(2040),
]  # fmt: skip


class CountingEmbedder(HashEmbedder):
    """Remembers what it was asked to embed."""

    def __init__(self) -> None:
        super().__init__(32)
        self.asked: list[str] = []

    def embed_passages(self, texts: Sequence[str]) -> Matrix:
        self.asked += texts
        return super().embed_passages(texts)


@dataclass
class World:
    """A corpus of law, and the parts that take it in."""

    folder: Path
    parts: Parts
    store: DictStore
    embedder: CountingEmbedder

    def sync(self) -> SyncReport:
        self.embedder.asked.clear()
        return sync(self.folder, "droit", self.parts)

    def seen(self, on: dt.date | None, **wanted: object) -> list[Chunk]:
        """The chunks that a search as of a day may find."""
        scope = Scope(frozenset(), 0, self.parts.catalog.lineages(), on)
        vector = self.embedder.embed_query("barème du bief")
        found = self.store.search(Query(vector, None), scope, 10_000).dense
        assert {one.chunk.id for one in found} == {stored.chunk.id for stored in self.store.chunks(scope)}
        return [one.chunk for one in found if all(getattr(one.chunk, key) == value for key, value in wanted.items())]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "droit"
    folder.mkdir()
    (folder / "corpus.toml").write_text('name = "droit"\ngroups = ["*"]\n', encoding="utf-8")
    home = Home.open(tmp_path / "home")
    catalog = Catalog.open(home.catalog)
    embedder = CountingEmbedder()
    store = DictStore(embedder.fingerprint, embedder.dimension)
    with Sandbox(Limits(seconds=60), workers=1) as sandbox:
        parts = Parts(home, catalog, store, embedder, LocalReader(sandbox), sandbox.members)
        yield World(folder, parts, store, embedder)
    catalog.close()


def read(folder: Path, limits: Limits | None = None) -> Parsed:
    return parse(Source(folder), limits or Limits())


def versions(parsed: Parsed) -> list[tuple[str, Validity | None]]:
    """The headings of articles with their days."""
    return [
        (block.text, block.validity)
        for block in parsed.blocks
        if block.kind is BlockKind.HEADING and block.text.startswith(("Article", "Annexe"))
    ]


def small(*articles: Article, divisions: tuple[Division, ...] = ()) -> Text:
    begin = day(2001)
    identifier = "LEGITEXT000990000000"
    return Text(identifier, identifier, "Code des quais", "CODE", begin, NEVER, "VIGUEUR", divisions, articles)


def article(number: str, *spans: tuple[dt.date, dt.date, str], base: int = 100, markup: str = "") -> Article:
    return Article(
        number,
        tuple(
            Version(f"LEGIARTI{990_000_000_000 + base + place:012}", *span, f"mot{base + place}",
                    markup or f"<p>Le quai {base + place} est tenu propre.</p>")
            for place, span in enumerate(spans)
        ),
    )  # fmt: skip


# --- the whole story


def test_a_search_as_of_a_day_sees_exactly_the_versions_in_force(world: World) -> None:
    """Through the whole of a sync: each version once and whole on its days, and on no other day."""
    texts = law()
    for text in texts:
        text.write(world.folder / "dump")
    report = world.sync()
    assert (report.added, report.rejected, report.exit_code) == (3, (), 0)
    assert sum(len(text.all_articles()) for text in texts) >= 60
    every = set().union(*(text.markers() for text in texts))
    for on in DAYS:
        expected = set().union(*(text.in_force(on) for text in texts))
        told = [marker for chunk in world.seen(on) for marker in every if marker in chunk.text.split("barème")[-1]]
        assert sorted(told) == sorted(expected), f"on {on}"
    everything = {marker for chunk in world.seen(None) for marker in every if marker in chunk.text}
    assert everything == every


def test_a_text_is_one_document_with_what_it_says_of_itself(world: World) -> None:
    """Its id is its folder's name, its path the folder's; rank, title and days come from the text."""
    for text in law():
        text.write(world.folder)
    world.sync()
    rows = world.parts.catalog.documents("droit", world.parts.catalog.published("droit"))
    told = {row.document.id: row.document for row in rows}
    assert set(told) == {"LEGITEXT000901000000", "LEGITEXT000902000000", "JORFTEXT000907000000"}
    codes, rule = told["LEGITEXT000901000000"], told["JORFTEXT000907000000"]
    assert codes.source.endswith("LEGI/TEXT/00/09/01/00/00/LEGITEXT000901000000")
    assert (codes.title, codes.norm_rank, codes.legal_status) == (
        "Code de la batellerie", NormRank.CODE, LegalStatus.IN_FORCE,
    )  # fmt: skip
    assert (rule.norm_rank, rule.validity) == (NormRank.DECREE, Validity(day(2014, 6, 1)))


def test_one_changed_article_is_embedded_again_alone(world: World) -> None:
    """An article's XML changes; the rest of its text keeps its vectors."""
    text = code(1, "Code de la batellerie")
    text.write(world.folder)
    decree().write(world.folder)
    world.sync()
    (changed,) = [one for one in text.all_articles() if one.number == "L111-1"]
    text.rewrite(world.folder, "L111-1", changed.versions[0].marker, "<p>Le registre est numérique.</p>")
    report = world.sync()
    assert (report.changed, report.unchanged, report.embedded) == (1, 1, 1)
    assert "numérique" in world.embedder.asked[0]
    assert world.sync().unchanged == 2


def test_a_renamed_division_has_each_title_on_its_days(world: World) -> None:
    """The breadcrumb of an article is the one that it had on the day asked for."""
    code(1, "Code de la batellerie").write(world.folder)
    world.sync()
    wanted = "Article L211-1"
    (before,) = world.seen(day(2018, 8, 31), reference=wanted)
    (after,) = world.seen(day(2018, 9), reference=wanted)
    assert "Chapitre II : Des péages" in before.path
    assert "Chapitre II : Des redevances" in after.path
    assert before.text == after.text
    assert (before.validity.end, after.validity.start) == (day(2018, 9), day(2018, 9))
    assert after.own_references == ("l211-1",)


def test_a_text_keeps_its_identity_between_folder_and_archive(world: World) -> None:
    """Zipped, it is the same document with the same digest, only moved; what is kept of it can be read again."""
    text = code(1, "Code de la batellerie")
    folder = text.write(world.folder)
    world.sync()
    (before,) = world.parts.catalog.documents("droit", world.parts.catalog.published("droit"))
    kept = world.parts.home.file(before.document.sha256)
    with zipfile.ZipFile(kept) as archive:
        assert sorted(archive.namelist()) == sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*.xml")
        )
        with zipfile.ZipFile(world.folder / "codes.zip", "w") as made:
            for name in archive.namelist():
                made.writestr(f"dump/{folder.name}/{name}", archive.read(name))
    first = kept.read_bytes()
    kept.unlink()
    shutil.rmtree(world.folder / "legi")
    report = world.sync()
    assert (report.rejected, report.embedded) == ((), 0)
    (after,) = world.parts.catalog.documents("droit", world.parts.catalog.published("droit"))
    assert after.document.id == before.document.id
    assert after.document.sha256 == before.document.sha256
    assert after.document.source == f"codes.zip/dump/{folder.name}"
    source = Source(world.folder / "codes.zip", (f"dump/{folder.name}",))
    assert world.parts.home.keep(source) == before.document.sha256
    assert kept.read_bytes() == first
    assert len(parse(source, Limits()).blocks) > 100


# --- what is read


def test_the_blocks_of_a_text(tmp_path: Path) -> None:
    """Title, visas and signatures before the articles; lines apart, notes as notes, links as keys."""
    parsed = read(decree().write(tmp_path))
    title, *rest = parsed.blocks
    assert (title.kind, title.level, title.text) == (BlockKind.HEADING, 1, parsed.title)
    assert [block.text for block in rest[:4]] == [
        "Le Premier éclusier,",
        "Vu le code de la batellerie, notamment son article L. 111-1 ;",
        "Fait le 26 mai 2014.",
        "Le Premier éclusier",
    ]
    first, second = (place for place, block in enumerate(parsed.blocks) if block.text == "Article 1er")
    assert [block.text for block in parsed.blocks[first + 2 : first + 5]] == [
        "Le contrôle porte sur :", "1° Le tonnage déclaré au bief 0 ;", "2° L'heure du passage.",
    ]  # fmt: skip
    note = parsed.blocks[second + 5]
    assert (note.kind, note.text) == (BlockKind.NOTE, "Ces dispositions ne s'appliquent pas aux barques.")
    links = parsed.blocks[second].links
    assert any(link.endswith("l111-1") for link in links)
    assert "decret:2019-1234#3" in links
    assert not any("r999-9" in link for link in links), "that one is cited by it, not the other way round"
    assert parsed.warnings == ()


def test_tables_are_rows(tmp_path: Path) -> None:
    """With their header."""
    rows = "<TR><TH>Tonnage</TH><TH>Prix</TH></TR><tr><td>1<br/>tonne</td><td>2 €</td></tr>"
    markup = f"<p>Le tarif :</p><table>{rows}</table>"
    text = small(article("1", (day(2001), NEVER, "VIGUEUR"), markup=markup))
    (table,) = [block for block in read(text.write(tmp_path)).blocks if block.kind is BlockKind.TABLE]
    assert table.rows == (("Tonnage", "Prix"), ("1 tonne", "2 €"))
    assert table.validity == Validity(day(2001))


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("VIGUEUR", LegalStatus.IN_FORCE),
        ("VIGUEUR_DIFF", LegalStatus.DEFERRED),
        ("ABROGE", LegalStatus.REPEALED),
        ("ABROGE_DIFF", LegalStatus.IN_FORCE),
        ("MODIFIE", LegalStatus.AMENDED),
        ("MODIFIE_MORT_NE", LegalStatus.AMENDED),
        ("PERIME", LegalStatus.EXPIRED),
        ("ANNULE", LegalStatus.ANNULLED),
        ("DISJOINT", LegalStatus.ANNULLED),
        ("TRANSFERE", LegalStatus.TRANSFERRED),
        ("DEPLACE", LegalStatus.TRANSFERRED),
        ("SANS_ETAT", None),
        ("", None),
    ],
)
def test_states(tmp_path: Path, state: str, status: LegalStatus | None) -> None:
    """Each state of the dumps has its status; one that nobody knows stays unknown and is said."""
    parsed = read(small(article("1", (day(2001), day(2010), state))).write(tmp_path))
    (block,) = [block for block in parsed.blocks if block.text == "Article 1"]
    assert block.legal_status is status
    assert any("unknown state" in warning for warning in parsed.warnings) is (state == "SANS_ETAT")


@pytest.mark.parametrize(
    ("start", "end", "state", "validity", "said"),
    [
        ("2001-01-01", "2999-01-01", "VIGUEUR", Validity(day(2001)), False),
        ("2001-01-01", "2222-02-22", "ABROGE_DIFF", Validity(day(2001)), False),
        ("2222-02-22", "2999-01-01", "VIGUEUR_DIFF", Validity(day(2222, 2, 22)), False),
        ("2999-01-01", "2999-01-01", "", Validity(), False),
        ("", "", "VIGUEUR", Validity(), False),
        ("hier", "2010-13-45", "VIGUEUR", Validity(), False),
        ("2010-01-01", "2010-01-01", "MODIFIE", Validity(day(2010), day(2010)), False),
        ("2010-01-01", "2009-01-01", "MODIFIE_MORT_NE", Validity(day(2010), day(2010)), False),
        ("2010-01-01", "2009-01-01", "VIGUEUR", Validity(), True),
    ],
)
def test_days(tmp_path: Path, start: str, end: str, state: str, validity: Validity, said: bool) -> None:
    """Open ends, days that are not fixed yet, versions that never were in force, and dates out of order."""
    text = small(article("1", (day(2001), NEVER, "VIGUEUR")))
    folder = text.write(tmp_path)
    (file,) = (folder / "article").rglob("*.xml")
    xml = file.read_text(encoding="utf-8")
    for name, old, new in (("DEBUT", "2001-01-01", start), ("FIN", "2999-01-01", end)):
        xml = xml.replace(f"<DATE_{name}>{old}<", f"<DATE_{name}>{new}<")
    file.write_text(xml.replace("<ETAT>VIGUEUR<", f"<ETAT>{state}<"), encoding="utf-8")
    parsed = read(folder)
    assert versions(parsed) == [("Article 1", validity)]
    assert any("out of order" in warning for warning in parsed.warnings) is said


def test_versions_stand_beside_each_other_oldest_first(tmp_path: Path) -> None:
    """In whatever order the structure names them, where the first of them is named."""
    one = article("1", (day(2015), NEVER, "VIGUEUR"), (day(2001), day(2015), "MODIFIE"))
    two = article("2", (day(2001), NEVER, "VIGUEUR"), base=200)
    parsed = read(small(Article("1", one.versions[:1]), two, Article("1", one.versions[1:])).write(tmp_path))
    assert versions(parsed) == [
        ("Article 1", Validity(day(2001), day(2015))),
        ("Article 1", Validity(day(2015))),
        ("Article 2", Validity(day(2001))),
    ]


def test_a_version_that_was_moved_is_in_one_place_on_any_day(tmp_path: Path) -> None:
    """Also on days on which no division says that it held it."""
    one = article("1", (day(2003), day(2030), "VIGUEUR"))
    places = [(day(2005), day(2010), "péages"), (day(2010), day(2012), "droits"), (day(2014), NEVER, "redevances")]
    divisions = tuple(
        Division(f"LEGISCTA99000000000{place}", f"Titre Ier : Des {title}", start, end, articles=(one,))
        for place, (start, end, title) in enumerate(places)
    )
    told = [
        (section.path[-1][16:], section.validity)
        for section in outline(read(small(divisions=divisions).write(tmp_path)).blocks)
        if section.number == "1"
    ]
    assert told == [
        ("péages", Validity(day(2003), day(2010))),
        ("droits", Validity(day(2010), day(2014))),
        ("redevances", Validity(day(2014), day(2030))),
    ]


def test_versions_of_a_division_with_one_title_are_one_place(tmp_path: Path) -> None:
    """What a division's new number in the data base does not change for readers is not told twice."""
    one = article("1", (day(2003), NEVER, "VIGUEUR"))
    divisions = tuple(
        Division(f"LEGISCTA99000000000{place}", "Titre Ier : Des droits", start, end, articles=(one,))
        for place, (start, end) in enumerate([(day(2001), day(2010)), (day(2010), NEVER)])
    )
    assert versions(read(small(divisions=divisions).write(tmp_path))) == [("Article 1", Validity(day(2003)))]


def test_headings_inside_an_annex_hold_for_its_days(tmp_path: Path) -> None:
    """An old annex with articles of its own is not in force for ever."""
    annex = article("Annexe 1", (day(2001), day(2010), "ABROGE"), markup="<p>Article 1</p><p>Les quais sont gris.</p>")
    sections = outline(read(small(annex).write(tmp_path)).blocks)
    inner = [section for section in sections if any("gris" in block.text for block in section.blocks)]
    assert [section.validity for section in inner] == [Validity(day(2001), day(2010))]


# --- what is missing or broken


def test_what_is_missing_costs_a_warning(tmp_path: Path) -> None:
    """Division files, the structure, the text's own page: the articles say where they stand, and none is lost."""
    text = code(1, "Code de la batellerie")
    folder = text.write(tmp_path)
    whole = read(folder)
    shutil.rmtree(folder / "section_ta")
    without = read(folder)
    assert {name for name, _ in versions(without)} == {name for name, _ in versions(whole)}
    assert "Livre Ier : De la navigation" in {block.text for block in without.blocks}
    assert [warning.split(": ")[0] for warning in without.warnings] == [
        "72 × article in no structure",
        "1 × division without a file",
    ]
    shutil.rmtree(folder / "texte")
    bare = read(folder)
    assert {name for name, _ in versions(bare)} == {name for name, _ in versions(whole)}
    assert (bare.title, bare.stated.norm_rank) == ("Code de la batellerie", NormRank.CODE)


def test_broken_files_cost_themselves(tmp_path: Path) -> None:
    """Entities, cut files, other XML, unreadable ones: the rest of the text is read, and the warnings name some."""
    text = code(1, "Code de la batellerie")
    folder = text.write(tmp_path)
    files = sorted((folder / "article").rglob("*.xml"))
    files[0].write_text('<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><ARTICLE>&d;</ARTICLE>')
    files[1].write_bytes(files[1].read_bytes()[:300])
    files[2].write_text("<html/>")
    files[3].write_text("")
    files[4].write_text(files[4].read_text(encoding="utf-8").replace("<CONTENU><p>", "<CONTENU><p>&secret;"))
    (folder / "article" / "link.xml").symlink_to("/etc/hostname")
    parsed = read(folder)
    assert len({name for name, _ in versions(parsed)}) >= 30
    said = " ".join(parsed.warnings)
    assert "4 × broken XML" in said
    assert "1 × not a file of LEGI" in said
    assert "article named in the structure, without a file" in said
    assert files[1].stem in said


def test_no_external_entity_is_read(tmp_path: Path) -> None:
    """A lone file that names one is refused; one of a text is left out."""
    secret = tmp_path / "secret.txt"
    secret.write_text("le mot de passe")
    text = small(article("1", (day(2001), NEVER, "VIGUEUR")))
    folder = text.write(tmp_path)
    (file,) = (folder / "article").rglob("*.xml")
    xml = file.read_text(encoding="utf-8").replace(
        "<ARTICLE>", f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{secret}">]><ARTICLE>', 1
    )
    file.write_text(xml.replace("<p>Le", "<p>&x; Le"), encoding="utf-8")
    assert not any("mot de passe" in block.text for block in read(folder).blocks)
    with pytest.raises(DocumentError) as refused:
        parse(Source(file), Limits())
    assert refused.value.reason in {RejectReason.CORRUPT, RejectReason.UNSUPPORTED}


def test_a_structure_that_contains_itself_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A division in itself is left out there; a structure that doubles at each level is cut."""
    one = article("1", (day(2001), NEVER, "VIGUEUR"))
    text = small(divisions=(Division("LEGISCTA990000000000", "Titre Ier", day(2001), NEVER, articles=(one,)),))
    folder = text.write(tmp_path)
    file = text.file(tmp_path, "LEGISCTA990000000000")
    line = '<LIEN_SECTION_TA debut="2001-01-01" fin="2999-01-01" id="{}">{}</LIEN_SECTION_TA>'
    begun = file.read_text(encoding="utf-8")
    file.write_text(
        begun.replace("</STRUCTURE_TA>", line.format("LEGISCTA990000000000", "Titre Ier") + "</STRUCTURE_TA>")
    )
    parsed = read(folder)
    assert [name for name, _ in versions(parsed)] == ["Article 1"]
    assert any("contains itself" in warning for warning in parsed.warnings)
    monkeypatch.setattr(legi, "_MOST_LINES", 20_000)
    for place in range(30):
        again = "".join(line.format(f"LEGISCTA9900000001{place + 1:02}", f"Chapitre {side}") for side in "AB")
        (file.parent / f"LEGISCTA9900000001{place:02}.xml").write_text(
            f"<SECTION_TA><ID>LEGISCTA9900000001{place:02}</ID><STRUCTURE_TA>{again}</STRUCTURE_TA></SECTION_TA>"
        )
    file.write_text(begun.replace("</STRUCTURE_TA>", line.format("LEGISCTA990000000100", "Titre") + "</STRUCTURE_TA>"))
    parsed = read(folder)
    assert [name for name, _ in versions(parsed)] == ["Article 1"]


def test_articles_without_a_number_or_text(tmp_path: Path) -> None:
    """The first is read under its bare word, the second says nothing; both are told."""
    nameless = article("", (day(2001), NEVER, "VIGUEUR"))
    empty = article("9", (day(2001), NEVER, "ABROGE"), base=300, markup="<p/>")
    parsed = read(small(nameless, empty).write(tmp_path))
    assert versions(parsed) == [("Article", Validity(day(2001)))]
    assert [warning.split(":")[0] for warning in parsed.warnings] == [
        "1 × article without a number", "1 × article without a text",
    ]  # fmt: skip


def test_a_text_beyond_the_limits_is_refused(tmp_path: Path) -> None:
    """By what its files hold together; one without a word has no text."""
    text = small(article("1", (day(2001), NEVER, "VIGUEUR"), markup=f"<p>{'mot ' * 300_000}</p>"))
    folder = text.write(tmp_path)
    with pytest.raises(DocumentError) as refused:
        read(folder, Limits(expanded=1))
    assert refused.value.reason is RejectReason.TOO_LARGE
    shutil.rmtree(folder / "article")
    shutil.rmtree(folder / "texte")
    (folder / "texte").mkdir()
    with pytest.raises(DocumentError) as refused:
        read(folder)
    assert refused.value.reason is RejectReason.NO_TEXT


def test_a_file_that_stands_alone_is_a_document(tmp_path: Path) -> None:
    """An article outside a dump has the title, the rank and the days that it says."""
    text = decree()
    text.write(tmp_path)
    file = text.file(tmp_path, text.articles[0].versions[0].id)
    with Sandbox(Limits(), workers=1) as sandbox:
        ((_, parsed),) = sandbox.parse([Source(file)])
    assert isinstance(parsed, Parsed)
    assert parsed.title == text.title
    assert (parsed.stated.norm_rank, parsed.stated.validity) == (
        NormRank.DECREE, Validity(day(2014, 6, 1), day(2020)),
    )  # fmt: skip
    assert parsed.stated.legal_status is LegalStatus.AMENDED
    assert [section.number for section in outline(parsed.blocks)] == ["1er"]


def test_a_division_that_stands_alone_tells_what_it_holds(tmp_path: Path) -> None:
    """Without its articles there is nothing else to say of it."""
    text = code(1, "Code de la batellerie")
    text.write(tmp_path)
    division = next(one for one in text.all_divisions() if one.title.endswith("Des biefs"))
    parsed = parse(Source(text.file(tmp_path, division.id)), Limits())
    assert parsed.title == "Code de la batellerie"
    assert [block.text for block in parsed.blocks[:3]] == [
        "Chapitre Ier : Des biefs", "- Article L111-1", "- Article L111-2",
    ]  # fmt: skip


def test_a_sidecar_stands_beside_the_folder(tmp_path: Path) -> None:
    """It says who may read a text, and may give it another id; what is no part of the text is told."""
    text = decree()
    folder = text.write(tmp_path)
    folder.with_name(f"{folder.name}.meta.toml").write_text('groups = ["juristes"]\nid = "ecluses"')
    (folder / "LISEZMOI.txt").write_text("Un mot.")
    (folder / "article" / "secret.xml").symlink_to("/etc/hostname")
    found = discover(tmp_path, "droit")
    (one,) = found.files
    assert (one.metadata.id, one.metadata.groups, one.named) == ("ecluses", frozenset({"juristes"}), True)
    assert [(row.path.rpartition("/")[2], row.reason) for row in found.rejected] == [
        ("LISEZMOI.txt", "unsupported"), ("secret.xml", "unsupported"),
    ]  # fmt: skip
    before = one.sha256
    text.rewrite(tmp_path, "1er", text.articles[0].versions[0].marker, "<p>Autre.</p>")
    assert discover(tmp_path, "droit").files[0].sha256 != before


def test_one_text_in_two_places_is_taken_in_once(world: World) -> None:
    """The other one is a row."""
    text = decree()
    text.write(world.folder / "a")
    replace(text, place="code_et_TNC_non_vigueur").write(world.folder / "b")
    report = world.sync()
    assert report.added == 1
    assert [row.reason for row in report.rejected] == [RejectReason.DUPLICATE_ID]


def test_a_text_in_an_archive_does_without_its_broken_files(world: World) -> None:
    """They are rows; the rest of the text is read, kept and published."""
    text = decree()
    folder = text.write(world.folder.parent)
    packed = world.folder / "a.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in folder.rglob("*.xml"):
            archive.write(file, f"x/{folder.name}/{file.relative_to(folder).as_posix()}")
        archive.writestr(f"x/{folder.name}/article/.hidden.xml", "<ARTICLE/>")
        archive.writestr(f"x/{folder.name}/article/../b.xml", "<ARTICLE/>")
        archive.writestr(f"x/{folder.name}/article/bomb.xml", b" " * 9_000_000, zipfile.ZIP_DEFLATED)
    broken = text.all_articles()[-1].versions[0].marker.encode()
    packed.write_bytes(packed.read_bytes().replace(broken, b"?" * len(broken)))
    report = world.sync()
    assert report.added == 1
    assert sorted(row.reason for row in report.rejected) == ["corrupt", "outside", "too_large"]
    (row,) = world.parts.catalog.documents("droit", world.parts.catalog.published("droit"))
    with zipfile.ZipFile(world.parts.home.file(row.document.sha256)) as kept:
        assert len(kept.namelist()) == len(list(folder.rglob("*.xml"))) - 1
