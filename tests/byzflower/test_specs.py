"""Spec strings: parsed, never evaluated, and refused with the reason."""

from __future__ import annotations

import pytest

import byzflower as bf


def test_a_chain_becomes_a_pipeline() -> None:
    parsed = bf.parse("arc > nnm > trimmed_mean")
    assert parsed == bf.compose(bf.ARC(), bf.NNM(), bf.TrimmedMean())
    assert parsed.spec == str(parsed) == "arc > nnm > trimmed_mean"


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("mean", bf.Mean()),
        ("  krum ", bf.Krum()),
        ("krum(p=3)", bf.Krum(p=3)),
        ("krum(3)", bf.Krum(p=3)),
        ("krum()", bf.Krum()),
        ("multi_krum(m=None)", bf.MultiKrum()),
        ("bulyan(inner=median, p=1.5)", bf.Bulyan(inner="median", p=1.5)),
        ("bulyan(inner='median')", bf.Bulyan(inner="median")),
        ("centered_clipping(tau=1e-3, steps=2)", bf.CenteredClipping(tau=1e-3, steps=2)),
        ("geometric_median(p=+4)", bf.GeometricMedian(p=4)),
        ("arc>nnm>median", bf.compose(bf.ARC(), bf.NNM(), bf.Median())),
    ],
)
def test_parameters_are_read_as_literals(text: str, step: bf.Aggregator) -> None:
    assert bf.parse(text) == step


def test_an_object_is_passed_through() -> None:
    rule = bf.Krum()
    assert bf.parse(rule) is rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("krumm", r"unknown rule `krumm` in 'krumm'; did you mean `krum`\?"),
        ("zzz", "unknown rule `zzz` in 'zzz'; known: bulyan, caf"),
        ("buketing > krum", r"unknown pre-aggregator `buketing` .*; did you mean `bucketing`\?"),
        ("krum > nnm", "unknown pre-aggregator `krum` .*; `krum` is a rule and comes last"),
        ("arc > nnm", "unknown rule `nnm` .*; `nnm` is a pre-aggregator and needs a rule after it"),
        ("ARC > krum", r"unknown pre-aggregator `ARC` .*; did you mean `arc`\?"),
        ("trimmed-mean", r"found 'trimmed - mean'; did you mean `trimmed_mean`\?"),
        ("tmean", "unknown rule `tmean` in 'tmean'; did you mean `trmean`"),
        ("nnm, median", 'steps are joined by >, as in "nnm > median"; found'),
        ("trmean(2)", "`trmean` is `trimmed_mean` here; name its parameters; found"),
        ("arc > mixtailor", "a pool takes steps before its members, not before itself"),
        ("krum(q=3)", "`krum` has no parameter `q`; it takes `p`"),
        ("mean(3)", r"`mean` takes no parameters; found 'mean\(3\)'"),
        ("krum(1, 2)", r"`krum` takes `p`; found 'krum\(1, 2\)'"),
        ("krum(p=0.5)", "`krum` needs a finite p ≥ 1; found 0.5"),
        ("krum(p=True)", "`krum` needs a finite p ≥ 1; found True"),
        (
            "krum(p=1j)",
            "parameters of `krum` are numbers, names, lists or dict.* of numbers; found '1j'",
        ),
        ("krum(p={})", "`krum` needs a finite p ≥ 1; found {}"),
        (
            "krum(p={1: 'x'})",
            "parameters of `krum` are numbers, names, lists or dict.* of numbers; found",
        ),
        ("krum(p={[]})", "parameters of `krum` are numbers, names, lists or dict.*; found"),
        ("krum(3, p=4)", r"`krum` takes `p` once; found 'krum\(3, p=4\)'"),
        ("krum(**x)", "`krum` has no parameter `None`"),
        ("clip", "`clip` needs `c`; found 'clip > mean'"),
        ("krum.p", "a rule is a name with parameters; found 'krum.p'"),
        ("3", "a rule is a name with parameters; found '3'"),
        ("", 'a spec looks like "arc > nnm > krum'),
        ("arc >", 'a spec looks like "arc > nnm > krum'),
        ("arc < krum", "a rule is a name with parameters; found 'arc < krum'"),
        ("krum\0", 'a spec looks like "arc > nnm > krum'),
        ("mixtailor(pool=[])", r"`mixtailor` needs a list of members as pool; found \(\)"),
        ("mixtailor(pool=krum)", "`mixtailor` needs a list of members as pool; found 'krum'"),
        ("mixtailor(pool=[krumm])", "unknown rule `krumm` in 'krumm'"),
        ("mixtailor(resampling=0)", "`mixtailor` needs an integer resampling ≥ 1; found 0"),
        ("mixtailor(pool=[mixtailor])", "`mixtailor` needs rules or pipelines; found 'mixtailor'"),
    ],
)
def test_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(bf.SpecError, match=message):
        bf.parse(f"{text} > mean" if text == "clip" else text)


def test_nothing_is_evaluated() -> None:
    with pytest.raises(bf.SpecError):
        bf.parse("krum(p=__import__('os').getpid())")
    with pytest.raises(bf.SpecError):
        bf.parse("(" * 100_000)
    with pytest.raises(bf.SpecError):
        bf.parse(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: bf.Krum(p=float("inf")), "`krum` needs a finite p ≥ 1; found inf"),
        (lambda: bf.Krum(p="2"), "`krum` needs a finite p ≥ 1; found '2'"),
        (lambda: bf.MultiKrum(m=0), "`multi_krum` needs an integer m ≥ 1; found 0"),
        (lambda: bf.MultiKrum(m=2.0), r"`multi_krum` needs an integer m ≥ 1; found 2\.0"),
        (lambda: bf.MultiKrumStar(q=-1), "`multi_krum_star` needs an integer q ≥ 1; found -1"),
        (lambda: bf.GeometricMedian(p=0), "`geometric_median` needs a finite p ≥ 1; found 0"),
        (lambda: bf.CenteredClipping(tau=0), "`centered_clipping` needs tau > 0; found 0"),
        (lambda: bf.CenteredClipping(tau=float("nan")), "needs tau > 0; found nan"),
        (lambda: bf.CenteredClipping(steps=0), "needs an integer steps ≥ 1; found 0"),
        (lambda: bf.Bulyan(inner="mda"), "inner to be one of krum, multi_krum, mean.*'mda'"),
        (lambda: bf.Bulyan(p=0.9), r"`bulyan` needs a finite p ≥ 1; found 0\.9"),
        (lambda: bf.MoNNA(trusted=-1), "`monna` needs an integer trusted ≥ 0; found -1"),
        (lambda: bf.Clip(c=-1.0), r"`clip` needs c > 0; found -1\.0"),
        (lambda: bf.Clip(c=True), "`clip` needs c > 0; found True"),
        (lambda: bf.Bucketing(s=0), "`bucketing` needs an integer s ≥ 1; found 0"),
        (lambda: bf.Resampling(s=1.5), r"`resampling` needs an integer s ≥ 1; found 1\.5"),
    ],
)
def test_hyper_parameters_are_checked_at_construction(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(ValueError, match=message):
        build()


def test_an_attack_spec_is_one_step() -> None:
    assert bf.parse_attack("foe(tau=1.1)").spec == "foe(tau=1.1)"
    with pytest.raises(bf.SpecError, match="an attack is a name with parameters"):
        bf.parse_attack("arc > foe")


def test_numpy_numbers_are_written_as_python_s() -> None:
    np = pytest.importorskip("numpy")
    assert bf.Krum(p=np.float64(2.5)).spec == "krum(p=2.5)"


@pytest.mark.parametrize(
    ("alias", "spec"),
    [
        ("trmean", "trimmed_mean"),
        ("nnm > cwtm", "nnm > trimmed_mean"),
        ("comed", "median"),
        ("cwmed", "median"),
        ("geomed", "geometric_median"),
        ("rfa", "geometric_median"),
        ("cclip(steps=3)", "centered_clipping(steps=3)"),
    ],
)
def test_names_of_other_libraries_are_understood_and_written_in_one_spelling(alias, spec):
    assert bf.parse(alias).spec == bf.parse(spec).spec


@pytest.mark.parametrize("alias", ["empire", "little"])
def test_attacks_have_the_names_of_their_papers_but_no_parameter_unnamed(alias):
    name = "alie" if alias == "little" else "foe"
    assert bf.parse_attack(f"{alias}(tau=2)").spec == f"{name}(tau=2)"
    with pytest.raises(bf.SpecError, match=f"`{alias}` is `{name}` here; name its parameters"):
        bf.parse_attack(f"{alias}(0.5)")


@pytest.mark.parametrize(
    "misspelt", ["meam", "maen", "tr_mean", "trimean", "mea", "means", "tr-mean"]
)
def test_no_misspelt_rule_leads_to_the_one_that_is_not_robust(misspelt):
    with pytest.raises(bf.SpecError) as caught:
        bf.parse(misspelt)
    assert "did you mean `mean`" not in str(caught.value)


@pytest.mark.parametrize("name", ["foe", "alie", "tailored"])
def test_an_attack_without_its_factor_is_told_by_example(name):
    with pytest.raises(bf.SpecError, match=f"needs .*, for instance {name}") as caught:
        bf.parse_attack(name)
    example = str(caught.value).partition("for instance ")[2].partition(";")[0]
    assert bf.parse_attack(example).spec == example
