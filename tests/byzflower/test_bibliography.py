"""Every reference leads a reader who has never seen it to a paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from byzflower.bibliography import PAPERS, papers
from byzflower.registry import KINDS, registered
from byzflower.theory import bounds

DOCUMENT = (Path(__file__).parents[2] / "docs" / "references.md").read_text(encoding="utf-8")
REFERENCES = sorted(
    {
        (name, cls.reference)
        for kind in KINDS
        for name, cls in registered(kind).items()
        if cls.__module__.startswith("byzflower.") and getattr(cls, "reference", "")
    }
)


@pytest.mark.parametrize(("name", "reference"), REFERENCES)
def test_every_registered_reference_resolves(name, reference) -> None:
    found = papers(reference)
    assert found or reference == "baseline"
    for paper in found:
        assert f'<a id="{paper.anchor}"></a>' in DOCUMENT


def test_rules_and_attacks_all_have_one() -> None:
    named = {name for name, _ in REFERENCES}
    for kind in ("rule", "preaggregator", "pool", "attack"):
        assert registered(kind).keys() <= named


@pytest.mark.parametrize("spec", ["mda", "cge", "geometric_median", "arc > nnm > median"])
def test_the_theorems_that_certificates_name_resolve(spec) -> None:
    assert papers(bounds(spec, 11, 2).source)


def test_the_document_and_the_table_have_the_same_papers_and_links() -> None:
    entries = dict(re.findall(r'<a id="([\w-]+)"></a>(.+?)(?=\n- |\n\n|\Z)', DOCUMENT, re.DOTALL))
    assert set(entries) == {paper.anchor for paper in PAPERS.values()}
    for name, paper in PAPERS.items():
        assert f"]({paper.url})" in entries[paper.anchor]
        assert name in " ".join(entries[paper.anchor].split())


def test_unknown_papers_are_refused() -> None:
    with pytest.raises(KeyError, match=r"'Xie et al\. 2031' names no paper"):
        papers("Xie et al. 2031")
    with pytest.raises(KeyError, match="names no paper"):
        papers("ARCHIMEDES 3")
