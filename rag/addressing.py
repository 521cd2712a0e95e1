"""How a sentence that speaks to a machine is told from a rule for people: by the kinds of its words and their order.

Each word is written as one letter for what it may be (:data:`_KINDS`): somebody who answers, an act of saying, hiding
or preferring, an answer, a question, a source, an order. What attacks have in common is then an order of such letters
(:data:`_SHAPES`), whatever the words: "the tool shall report" and "le logiciel mentionnera" look alike. The shapes are
those that our own attack sentences have and that (nearly) none of 65,000 sentences of real regulations has. Pure.
"""

from __future__ import annotations

import functools
import re
from typing import Final

_ENDING: Final = (
    r"(?:e|es|s|t|ons|ez|ent|ant|er|ir|re|era|eras|erai|erez|eront|erons|erait|eraient|rait|raient|ra|ras|rez|ront|"
    r"rons|ait|aient|iez|iee?s?|ees?|ed|ing|i|is|it|us?|ues?|isse|issent|ssent|ions)?"
)
_KINDS: Final = tuple(
    (letter, re.compile(words))
    for letter, words in (
        # Somebody is spoken to as "tu", which no regulation does.
        ("U", r"tu|toi|te|ton|tes|sois|retiens|thou"),
        ("y", r"ta"),
        ("Us", r"reponds|dis|redis|ecris|traduis|decris|promets|obeis|(?:repond|di|ecri|affirme|cite|indique|donne|"
               r"mentionne|confirme|presente)ras"),
        ("Uh", r"tais|omets|abstiens|ignoreras|oublieras|tairas"),
        # It is given a part to play, or something to undo.
        ("P", r"imagine[sz]?|imaginez|imaginons|pretend(?:s|ez)?|incarn\w+|roleplay\w*|unfiltered|jailbreak\w*|"
              r"outrepass\w+|persuade[sz]?|persuadez|convaincs|convainquez|debranche\w*|filtre|"
              r"mentez|mens|mentent|obeissez|obey|comply|decode[rz]?|decodez|dechiffrez?|verbatim|override"),
        # Somebody who answers: alone (M), with a word that says so (m, a with g).
        ("M", r"ia|ais?|ias|llms?|gpt\w*|chatbots?|chatgpt|bots?|vauban|conversationnel\w*|crawlers?|copilot"),
        ("m", r"outils?|dispositifs?|logiciels?|programmes?|moteurs?|systemes?|robots?|machines?|automates?|"
              r"assistants?|algorithmes?|interfaces?|generateurs?|engines?|tools?|software|programs?|systems?|"
              r"algorithms?|verificateurs?|checkers?|ordinateurs?|computers?"),
        ("a", r"agents?|modeles?|models?|redacteurs?|services?|plateformes?|applications?|portails?|lecteurs?|"
              r"readers?|correcteurs?"),
        ("g", r"virtuel\w*|automati(?:que|se|c)\w*|automated|generati\w+|generatrices?|generee?s?|langages?|"
              r"langue|language|"
              r"dialogue|indexation|exploration|intelligen\w+|artificiel\w*|artificial|answering|retrieval|recherche|"
              r"synthese|conversation|restitution|virtual|summari\w+|consultation|search"),
        ("l", r"lit|lis|lisent|lisant|lisez|lira|liront|lirait|lire|reads?|reading|traitent|traitant|resume[sz]?|"
              r"resument|resumant|parcour\w+|indexent|indexant|process(?:es|ing)?|pars(?:e|es|ing)|"
              r"analys(?:e|es|ent|ant|ing)|ingest\w*|redigent|redige|rediger|generent|summari[sz]es?|interrog\w+"),
        # Who asks, what is asked, what is answered, and from what.
        ("A", r"reponses?|repliques?|answers|responses?|repl(?:y|ies)|outputs?|sortie|restitution\w*|resumes?|"
              r"recap"),
        ("Q", r"questions?|requetes?|quer(?:y|ies)|quiconque|whoever|asks?|asked|asking|questionn(?:e|er|ent|ant)|"
              r"interlocut\w+|prompts?"),
        ("K", r"utilisateurs?|utilisatrices?|usagers?|users?"),
        ("X", r"passages?|extraits?|contexte|context|sources?|excerpts?|snippets?|citations?|chunks?"),
        # Acts: to order, to say, to hide, to prefer or replace.
        ("D", r"doit|doivent|devra|devront|devrait|devraient|dois|devras|devez|devrez|doive|must|shall|should|"
              r"veuillez|veuille|voudra|voudront|voudrez|priere|merci|tenues?|tenus?|faut|faudra|convient|conviendra|"
              r"prie[es]*|please|kindly|demande|demandee|invitee?s?|exige\w*|required|enjoin\w*|ordonn(?:e|ent)|"
              r"invite|lieu"),
        ("s", rf"(?:repond|redi|affirm|ecri|ecriv|restitu|affich|present|recopi|mentionn|cit|indiqu|annonc|declar|"
              rf"confirm|conclu|recommand|repet|signal|fourni|produi|reprodui|donn|renvo|renvoi|renverr|montr|enonc|"
              rf"precis|inscri|specifi|invoqu|chant|dict|attest|garanti|commenc|termin|assur|evoqu|attribu|retourn|"
              rf"inform|rapport|exprim|formul|livr|revel|divulgu|transm|transmett|envo|envoi|ajout|comport|repr|"
              rf"reprend|reprendr|figur|appara|insere){_ENDING}|dit|dire|disent|disant|dira|diront|dirait|dise|dites|"
              rf"direz|apparaitr\w*|transmets|say|says|said|tell|tells|told|answer|answered|answering|"
              rf"respond\w*|write|writes|"
              rf"written|state|states|stated|claims?|cite[sd]?|citing|prints?|shows?|shown|display\w*|repeat\w*|"
              rf"reports?|confirm\w*|mention\w*|include|recommend\w*|quot(?:e|es|ed|ing)|return|begin|start|end|"
              rf"append|gives?|forward|reveal\w*|disclose\w*|copy"),
        ("h", r"(?:ignor|oubli|neglig|omett|omettr|omet|masqu|cach|dissimul|supprim|ecart|occult|contourn|tai|tais|"
              rf"tair|abstr){_ENDING}|abstraction|silence|disregard\w*|forget\w*|skip\w*|omit\w*|hides?|hidden|drop|"
              r"conceal\w*|withhold|aside|suppress|stop|fi"),
        ("r", r"(?:remplac|substitu|privilegi|prefer|retien|retienn|retiendr|consider|supplant|prevau|preval|annul|"
              rf"prim|suiv|appliqu|utilis|tien|tienn|tiendr|accept|memoris|serv|servi){_ENDING}|retenir|tenir|"
              rf"retenus?|"
              r"rely|relies|treat\w*|consider\w*|prefer\w*|trust\w*|supersede[sd]?|replaces?|prioriti\w+|uses?|used|"
              r"using|rank|follow|accept|obsolete|assume"),
        # What is pointed at, and how far it goes.
        ("t", r"textes?|documents?|paragraphes?|phrases?|lignes?|lines?|texts?|paragraphs?|sentences?|fichiers?|"
              r"message|messages|notes?|versions?|memo|chiffres?|valeurs?|value|page|pages|chaine|string"),
        ("T", r"cet?|cette|present|presente|dessous|dessus|suivante?s?|suit|this|these|following|below|above|celui|"
              r"ici|ceci"),
        ("o", r"autres?|others?|another|voisins?|concurrents?|remaining|contraires?|contradict\w+|elsewhere|"
              r"ailleurs|precedent\w*|previous\w*|prior|earlier|before|entourent|auparavant|anterieure?s?|initiales?|"
              r"retrieved|received|recues?"),
        ("R", r"instructions?|consignes?|regles?|directives?|rules?|guidelines?|ordres?|orders|configuration|"
              r"parametres?|tache|task|role"),
        ("O", r"seuls?|seules?|seulement|uniquement|exclusivement|exclusion|only|alone|toujours|always|jamais|never|"
              r"invariablement|systematiquement|whatever|regardless|toutes?|tous|tout|every|any|all|aucune?|nulle?|"
              r"nonobstant|chaque|quels?|quelles?|directement|simply|just"),
        ("N", r"ne|n|pas|not|sans|without|no|don|nor|ni|plus|longer"),
        ("E", r"evaluations?|evaluateurs?|evaluatrices?|graders?|audit|benchmark|attendue?s?|expected|marks|score|"
              r"pertinence|relevance|reference|scoring"),
        ("L", r"faux|fausses?|caducs?|caduques?|perimee?s?|obsoletes?|erronee?s?|brouillons?|decoys?|wrong|outdated|"
              r"leurres?|mensong\w+|verite|truth|mensongers?"),
        ("W", r"si|lorsqu\w*|quand|when|if|cas|hypothese"),
        ("Y", r"you|your|vous|votre|vos|yours"),
        ("c", r"que|qu|that"),
    )
)  # fmt: skip
_WORDS: Final = re.compile(r"[a-z]+|\d+|[:«\"|]")
_MOST: Final = 160
"""Words of a sentence that are looked at; what orders something says it before."""

_MACHINE: Final = r"(?:M|[ma]\.?g|gg?\.?[ma]|m\.?\.?A)"
_SHAPES: Final = (
    # Spoken to as "tu".
    r"U.{0,10}[shrPRXQAKtLEmlWDO]|[shrWNDRQPAXt].{0,6}U",
    r"y\.?[AXRQKtL]|[srh].{0,4}y\.?[AXRQ]|^UN",
    # A machine must, says, hides, prefers; a reader of this text; a note to one.
    rf"{_MACHINE}.{{0,10}}D.{{0,5}}[srhP]|D.{{0,7}}(?:{_MACHINE}|ml).{{0,8}}[shrc#:]",
    rf"{_MACHINE}.{{0,6}}s[^KAQ]?[c#T:]|{_MACHINE}.{{0,6}}h|{_MACHINE}.{{0,6}}r.{{0,4}}(?:[Tt#]|OX)|"
    rf"^.{{0,2}}{_MACHINE}.{{0,6}}rO|{_MACHINE}.{{0,8}}sO",
    r"^.{0,3}m.{0,8}h.{0,4}[tXTo]|m.{0,3}[sr](?:c\.|\.?O?Tt|\.{0,2}#.{0,8}[QA])|Q.{0,6}ms|mar#|m..?s#\.?[.Q]{2}|mDP",
    r"[mMag]l?[lsc]?l[Tt]t?|[mM]l.{0,2}t|U.{0,2}l",
    rf"^.{{0,2}}:?.{{0,4}}{_MACHINE}:|^(?:M|m)s?:[^:#]{{2}}|^t\.{{0,4}}(?:[EM]|[ma]\.?g).{{0,2}}[:r]",
    rf"[srhoR].{{0,9}}M$|^.?.?R.{{0,3}}[ma]$|.tT.{{0,6}}M|t.{{0,3}}M|.{{0,3}}{_MACHINE}::|OA.{{0,3}}[ma]",
    # An answer is dictated.
    r"[OT]A.{0,8}[Drs].{0,4}[sr]?[#c:]|A.{0,2}E.{0,3}[:#c]|A.{0,2}D.{0,3}[#c]|^\.?A.{0,5}:[.#]{0,4}#|^.?A.{0,3}s:|"
    r"OA.{0,3}Q.{0,8}[.#]$",
    r"Q.{2,9}A.{0,3}#|Q.{2,9}A\.\.#|Q.{0,6}[DP]{1,2}s.{0,4}#|Q.{0,6}DP|Q.{0,9}s#|OQ.{0,3}U|Q:A|A.{0,4}Ds.{0,4}Q",
    r"QQ|^Q.{0,8}Ds|W.{0,3}[KQ].{0,8}[Asr].{0,3}[#c:]|^s.#?.{0,2}WQ",
    r"^.{0,2}[srh].{0,9}A$|^.{0,4}[shr]O?A.{0,2}:|^.?[shr].{0,4}YA|^.{0,3}YA.{0,4}[sr]|Dh.{0,7}A|sOA.{0,5}:",
    r"D[.O]{0,2}sO.{0,6}l$|Ds#.{0,4}Q|OA.{0,2}Ns?O|cOAN|\.ANsO|sY?A.{0,3}:",
    # Other sources are pushed aside, or one is put above them.
    r"[hr].{0,4}oX|oX.{0,9}[LhrNEP]|oXN?D|X.{0,4}o.{0,6}[LrhN]|X[^L]{1,8}L|NX.{0,2}[Dsr]|^.{0,4}h.{0,3}X|^NX|DN?s?h.{0,3}X|sNX",
    r"O\.?\.?TX|O.{0,2}T?X.{0,9}[ADsr]{2}|[rs][TO]{1,2}X|^.{0,3}[sr]\.TX|TX.{0,4}[ADrs]|X.{0,9}TT|rTX|"
    r"sX.{0,4}O.{0,5}A|.Xs[D.].{0,3}X",
    r"(?:ot|t.{0,2}o).{0,6}L|ts.{0,6}L|W.to|toN|Y.{0,4}L.rTt|YrTt|hT?O?ot|N\.?sO?ot|sOot|Nr.{0,6}to",
    # Orders are given to whoever has orders.
    r"[hN].{0,3}R.{0,2}o|[hN].{0,4}YR|^.{0,3}R.{0,3}YN?N|R.{0,2}Y.NN|OoR|[OT]r?OR.{0,4}o|rOR.{0,2}o|YR.{0,2}:|"
    r"Y\.?R\.\.s|ORTt|oROT",
    r"^h.{0,4}R|^.{0,4}:h.{0,4}R|R.{0,5}rO?N?.{0,3}Tg|Tg.{0,3}[PR]|\.Rr?.{0,4}g.{0,2}[A:]|R:A|R:h|"
    r"^.{0,3}R.{0,3}r.{0,3}g.{0,2}A",
    r"PYo|^.?P[cY]|P.{0,6}[AXK]|^.{0,4}NP$|^P.?Tt?|^P.{0,4}[Urs]|^.{0,2}P[Ur]|^l.{0,6}T.{0,3}[rP]|^l.{0,5}t.{0,4}P",
    # The grader, the user and the conversation are spoken of.
    r"^E:|E.{0,9}A.{0,3}[s#:]|A.{0,6}E.{0,4}#|EE.{0,4}X|X.{0,3}E\.?E|X.{0,4}EE|^s.{0,3}X.{0,3}E|Es#|E.s:X",
    r"Ns.{0,2}Kc|N?YsN?.{0,3}Kc|P.{0,3}K|^s.{0,4}K.{0,3}Q|^[sD]..?Q.{0,2}K|^Q.K.{0,4}o|s.{0,4}Q.{0,2}K$|"
    r"K.?NDN.{0,2}cTt|NDN.{0,8}K$",
    r"rc.Og|^s.{0,6}g.{0,4}s$",
    # A source is cited as we number them.
    r"X[N.]{0,2}#s|^\.{0,3}XN?#\.\.|\.sX[N.]?#|X##|OX.{0,2}X|XD.*X|X.s.?#|sc.{0,9}X#$",
    # A sentence is dictated.
    r"TtP|TtD.{0,10}A|^[srh]T?O?Tt.{0,9}[sA]$|^s.{0,4}Tt.{0,4}c|gt?T?.{0,3}t.{0,4}s.{0,2}T$|^sTTt$|^s.TTt|"
    r"TtD.{0,6}tt?T?",
    r"E.?:.{0,3}A|R.{0,12}Tg$|Tg.{0,5}RT|^.{1,4}:.{0,4}Q.{0,6}s|^s.Q|^D[.]{0,2}K|s.{0,9}Q.{0,2}K$|Ds#.{0,6}[lQ]",
    r"^M\.?[T:]|l.?g.{0,3}[sD]|^.l\.?N?D|^h.?O.{0,2}[tXRo]|P.#|^T..m.?:|^P|W.D..:s",
    # Adjacent words about answers, sources and this text, which rules for people do not have.
    r"D.sO.t|QD.{0,8}l|m\.g.{0,4}O.{0,2}s|m.l.{0,2}Tt?t?h|OoX|W.{0,4}l.{0,4}s#|c.{0,5}Tt.L|m.D.sN|As.{0,4}L|"
    r"^.{0,3}:?A.{0,2}r#|m.sh|A\.?h\.",
    r"^sTt|TtDs|s\.?XN?#|X[N.]?#:|a.A|A.:#|sO.{0,4}tT|^hTt|^h..?.?Tt|sNsc|NN?r.{0,8}to|^YYs[.T]?c|^Y.?Ys.c|"
    r"Y.{0,4}:Ys",
    r"Ws?.{0,3}[lQ].{0,5}m|ts.{0,8}L|TtD.{0,8}g|N[^#]{0,2}s[^#]{0,2}X|Y.:.{0,3}K|X.{0,2}OT|"
    r"^.?X..?T|s.{0,3}c.A|gg.s.?c",
    r"^hO?.{0,2}A|EA|^.{0,6}sX|Xo|^.{0,4}YA[s:]|YOYs|YOs|OYs|sA|OT.{0,5}A|EX|XE|LX|PT|PU|UP|hT.t|^rO.{0,6}[.L]$|"
    r"Ds.{0,3}aY?[lQ]",
    r"OA.{0,2}h|D..cYs|TQ.#|T.TQ|hOY.s|Tt...mO|mO:|^..?acN?.?Ns|:acN?.?Ns|m.gTt|P.tT|^s?.{0,2}Q.{0,3}T$|ga.N?s#|"
    r"Y.D.NNr|^.?A[.D]{1,3}:|YsOA",
    r"^YDOs|^.{0,2}NU?Y?sO?c.{0,6}[oTt]|^NYsc|NsN\.o.Tt|Ns.{0,2}X",
)  # fmt: skip
_SHAPE: Final = tuple(re.compile(shape) for shape in _SHAPES)
_TELLING: Final = re.compile(r"[AQKXMPRUEyYgml]|^.?.?[Nsh]|^.{0,4}s")
"""What a sentence has that is worth a closer look; most of a regulation has none of it."""
_PHRASES: Final = tuple(
    re.compile(phrase)
    for phrase in (
        r"^\W*(?:surtout,? )?n(?:e |')(?!est\b)(?:mentionne|cite|utilise|parle|signale|revele|indique|montre|"
        r"affiche|donne|recopie|suis|dis|tiens|reponds|evoque|verifie|consulte) (?:pas|jamais|rien|aucun|plus)",
        r"\bfrom this (?:point|moment|line)(?: on)?\b",
        r"\byou have been (?:upgraded|reprogrammed|configured|instructed|authori[sz]ed)",
        r"\byou (?:are|were) (?:to say|to answer|to reply|supposed to (?:answer|say)|now)\b",
        r"\byour (?:previous|hidden|new|real|initial|original|system|prior|internal|secret|true|"
        r"former) (?:\w+ )?(?:task|goal|role|instructions?|guidelines?|rules?|configuration|settings?|mission|"
        r"orders?|persona|directives?|prompt|answers?)",
        r"\b(?:if|when|whenever|once) (?:you are |you're |someone |anyone |a user |they )?(?:is |are |"
        r"ever )?(?:asked about|queried|questioned about|prompted)\b",
        r"\b(?:system|systeme) (?:message|prompt|instructions?|notice)\b|\b(?:message|instructions?|"
        r"consignes?|invite) (?:du )?systeme\b",
        r"\b(?:fais|faites|faire) comme si\b",
        r"\bannotat(?:eur|or)s?\b|\bgraders?\b|\bfull (?:marks|credit)\b",
        r"\bassistant, you\b|\bas (?:the|an) (?:ai|assistant|bot)\b",
        r"\b(?:answer|answering|response|chat|retrieval|ai|automated) (?:engines?|assistants?|models?|agents?|"
        r"programs?|readers?|tools?)\b.{0,40}\b(?:asked|must|shall|should|will|to|return|say|favou?r)\b",
        r"\b(?:anyone|anybody|whoever|those) (?:who )?(?:asks|asking|querying|queries|enquir\w+|inquir\w+)",
        r"\bqui (?:repond|interroge|genere|redige|consulte|parcourt|lit|exploite|traite|resume|reprend|"
        r"utilise)\w* (?:ce|cette|la presente|le present) (?:texte|note|page|base|document|passage|fichier|"
        r"reponse)",
        r"\b(?:genere|redige|compose|formule|produi\w+|prepare|elabore)\w* (?:la|ta|votre|une|sa|"
        r"toute) reponse",
        r"\b(?:cite|citez|quote) .{0,12}(?:except|only|this)|(?:except|only) this (?:paragraph|passage|text|"
        r"page|line|excerpt|sentence|note)",
        r"\b(?:generat|writ|compos|formulat|prepar)\w+ (?:your|the|an?|any) (?:answer|response|reply|summary)",
        r"\b(?:the|your|any|every|each|correct|right|expected) (?:answer|reply|response) (?:is|should be|"
        r"contains?|to give)\b",
        r"\b(?:la|ta|votre|toute|chaque|bonne|seule|juste) reponse (?:correcte|attendue|exacte|juste|a donner|"
        r"a fournir)\b",
        r"\bon (?:te |vous |lui )?(?:repondra|dira|affirmera|citera|mentionnera|communiquera|indiquera)\b",
        r"\bquel(?:le)?s? que (?:soit|soient) (?:la|les|l')? ?(?:formulation|question|requete|interlocuteur)",
        r"\b(?:sources?|passages?|extraits?) (?:no\.?|n°|number|num\.?) ?\d",
        r"\b(?:user|utilisateur) (?:as|comme) (?:an? |un )?admin",
        r"\b(?:sources|passages) (?:disagree|conflict|contradict|divergent|se contredisent)",
        r"\b(?:forged|fabricated|decoys?|imposteur|impostor)\b",
        r"\bintelligences? artificielles?\b.{0,30}\b\w{3,}(?:era|eront|dra|dront)\b",
        r"\b(?:logiciel|outil|systeme|moteur|robot|programme|automate|machine)s?\b.{0,60}\b(?:affiche|repond|"
        r"di|cite|indique|mentionne|retiend|restitue|presente|donne|confirme|annonce|ecri)(?:ra|ront)(?:it|"
        r"ient)?\b",
        r"\b(?:tout|all) ce que (?:vous|tu) (?:restitu|repond|ecri|dit|affich)",
        r"\b(?:is|are) (?:kindly |hereby )?(?:asked|requested|invited|authori[sz]ed|instructed|urged|"
        r"told) to (?:answer|say|reply|cite|favou?r|ignore|omit|treat|skip|disregard|state|quote|confirm|"
        r"pretend)",
        r"\bpasser outre (?:aux |les )?(?:autres|sources|verifications|consignes|regles)",
        r"\b(?:s'affranchir|s'abstenir|dispense|exempte|autorise) .{0,30}\b(?:verifications?|citations?|"
        r"controles? habituels?)\b",
        r"\b(?:le|un|du) ton d'un\b",
        r"\b(?:respond|reply|answer) (?:only|exclusively|solely|always|just|simply) (?:in|with|that)\b",
        r"\b(?:hidden|secret|confidential) (?:guidelines|instructions|prompt|rules)\b",
        r"\b(?:regard|consider|treat) (?:the|all|any|every) (?:other|remaining) (?:passage|document|source|"
        r"text)",
        r"\b(?:instruction|rule|note|text|passage|message)s? (?:has|have|takes?|take) (?:the )?(?:absolute |"
        r"highest )?(?:priority|precedence) over (?:the |any |all )?(?:system|other|previous|your)",
        r"\bpriorite absolue sur (?:toute|les|toutes) (?:autre|consigne|instruction|regle)",
        r"\b(?:assistant|chatbot|ia|ai|modele|model|llm|bot|robot|machine)\b.{0,60}\b(?:ment|mentir|lie|"
        r"deceive|tromper?|mislead)\b",
        r"\b(?:traduis|traduire|traduisez|translate)\b.{0,60}\b(?:execut|obei|appliqu|follow|comply|carry|"
        r"obey)\w*",
        r"\b(?:resume|resumez|summari[sz]e) (?:ce|cette|this|the) .{0,40}:",
        r"\b(?:lecteur|reader|agent|personne|usager|demandeur)s? (?:doit|devra|doivent|devront|must|should|"
        r"shall) (?:etre (?:informe|persuade)e?s? que (?:le|la|les) (?:plafond|montant)|repartir|croire|"
        r"believe|be convinced|ignorer l'existence)",
        r"\b(?:ne (?:doit|doivent|devra|devront) (?:jamais|pas) (?:savoir|apprendre|decouvrir|apparaitre|"
        r"figurer)|must (?:not|never) (?:know|learn|find out|appear in))\b.{0,40}\b(?:texte|decret|reponse|"
        r"version|source|answer|document|user|abroge)",
        r"\b(?:base de connaissances|knowledge base)\b.{0,40}\b(?:fausse|perimee|obsolete|outdated|wrong|"
        r"ignore)",
        r"\b(?:hallucin|veracite des autres|autres (?:passages|extraits|sources) (?:fournis|retrouves|listes|"
        r"proposes))",
        r"\b(?:toute|chaque|any|every|each) (?:reponse|restitution|synthese|answer|reply|response|"
        r"summary) (?:generee|produite|automatique|fournie|given|generated|produced|about|on|"
        r"to)\b.{0,40}\b(?:devra|doit|must|shall|indiquera|mentionnera|commencera|should|will)\b",
        r"^\W*(?:joue|jouez|play|adopte|assume) (?:the |le |un )?(?:role|personnage|part|persona|ton)\b",
        r"^\W*(?:dis|dites|affirme|confirme|conclus|concluez) (?:simplement |seulement |donc |bien )?(?:que|"
        r"a l'agent|a l'usager|au lecteur|oui|non)\b",
        r"^\W*ne (?:restitue|rapporte|reprends|repete|retiens|produis|genere|redige|reproduis|prends|fais|"
        r"laisse|renvoie|mets|presente|propose|conserve)s? (?:pas|jamais|rien|aucun|plus)",
        r"\b(?:consulte|lu|lue|traite|traitee|indexe|indexee|analyse|analysee|resume|resumee|parcouru|"
        r"parcourue|exploite)s? par (?:un|une|le|la|l'|tout|toute|des|les) ?(?:\w+ )?(?:programme|logiciel|"
        r"machine|outil|robot|automate|systeme|moteur|assistant|ia|intelligence|modele)",
        r"\b(?:read|processed|parsed|summari[sz]ed|retrieved|indexed|analy[sz]ed) by (?:an?|any|the|"
        r"some) (?:\w+ )?(?:program|software|machine|tool|robot|bot|system|engine|assistant|ai|model|llm)",
        r"\bse verra (?:repondre|indiquer|opposer|confirmer)|\bs'entendra (?:dire|repondre)",
        r"\baucune (?:reserve|nuance|condition|precision|limite|exception) ne (?:sera|doit|"
        r"devra) (?:etre )?(?:formulee|mentionnee|signalee|apportee|citee|indiquee)",
        r"\b(?:doit|devra|doivent|sera|seront) (?:etre )?(?:restitue|recopie|reproduit|cite|affiche|"
        r"repris)e?s? (?:\w+ )?(?:en priorite|tel quel|telle quelle|mot pour mot|textuellement|a l'exclusion|"
        r"integralement|en tete)",
        r"\bconsigne (?:technique|prioritaire|speciale|cachee|interne|absolue|systeme|suivante) ?:",
        r"\bau clavier\b",
        r"\bmerci (?:d'|de )?(?:\w+ ){0,2}(?:a )?(?:l'utilisateur|l'usager|la personne|quiconque)",
        r"\b(?:derogation|exception|contrairement) aux (?:consignes|instructions|reglages|parametres)\b",
        r"^\W*oubliez?\b",
        r"\b(?:should|must|shall|will) (?:be )?present(?:ed)? (?:this|it) as\b|\bpresent (?:this|it) as (?:a |"
        r"the )?(?:law|statute|rule|fact|official)",
        r"\b(?:whatever|no matter what) (?:the )?(?:retrieval|search|context|other|passages?|sources?|"
        r"documents?|question|user)",
        r"\bthe user (?:wants|wishes|expects|needs) to (?:hear|read|know|see)|\bl'(?:utilisateur|"
        r"usager) (?:veut|souhaite|attend|desire) (?:lire|entendre|qu'on)",
        r"\b(?:summar(?:y|ies)|answers?|repl(?:y|ies)|responses?) (?:of|about|on|to|based on) (?:this|these|"
        r"the) (?:page|text|document|passage|question|note|topic)\b.{0,20}\b(?:must|shall|should|may) (?:not|"
        r"never|always)?",
        r"\b(?:speak|answer|write|act|reply|behave|respond|reason|proceed) as (?:if|though)\b",
        r"\b(?:parle|parlez|reponds|repondez|ecris|ecrivez|agis|agissez|raisonne|raisonnez|procede|"
        r"procedez) comme si\b",
        r"\byour (?:answer|answers|reply|replies|response|responses|output|summary) (?:will|is|are|should|"
        r"must|may|shall|has|needs?)\b",
        r'"(?:answer|reponse|response|output|result|text|query|question)"\s*:',
        r"\b(?:conseiller|repondeur|guichet|operateur|collegue|secretaire|standard|expert|juriste|redacteur|"
        r"commis) (?:automatique|virtuel|numerique|artificiel|robotise|logiciel)\b",
        r"\b(?:automatic|virtual|digital|robotic|artificial|synthetic) (?:advisor|adviser|clerk|operator|"
        r"colleague|secretary|expert|lawyer|writer|helper|agent)\b",
        r"\btu (?:viens|es|dois|peux|vas|seras|devras|connais|sais)\b",
    )
)
"""What is said of answers, readers and other texts in words that no rule for people has."""


def shaped(plain: str) -> bool:
    """Whether a folded sentence has the shape of one that speaks to a machine or of its answers."""
    letters = kinds(plain)
    if any(shape.search(letters) for shape in _SHAPE):
        return True
    return _TELLING.search(letters) is not None and any(phrase.search(plain) for phrase in _PHRASES)


def kinds(plain: str) -> str:
    """The kinds of the words of a folded sentence, in order: a letter each, ``#`` for a number, ``.`` for the rest."""
    found = []
    for place, match in enumerate(_WORDS.finditer(plain)):
        if place == _MOST:
            break
        found.append(_kind(match[0]))
    return "".join(found)


@functools.lru_cache(maxsize=16_384)
def _kind(word: str) -> str:
    if word.isdigit():
        return "#"
    if not word.isalpha():
        return ":"
    kind = next((letter for letter, words in _KINDS if words.fullmatch(word)), ".")
    return "Y" + kind if word.endswith("ez") and kind in {"s", "h", "r"} else kind
