"""The papers behind the short references of rules, attacks and theorems.

``docs/references.md`` has their titles and authors, under the anchors given here.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PAPERS", "Paper", "papers"]


class Paper(NamedTuple):
    """An anchor of ``docs/references.md`` and where the paper is found.

    >>> PAPERS["RESAM"].url
    'https://arxiv.org/abs/2205.12173'
    """

    anchor: str
    identifier: str

    @property
    def url(self) -> str:
        """The link that the identifier, of arXiv or a DOI, stands for."""
        for kind, site in (("arXiv:", "https://arxiv.org/abs/"), ("doi:", "https://doi.org/")):
            if self.identifier.startswith(kind):
                return site + self.identifier.removeprefix(kind)
        return self.identifier


PAPERS = {
    "RESAM": Paper("resam", "arXiv:2205.12173"),
    "AggregaThor": Paper("aggregathor", "https://infoscience.epfl.ch/record/265684"),
    "RS-Byrd-SAGA": Paper("rs-byrd-saga", "arXiv:2009.08161"),
    "MixTailor": Paper("mixtailor", "arXiv:2207.07941"),
    "ARC": Paper("arc", "arXiv:2405.14432"),
    "Allen-Zhu et al. 2020": Paper("allen-zhu-2020", "arXiv:2012.14368"),
    "Allouah et al. 2023a": Paper("allouah-2023a", "arXiv:2302.01772"),
    "Allouah et al. 2023b": Paper("allouah-2023b", "arXiv:2302.04787"),
    "Allouah et al. 2025": Paper("allouah-2025", "arXiv:2505.01874"),
    "Baruch et al. 2019": Paper("baruch-2019", "arXiv:1902.06156"),
    "Blanchard et al. 2017": Paper("blanchard-2017", "arXiv:1703.02757"),
    "Chen et al. 2017": Paper("chen-2017", "doi:10.1145/3154503"),
    "El Mhamdi et al. 2018": Paper("el-mhamdi-2018", "arXiv:1802.07927"),
    "Farhadkhani et al. 2023": Paper("farhadkhani-2023", "arXiv:2209.10931"),
    "Gupta & Vaidya 2020": Paper("gupta-2020", "doi:10.1145/3382734.3405748"),
    "Gupta et al. 2021": Paper("gupta-2021", "arXiv:2008.04699"),
    "He et al. 2020": Paper("karimireddy-2022", "arXiv:2006.09365"),
    "Hsu et al. 2019": Paper("hsu-2019", "arXiv:1909.06335"),
    "Karimireddy et al. 2021": Paper("karimireddy-2021", "arXiv:2012.10333"),
    "Karimireddy et al. 2022": Paper("karimireddy-2022", "arXiv:2006.09365"),
    "Li et al. 2019": Paper("li-2019", "doi:10.1609/aaai.v33i01.33011544"),
    "Pillutla et al. 2022": Paper("pillutla-2022", "arXiv:1912.13445"),
    "Rousseeuw 1985": Paper("rousseeuw-1985", "doi:10.1007/978-94-009-5438-0_20"),
    "Shejwalkar & Houmansadr 2021": Paper("shejwalkar-2021", "doi:10.14722/ndss.2021.24498"),
    "Weiszfeld 1937": Paper("weiszfeld-1937", "doi:10.1007/s10479-008-0352-z"),
    "Xie et al. 2018": Paper("xie-2018", "arXiv:1802.10116"),
    "Xie et al. 2020": Paper("xie-2020", "arXiv:1903.03936"),
    "Yin et al. 2018": Paper("yin-2018", "arXiv:1803.01498"),
    "Yurochkin et al. 2019": Paper("yurochkin-2019", "arXiv:1905.12022"),
}
"""Short name → paper. References separate papers by ``;`` and may go on with a section."""


def papers(reference: str) -> tuple[Paper, ...]:
    """Return the papers that a reference names; none for a ``"baseline"``.

    Raises
    ------
    KeyError
        For a name that is none of :data:`PAPERS`.

    >>> [paper.anchor for paper in papers("Xie et al. 2020; ARC D.3")]
    ['xie-2020', 'arc']
    >>> papers("baseline")
    ()
    """
    parts = [part.strip() for part in reference.split(";")]
    return tuple(_paper(part) for part in parts if part not in {"", "baseline"})


def _paper(part: str) -> Paper:
    for name, paper in PAPERS.items():
        if part.startswith(name) and not part.removeprefix(name)[:1].isalnum():
            return paper
    raise KeyError(f"{part!r} names no paper of the bibliography")
