"""Writes a dump of invented French law in the layout of the open-data dumps: two codes and a decree, all made up.

What is written follows from :class:`Text` values, so that a test can say by itself what is in force on a day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path

NEVER = dt.date(2999, 1, 1)
"""How the dumps write an open end."""


def day(year: int, month: int = 1, number: int = 1) -> dt.date:
    return dt.date(year, month, number)


@dataclass(frozen=True)
class Version:
    """One version of an article; its ``marker`` is a word that only its text holds."""

    id: str
    start: dt.date
    end: dt.date
    state: str
    marker: str
    markup: str
    nota: str = ""
    links: str = ""

    def holds(self, on: dt.date) -> bool:
        return self.start <= on < self.end


@dataclass(frozen=True)
class Article:
    number: str
    versions: tuple[Version, ...]


@dataclass(frozen=True)
class Division:
    """A division from ``start`` until ``end``; articles may stand in several divisions, one after the other."""

    id: str
    title: str
    start: dt.date
    end: dt.date
    divisions: tuple[Division, ...] = ()
    articles: tuple[Article, ...] = ()

    def below(self) -> Iterator[Division]:
        yield self
        for inner in self.divisions:
            yield from inner.below()


@dataclass(frozen=True)
class Text:
    """A text of the law: ``folder`` is the name of its folder, ``id`` that of its version."""

    folder: str
    id: str
    title: str
    nature: str
    start: dt.date
    end: dt.date
    state: str
    divisions: tuple[Division, ...] = ()
    articles: tuple[Article, ...] = ()
    number: str = ""
    visas: str = ""
    signatures: str = ""
    place: str = "code_et_TNC_en_vigueur/code_en_vigueur"

    def all_divisions(self) -> list[Division]:
        return list({inner.id: inner for division in self.divisions for inner in division.below()}.values())

    def all_articles(self) -> list[Article]:
        found = {article.versions[0].id: article for article in self.articles}
        for division in self.all_divisions():
            found |= {article.versions[0].id: article for article in division.articles}
        return list(found.values())

    def in_force(self, on: dt.date) -> set[str]:
        """The markers of the versions that are in force on a day."""
        return {v.marker for article in self.all_articles() for v in article.versions if v.holds(on)}

    def markers(self) -> set[str]:
        return {version.marker for article in self.all_articles() for version in article.versions}

    # --- writing

    def at(self, root: Path) -> Path:
        """The folder of this text in a dump that begins at ``root``."""
        kind = self.folder[:4]
        return root.joinpath("legi/global", self.place, kind, "TEXT", *_pairs(self.folder), self.folder)

    def file(self, root: Path, identifier: str) -> Path:
        """The file of an article or division in a dump that begins at ``root``."""
        kind, short = identifier[:4], identifier[4:8]
        part = {"ARTI": "article", "SCTA": "section_ta"}[short]
        return self.at(root).joinpath(part, kind, short, *_pairs(identifier), f"{identifier}.xml")

    def write(self, root: Path) -> Path:
        """Write the whole text; its folder."""
        folder = self.at(root)
        _write(folder / "texte" / "version" / f"{self.id}.xml", self._version())
        _write(folder / "texte" / "struct" / f"{self.id}.xml", self._struct())
        for division, above in self._placed():
            _write(self.file(root, division.id), self._section(division, above))
        for article in self.all_articles():
            for version in article.versions:
                _write(self.file(root, version.id), self._article(article, version))
        return folder

    def rewrite(self, root: Path, number: str, marker: str, markup: str) -> None:
        """Write the version with ``marker`` of an article anew, with other words."""
        for article in self.all_articles():
            for version in article.versions:
                if (article.number, version.marker) == (number, marker):
                    _write(self.file(root, version.id), self._article(article, replace(version, markup=markup)))
                    return
        raise AssertionError(f"no version {marker} of {number}")

    def _placed(self) -> Iterator[tuple[Division, tuple[Division, ...]]]:
        def below(division: Division, above: tuple[Division, ...]) -> Iterator[tuple[Division, tuple[Division, ...]]]:
            yield division, above
            for inner in division.divisions:
                yield from below(inner, (*above, division))

        for division in self.divisions:
            yield from below(division, ())

    def _common(self, identifier: str, nature: str) -> str:
        return (
            f"<META_COMMUN><ID>{identifier}</ID><ANCIEN_ID/><ORIGINE>LEGI</ORIGINE>"
            f"<URL>{identifier}.xml</URL><NATURE>{nature}</NATURE></META_COMMUN>"
        )

    def _chronicle(self) -> str:
        return (
            f"<META_TEXTE_CHRONICLE><CID>{self.folder}</CID><NUM>{self.number}</NUM><NUM_SEQUENCE>0</NUM_SEQUENCE><NOR/>"
            f"<DATE_PUBLI>{self.start}</DATE_PUBLI><DATE_TEXTE>{self.start}</DATE_TEXTE>"
            f"<DERNIERE_MODIFICATION>{self.start}</DERNIERE_MODIFICATION><VERSIONS_A_VENIR/><ORIGINE_PUBLI/>"
            "<PAGE_DEB_PUBLI>0</PAGE_DEB_PUBLI><PAGE_FIN_PUBLI>0</PAGE_FIN_PUBLI></META_TEXTE_CHRONICLE>"
        )

    def _version(self) -> str:
        return (
            f"<TEXTE_VERSION><META>{self._common(self.id, self.nature)}<META_SPEC>{self._chronicle()}"
            f"<META_TEXTE_VERSION><TITRE>{escape(self.title)}</TITRE><TITREFULL>{escape(self.title)}</TITREFULL>"
            f"<ETAT>{self.state}</ETAT><DATE_DEBUT>{self.start}</DATE_DEBUT><DATE_FIN>{self.end}</DATE_FIN>"
            "<AUTORITE/><MINISTERE/><MCS_TXT/><LIENS/></META_TEXTE_VERSION></META_SPEC></META>"
            f"<VISAS><CONTENU>{self.visas}</CONTENU></VISAS>"
            f"<SIGNATAIRES><CONTENU>{self.signatures}</CONTENU></SIGNATAIRES>"
            "<TP><CONTENU/></TP><NOTA><CONTENU/></NOTA><ABRO><CONTENU/></ABRO><RECT><CONTENU/></RECT></TEXTE_VERSION>"
        )

    def _struct(self) -> str:
        return (
            f"<TEXTELR><META>{self._common(self.id, self.nature)}<META_SPEC>{self._chronicle()}</META_SPEC></META>"
            f'<VERSIONS><VERSION etat="{self.state}"><LIEN_TXT debut="{self.start}" fin="{self.end}" id="{self.id}" '
            f'num="{self.number}"/></VERSION></VERSIONS>'
            f"<STRUCT>{_lines(self.articles, self.divisions, 1)}</STRUCT></TEXTELR>"
        )

    def _section(self, division: Division, above: Sequence[Division]) -> str:
        return (
            f"<SECTION_TA><ID>{division.id}</ID><TITRE_TA>{escape(division.title)}</TITRE_TA><COMMENTAIRE/>"
            f"<STRUCTURE_TA>{_lines(division.articles, division.divisions, len(above) + 2)}</STRUCTURE_TA>"
            f"{self._context(above)}</SECTION_TA>"
        )

    def _article(self, article: Article, version: Version) -> str:
        above = next(
            ((*above, division) for division, above in self._placed() if article in division.articles),
            (),
        )
        versions = "".join(
            f'<VERSION etat="{one.state}"><LIEN_ART debut="{one.start}" etat="{one.state}" fin="{one.end}" '
            f'id="{one.id}" num="{article.number}" origine="LEGI"/></VERSION>'
            for one in article.versions
        )
        return (
            f"<ARTICLE><META>{self._common(version.id, 'Article')}<META_SPEC><META_ARTICLE>"
            f"<NUM>{article.number}</NUM><ETAT>{version.state}</ETAT><DATE_DEBUT>{version.start}</DATE_DEBUT>"
            f"<DATE_FIN>{version.end}</DATE_FIN><TYPE>AUTONOME</TYPE></META_ARTICLE></META_SPEC></META>"
            f"{self._context(above)}<VERSIONS>{versions}</VERSIONS>"
            f"<NOTA><CONTENU>{version.nota}</CONTENU></NOTA>"
            f"<BLOC_TEXTUEL><CONTENU>{version.markup}</CONTENU></BLOC_TEXTUEL>"
            f"<LIENS>{version.links}</LIENS></ARTICLE>"
        )

    def _context(self, above: Sequence[Division]) -> str:
        inner = ""
        for division in reversed(above):
            inner = (
                f'<TM><TITRE_TM debut="{division.start}" fin="{division.end}" id="{division.id}">'
                f"{escape(division.title)}</TITRE_TM>{inner}</TM>"
            )
        return (
            f'<CONTEXTE><TEXTE autorite="" cid="{self.folder}" date_publi="{self.start}" '
            f'date_signature="{self.start}" ministere="" nature="{self.nature}" nor="" num="{self.number}">'
            f'<TITRE_TXT c_titre_court="{escape(self.title)}" debut="{self.start}" fin="{self.end}" '
            f'id_txt="{self.id}">{escape(self.title)}</TITRE_TXT>{inner}</TEXTE></CONTEXTE>'
        )


def _pairs(identifier: str) -> list[str]:
    digits = identifier[8:]
    return [digits[place : place + 2] for place in range(0, 10, 2)]


def _lines(articles: Sequence[Article], divisions: Sequence[Division], level: int) -> str:
    lines = [
        f'<LIEN_ART debut="{version.start}" etat="{version.state}" fin="{version.end}" id="{version.id}" '
        f'num="{article.number}" origine="LEGI"/>'
        for article in articles
        for version in article.versions
    ]
    lines += [
        f'<LIEN_SECTION_TA cid="{division.id}" debut="{division.start}" etat="VIGUEUR" fin="{division.end}" '
        f'id="{division.id}" niv="{level}" url="/LEGI/SCTA/{division.id}.xml">{escape(division.title)}'
        "</LIEN_SECTION_TA>"
        for division in divisions
    ]
    return "\n".join(lines)


def _write(path: Path, xml: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}\n', encoding="utf-8")


# --- the invented law -----------------------------------------------------------------------------------

_DUTIES = (
    "Tout batelier tient un registre des passages d'écluse",
    "Le gardien de berge vérifie l'état des perrés",
    "La péniche de plus de trente mètres porte un feu de poupe",
    "Le droit de halage s'exerce sur une bande de neuf pas",
    "Les crues sont annoncées par le syndicat du fleuve",
    "Nul ne peut amarrer sous un pont sans l'accord de l'éclusier",
    "Le péage du bief est dû par tonneau transporté",
)


@dataclass
class _Numbers:
    """Numbers of articles, versions and divisions that are never given twice."""

    prefix: str
    given: int = 0
    markers: list[str] = field(default_factory=list)

    def id(self, kind: str) -> str:
        self.given += 1
        return f"LEGI{kind}{self.prefix}{self.given:06}"


def _version(
    numbers: _Numbers, place: int, start: dt.date, end: dt.date, state: str, *, nota: str = "", links: str = ""
) -> Version:
    identifier = numbers.id("ARTI")
    marker = f"zq{identifier[-12:].lstrip('0')}"
    markup = (
        f"<p>{_DUTIES[place % len(_DUTIES)]}, selon le barème {marker}.</p>\n"
        f"<p>Le contrôle porte sur :<br/>1° Le tonnage déclaré au bief {place} ;<br/>2° L'heure du passage.</p>"
    )
    return Version(identifier, start, end, state, marker, markup, nota, links)


def _article(numbers: _Numbers, number: str, place: int) -> Article:
    """An article with one to four versions: repealed, changed and future ones in turn."""
    begin = day(2005, 3, 1)
    match place % 6:
        case 1:
            spans = [
                (begin, day(2012), "MODIFIE"),
                (day(2012), day(2019, 7), "MODIFIE"),
                (day(2019, 7), NEVER, "VIGUEUR"),
            ]
        case 2:
            spans = [(begin, day(2016, 1, 15), "ABROGE")]
        case 3:
            spans = [(begin, day(2030), "VIGUEUR"), (day(2030), NEVER, "VIGUEUR_DIFF")]
        case 4:
            spans = [
                (begin, day(2010), "MODIFIE"),
                (day(2015), day(2014), "MODIFIE_MORT_NE"),
                (day(2010), day(2021, 5, 1), "MODIFIE"),
                (day(2021, 5, 1), day(2028), "ABROGE_DIFF"),
            ]
        case _:
            spans = [(begin, NEVER, "VIGUEUR")]
    return Article(number, tuple(_version(numbers, place, *span) for span in spans))


def code(order: int, title: str, letters: str = "L", articles: int = 36) -> Text:
    """A code of three chapters; its second one was given another title in 2018."""
    numbers = _Numbers(f"{900 + order:06}")
    begin = day(2005, 3, 1)
    all_ = [_article(numbers, f"{letters}{1 + n // 12}1{1 + n // 24}-{1 + n % 12}", n) for n in range(articles)]
    third = len(all_) // 3
    first, second, last = tuple(all_[:third]), tuple(all_[third : 2 * third]), tuple(all_[2 * third :])
    one = Division(numbers.id("SCTA"), "Chapitre Ier : Des biefs", begin, NEVER, articles=first)
    old = Division(numbers.id("SCTA"), "Chapitre II : Des péages", begin, day(2018, 9), articles=second)
    new = Division(numbers.id("SCTA"), "Chapitre II : Des redevances", day(2018, 9), NEVER, articles=second)
    three = Division(numbers.id("SCTA"), "Chapitre III : Des berges", begin, NEVER, articles=last)
    book = Division(numbers.id("SCTA"), "Livre Ier : De la navigation", begin, NEVER, (one, old, new, three))
    whole = Division(numbers.id("SCTA"), "Partie législative", begin, NEVER, (book,))
    identifier = f"LEGITEXT{900 + order:06}000000"
    return Text(identifier, identifier, title, "CODE", begin, NEVER, "VIGUEUR", (whole,))


def decree(order: int = 7) -> Text:
    """A decree that is no code, so that its folder has the name of its publication."""
    numbers = _Numbers(f"{900 + order:06}")
    begin = day(2014, 6, 1)
    article = Article(
        "1er",
        (
            _version(numbers, 0, begin, day(2020), "MODIFIE"),
            _version(
                numbers,
                0,
                day(2020),
                NEVER,
                "VIGUEUR",
                nota="<p>Ces dispositions ne s'appliquent pas aux barques.</p>",
                links='<LIEN cidtexte="LEGITEXT000901000000" datesignatexte="" id="LEGIARTI000901000001" '
                'naturetexte="CODE" nortexte="" num="L111-1" numtexte="" sens="source" typelien="CITATION">'
                "Code de la batellerie - art. L111-1 (V)</LIEN>"
                '<LIEN cidtexte="JORFTEXT000000000001" datesignatexte="2019-12-02" id="JORFTEXT000000000001" '
                'naturetexte="DECRET" nortexte="" num="3" numtexte="2019-1234" sens="cible" typelien="MODIFIE">'
                "Décret n°2019-1234 du 2 décembre 2019 - art. 3</LIEN>"
                '<LIEN cidtexte="LEGITEXT000902000000" datesignatexte="" id="LEGIARTI000902000001" '
                'naturetexte="CODE" nortexte="" num="R999-9" numtexte="" sens="cible" typelien="CITATION">'
                "Code des berges - art. R999-9 (V)</LIEN>",
            ),
        ),
    )
    rest = tuple(_article(numbers, str(n), n) for n in range(2, 6))
    return Text(
        f"JORFTEXT{900 + order:06}000000",
        f"LEGITEXT{900 + order:06}000000",
        "Décret n° 2014-567 du 26 mai 2014 relatif aux écluses",
        "DECRET",
        begin,
        NEVER,
        "VIGUEUR",
        articles=(article, *rest),
        number="2014-567",
        visas="<p>Le Premier éclusier,<br/>Vu le code de la batellerie, notamment son article L. 111-1 ;</p>",
        signatures="<p>Fait le 26 mai 2014.<br/>Le Premier éclusier</p>",
        place="code_et_TNC_en_vigueur/TNC_en_vigueur",
    )


def law() -> list[Text]:
    """All of it: two codes and a decree, more than sixty articles."""
    return [code(1, "Code de la batellerie"), code(2, "Code des berges", "R", 30), decree()]
