"""The campaign file: what it means, and the screens that bad ones give."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from campaigns.campaign_file import read_campaign
from campaigns.checks import asked
from campaigns.demands import against_lab, extremes
from campaigns.plan import Plan
from campaigns.recipe import resolve
from campaigns.spec import Spec
from campaigns.toml_file import FileFaults
from labctl import wiring
from labctl.errors import report_faults
from tests.virtual_lab import TEMPLATE

GOOD = (TEMPLATE / "campaigns" / "conductivity.toml").read_text()
LAB = wiring.Lab(TEMPLATE, wiring.LabFile.load(TEMPLATE / "labctl.toml"))
THIS_LAB = against_lab(LAB.capabilities(), LAB.file.formulas)


def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *changes: tuple[str, str]) -> str:
    """What the terminal says of the template with these changes."""
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    monkeypatch.chdir(tmp_path)
    path = Path("c.toml")
    path.write_text(text)
    with pytest.raises(FileFaults) as caught:
        read_campaign(path, further=[THIS_LAB])
    found = report_faults(caught.value)
    return "\n".join([f"{found.code}: {found.message}", *found.where])


def at(text: str) -> int:
    """Line of the template that begins so."""
    return next(i for i, line in enumerate(GOOD.splitlines(), 1) if line.startswith(text))


WISHES = """[[objectives]]
quantity = "{quantity}"
unit = "degC"
direction = "minimize"
reference = "310 K"
[[limits]]
quantity = "temperature"
unit = "degC"
{max}
"""
USED = ('temperature = "25 degC", hold', 'temperature = "$bath", hold')
BATH = '[process.bath]\ntype = "float"\nmin = "20 degC"\nmax = "40 degC"\n'
SCREENS = [
    (
        [('unit = "mS/cm"', 'unit = "kg"')],
        f'LAB-0233: c.toml has one fault; nothing was done\nc.toml:{at("unit")}  objective.unit = "kg"\n'
        '    ionic_conductivity is measured in mS/cm, not in kg; write unit = "mS/cm", or another unit of that kind',
    ),
    (
        [('capability = "dose_and_mix"', 'instrument = "analyser-1"\ncapability = "dose_and_mix"')],
        f'LAB-0230: c.toml has one fault; nothing was done\nc.toml:{at("capability") + 1}  recipe.steps[0].capability = "dose_and_mix"\n'
        "    analyser-1 does not offer 'dose_and_mix'; it offers measure_conductivity",
    ),
    (
        [('formula = "C3H4O3"', 'formula = "C4H6O3"')],
        f"LAB-0232: c.toml has one fault; nothing was done\nc.toml:{at('formula')}  composition.components.EC.formula\n"
        "    EC is C4H6O3 here, but the bottle [stock.EC] of labctl.toml holds C3H4O3",
    ),
    (
        [("experiments = 30", 'experiments = 30\nstock = { LiBF4 = "4 g" }')],
        f"LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at('experiments') + 1}  budget.stock.LiBF4\n"
        "    'LiBF4' is not a component; components: LiPF6, EC, DMC, EMC",
    ),
    (
        [("seed = 1 ", "sead = 1 ")],
        f"LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at('seed')}  campaign.sead = 1\n"
        "    'sead' is not a key here; did you mean 'seed'?",
    ),
    (
        [
            ("experiments = 30", "experiments = -3"),
            ('direction = "maximize" ', 'direction = "max" '),
            ("seed = 1 ", "seed = -1 "),
        ],
        f"LAB-0201: c.toml has 3 faults; nothing was done\nc.toml:{at('seed')}  campaign.seed = -1\n    must be at least 0\n"
        f"c.toml:{at('direction')}  objective.direction = \"max\"\n    must be 'maximize' or 'minimize'\n"
        f"c.toml:{at('experiments')}  budget.experiments = -3\n    must be at least 1",
    ),
    (
        [("step = 0.01 ", "step = 0.03 "), ("experiments = 30", "experiments = 9007199254740993")],
        f"LAB-0201: c.toml has 2 faults; nothing was done\nc.toml:{at('step')}  composition.step = 0.03\n"
        "    does not divide 1: give 1/n, for example 0.01 or 0.005\n"
        f"c.toml:{at('experiments')}  budget.experiments = 9007199254740993\n    must be at most 1000000",
    ),
    (
        [
            ('balance = "EMC"', 'balance = "EMX"'),
            ("[budget]", '[[composition.constraints]]\nname = "x"\ncoefficients = { PC = 1 }\nmax = 1\n[budget]'),
        ],
        f"LAB-0210: c.toml has 2 faults; nothing was done\nc.toml:{at('balance')}  composition.balance\n"
        f"    'EMX' is not a component; the components are LiPF6, EC, DMC, EMC\n"
        f"c.toml:{at('[budget]') + 2}  composition.constraints[0].coefficients.PC\n"
        f"    'PC' is not a component; the components are LiPF6, EC, DMC, EMC",
    ),
    (
        [
            ("min = 0.05\nmax = 0.20", "min = 0.05\nmax = 0.06"),
            ("min = 0.10\nmax = 0.50", "min = 0.10\nmax = 0.11"),
            ("max = 0.70", "max = 0.10"),
            ("[budget]", '[process.x]\ntype = "integer"\nmin = 3\nmax = 3\n[budget]'),
        ],
        f"LAB-0210: c.toml has 2 faults; nothing was done\nc.toml:{at('[composition]')}  composition\n"
        "    no composition can sum to 1: the largest fractions only sum to 0.37\n"
        f"c.toml:{at('[budget]')}  process.x\n    x: min 3 must be below max 3",
    ),
    (
        [
            ("at_target = true", 'at_target = true\nwithin = "1 kg"\nprobability = 1.5'),
            ("[budget]", '[process.x]\ntype = "float"\nunit = "degC"\nmin = "1 kg"\nmax = 40\n[budget]'),
            ("experiments = 30", "experiments = 0"),
        ],
        f"LAB-0201: c.toml has 5 faults; nothing was done\n"
        f'c.toml:{at("[budget]") + 3}  process.x.min = "1 kg"\n'
        "    '1 kg' is not in degC or a unit of its kind; write for example '1 degC'\n"
        f'c.toml:{at("[budget]") + 4}  process.x.max = "40"\n'
        "    40 has no unit; write for example '40 degC'\n"
        f"c.toml:{at('experiments') + 5}  budget.experiments = 0\n    must be at least 1\n"
        f'c.toml:{at("at_target") + 6}  stop.within = "1 kg"\n'
        "    '1 kg' is not in mS/cm or a unit of its kind; write for example '1 mS/cm'\n"
        f"c.toml:{at('at_target') + 7}  stop.probability = 1.5\n    must be below 1.0",
    ),
    (
        [('name = "conductivity"', 'name = "Leitfähigkeit [x]"'), ('name = "mix"', 'name = "Mix"')],
        f'LAB-0201: c.toml has 2 faults; nothing was done\nc.toml:{at("name")}  campaign.name = "Leitfähigkeit [x]"\n'
        "    this name must begin with a letter of A-Z or a-z, go on with such letters, digits or _ . + -,"
        " and have at most 64 characters\n"
        f'c.toml:{at("capability") - 1}  recipe.steps[0].name = "Mix"\n'
        "    this name must begin with a small letter of a-z, go on with such letters, digits or _ -, and have at most 32 characters",
    ),
    (
        [
            ('mix_speed = "800 rpm", mix_time = "120 s"', 'mix_sped = 3, mix_speed = "8 kg", mix_time = "1e9 s"'),
            ('temperature = "25 degC", hold = "10 min"', 'temperature = "-300 degC", hold = "-1 min"'),
            ('capability = "measure_conductivity"', 'capability = "measure_conductivty"'),
        ],
        "LAB-0231: c.toml has 6 faults; nothing was done\n"
        f"c.toml:{at('params = { mix')}  recipe.steps[0].params.mix_sped = 3\n"
        "    step 'mix': doser-1: dose_and_mix has no parameter 'mix_sped', did you mean 'mix_speed'?\n"
        f'c.toml:{at("params = { mix")}  recipe.steps[0].params.mix_speed = "8 kg"\n'
        "    step 'mix': doser-1: mix_speed: '8 kg' is not in rpm or a unit of its kind; write for example '8 rpm'\n"
        f'c.toml:{at("params = { mix")}  recipe.steps[0].params.mix_time = "1e9 s"\n',
    ),
    (
        [("step = 0.01 ", "step = 1e-9 "), ("# max_present = 4 ", "max_present = 3000000000 ")],
        f"LAB-0201: c.toml has 2 faults; nothing was done\nc.toml:{at('step')}  composition.step = 1e-09\n"
        f"    must be at least 1e-05\nc.toml:{at('step') + 2}  composition.max_present = 3000000000\n    must be at most 1000000",
    ),
    (
        [('temperature = "25 degC"', 'temperature = "250 degC"')],
        f'LAB-0231: c.toml has one fault; nothing was done\nc.toml:{at("params = { temperature")}  recipe.steps[1].params.temperature = "250 degC"\n'
        "    step 'equilibrate': thermostat-1: temperature = 250 degC is outside the hard limits: at most 80 degC",
    ),
    (
        [('temperature = "25 degC"', 'temperature = "25 mg"')],
        f'LAB-0231: c.toml has one fault; nothing was done\nc.toml:{at("params = { temperature")}  recipe.steps[1].params.temperature = "25 mg"\n'
        "    step 'equilibrate': thermostat-1: temperature: '25 mg' is not in degC or a unit of its kind; write for example '25 degC'",
    ),
    (
        [('capability = "dose_and_mix"', 'capability = "dose_and_mx"')],
        f'LAB-0230: c.toml has one fault; nothing was done\nc.toml:{at("capability")}  recipe.steps[0].capability = "dose_and_mx"\n'
        "    no instrument of this lab offers 'dose_and_mx'; did you mean 'dose_and_mix'?",
    ),
    (
        [("min = 0.10\nmax = 0.50", "min = 0.60\nmax = 0.90"), ("min = 0.05\nmax = 0.20", "min = 0.55\nmax = 0.60")],
        f"LAB-0210: c.toml has one fault; nothing was done\nc.toml:{at('[composition]')}  composition\n"
        "    no composition can sum to 1: the smallest fractions already sum to 1.15",
    ),
    (
        [("composition.components.DMC", "composition.components.DMX")],
        f"LAB-0232: c.toml has one fault; nothing was done\nc.toml:{at('[composition.components.DMC]')}  composition.components.DMX\n"
        "    DMX is in no bottle of this lab; add [stock.DMX] to labctl.toml, or rename it: the lab has DMC, EC, EMC, LiPF6",
    ),
    (
        [('quantity = "ionic_conductivity"', 'quantity = "ionic_conductvity"')],
        f'LAB-0233: c.toml has one fault; nothing was done\nc.toml:{at("quantity")}  objective.quantity = "ionic_conductvity"\n'
        "    no step of the recipe measures 'ionic_conductvity'; did you mean 'ionic_conductivity'?",
    ),
    (
        [('batch = "6 g"', 'batch = "6 kg"')],
        f"LAB-0231: c.toml has one fault; nothing was done\nc.toml:{at('[[recipe.steps]]')}  recipe.steps[0]\n",
    ),
    (
        [('batch = "6 g"', 'batch = "0.01 mg"')],
        f'LAB-0231: c.toml has one fault; nothing was done\nc.toml:{at("batch")}  recipe.batch = "0.01 mg"\n'
        "    the smallest share of DMC would be 0.0001 mg, but doser-1 weighs in 1 mg or more;"
        ' write batch = "100 mg" or more, or a larger step, or a larger min of DMC',
    ),
    (
        [('direction = "maximize"          # or "minimize"\n', "")],
        f"LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at('[objective]')}  objective.direction\n    'direction' is missing",
    ),
    (
        [('direction = "maximize" ', 'goal = "target" ')],
        f"LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at('[objective]')}  objective.band\n"
        '    goal = "target" needs target = "..." (one value) or band = ["...", "..."] (lowest, highest)',
    ),
    (
        [('direction = "maximize" ', 'goal = "target"\ntarget = "13 mS/cm"\nband = ["12 mS/cm", "14 mS/cm"] ')],
        f"LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at('direction') + 2}  objective.band\n"
        "    give a target or a band, not both",
    ),
    (
        [('direction = "maximize" ', 'direction = "maximize"\nband = ["12 mS/cm", "14 mS/cm"]\nweigth = 2 ')],
        f"LAB-0201: c.toml has 2 faults; nothing was done\nc.toml:{at('direction') + 1}  objective.band\n"
        f'    a band is for goal = "target"\nc.toml:{at("direction") + 2}  objective.weigth = 2\n'
        "    'weigth' is not a key here; did you mean 'weight'?",
    ),
    (
        [("[budget]", WISHES.format(quantity="temperature", max='max = "40 degC"') + "[budget]")],
        f'LAB-0233: c.toml has 2 faults; nothing was done\nc.toml:{at("[budget]") + 1}  objectives[0].quantity = "temperature"\n'
        "    no step of the recipe measures 'temperature'; name it in `measures` of one of the steps:"
        f" mix (nothing), equilibrate (nothing), measure (ionic_conductivity)\nc.toml:{at('[budget]') + 6}  limits[0].quantity",
    ),
    (
        [
            ("[budget]", WISHES.format(quantity="temperature", max='max = "40 mS"') + "[budget]"),
            ('measures = ["ionic', 'measures = ["temperature", "ionic'),
        ],
        f'LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at("[budget]") + 8}  limits[0].max = "40 mS"\n'
        "    '40 mS' is not in degC or a unit of its kind; write for example '40 degC'",
    ),
    (
        [
            ("[budget]", WISHES.format(quantity="density", max='max = "40 degC"') + "[budget]"),
            ('measures = ["ionic', 'measures = ["density", "temperature", "ionic'),
        ],
        "LAB-0233: c.toml has one fault; nothing was done\n",
    ),
    (
        [("in_flight = 3 ", 'tray = { size = 8, shared = ["bath"] }\nprior_campaigns = ["last"] ')],
        f'LAB-0236: c.toml has 2 faults; nothing was done\nc.toml:{at("in_flight")}  optimizer.tray.shared[0] = "bath"\n'
        "    'bath' is no process parameter that fits here; process parameters: none\n"
        f"c.toml:{at('in_flight') + 1}  optimizer.prior_campaigns\n"
        '    \'last\' is no campaign\'s id and no table; write for example "C-0001" (labctl campaign list) or "old-data.csv"',
    ),
    (
        [
            ("in_flight = 3 ", 'tray = { size = 8, shared = ["bath"] } '),
            ("[budget]", '[cost]\nsettings = { bath = "1 EUR/K" }\n[budget]'),
        ],
        f"LAB-0236: c.toml has 2 faults; nothing was done\nc.toml:{at('[budget]') + 1}  cost.settings.bath\n"
        "    'bath' is no process parameter that fits here; process parameters: none\n"
        f"c.toml:{at('in_flight') + 2}  optimizer.tray.shared[0] = \"bath\"\n    'bath' is no process parameter that fits here",
    ),
    (
        [("[budget]", BATH + '[cost]\nper_experiment = "5 kg"\n[budget]'), USED],
        f'LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at("[budget]") + 5}  cost.per_experiment = "5 kg"\n'
        "    '5 kg' is not in EUR or a unit of its kind; write for example '5 EUR'",
    ),
    (
        [("[budget]", BATH + '[cost]\nsettings = { bath = "5 EUR/h" }\n[budget]'), USED],
        f'LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at("[budget]") + 5}  cost.settings.bath = "5 EUR/h"\n'
        "    '5 EUR/h' is not in EUR/(delta_degC) or a unit of its kind",
    ),
    (
        [("[budget]", '[cost]\nfeedstock = { NaCl = "1 EUR/g", LiPF6 = "1 EUR/h" }\n[budget]')],
        f'LAB-0201: c.toml has 2 faults; nothing was done\nc.toml:{at("[budget]") + 1}  cost.feedstock.LiPF6 = "1 EUR/h"\n'
        "    '1 EUR/h' is not in EUR/(g) or a unit of its kind; write for example '1 EUR/(g)'\n"
        f"c.toml:{at('[budget]') + 1}  cost.feedstock.NaCl\n    'NaCl' is no component; the components are LiPF6,",
    ),
    (
        [
            (
                "[budget]",
                BATH
                + '[cost]\nper_experiment = "5 USD"\nsettings = { bath = "1 CHF/K" }\nfeedstock = { EC = "1 SEK/g" }\n[budget]',
            ),
            ("experiments = 30", 'experiments = 30\nmoney = "500 GBP"'),
            USED,
        ],
        f'LAB-0201: c.toml has 4 faults; nothing was done\nc.toml:{at("[budget]") + 5}  cost.per_experiment = "5 USD"\n'
        "    '5 USD' is not in EUR; write it in EUR: labctl knows no exchange rates\n"
        f'c.toml:{at("[budget]") + 6}  cost.settings.bath = "1 CHF/K"\n'
        "    '1 CHF/K' is not in EUR/(delta_degC); write it in EUR: labctl knows no exchange rates\n"
        f'c.toml:{at("[budget]") + 7}  cost.feedstock.EC = "1 SEK/g"\n'
        "    '1 SEK/g' is not in EUR/(g); write it in EUR: labctl knows no exchange rates\n"
        f'c.toml:{at("experiments") + 9}  budget.money = "500 GBP"\n'
        "    '500 GBP' is not in EUR; write it in EUR: labctl knows no exchange rates",
    ),
    (
        [
            ('name = "bayesian" ', 'name = "botorch" '),
            ('direction = "maximize" ', 'direction = "maximize"\ngoal = "map" '),
        ],
        f'LAB-0235: c.toml has one fault; nothing was done\nc.toml:{at("in_flight")}  optimizer.name = "botorch"\n'
        '    \'botorch\' knows nothing of goal = "map"; write name = "bayesian"',
    ),
    (
        [("at_target = true", 'within = "0.1 K"')],
        f'LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at("at_target")}  stop.within = "0.1 K"\n'
        "    '0.1 K' is not in mS/cm or a unit of its kind",
    ),
    (
        [("at_target = true", 'within = "0.1 mS/cm"'), ("in_flight = 3 ", 'model = "single-gp" ')],
        f'LAB-0235: c.toml has one fault; nothing was done\nc.toml:{at("in_flight")}  optimizer.model = "single-gp"\n'
        "    'single-gp' cannot say how far away the best possible is; write model = \"mixture\"",
    ),
    (
        [("in_flight = 3 ", 'model = "single-gp"\nprior_campaigns = ["C-0001"] ')],
        f'LAB-0235: c.toml has one fault; nothing was done\nc.toml:{at("in_flight")}  optimizer.model = "single-gp"\n'
        "    'single-gp' learns nothing from earlier campaigns; write model = \"mixture\"",
    ),
    (
        [("seed = 1", "due = 2026-12-24\nseed = 1")],
        f"LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at('seed = 1')}  campaign.due = 2026-12-24\n"
        "    a moment with its zone is needed, without quotes: due = 2026-12-24T18:00:00Z",
    ),
    (
        [("experiments = 30", 'experiments = 30\ninstrument_time = { anneal = "3 h" }')],
        f"LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at('experiments = 30') + 1}  budget.instrument_time.anneal\n"
        "    'anneal' is no capability of the recipe; its capabilities: dose_and_mix, hold_temperature, measure_conductivity",
    ),
    (
        [("[budget]", '[process.float]\ntype = "float"\nmin = "20 degC"\nmax = 40\n[budget]')],
        f'LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at("[budget]") + 3}  process.float.max = "40"\n'
        "    40 has no unit; write for example '40 degC'",
    ),
    (
        [("[budget]", BATH + "[budget]")],
        f"LAB-0230: c.toml has one fault; nothing was done\nc.toml:{at('[budget]')}  process.bath\n"
        '    no step of the recipe uses it: nothing would ever be set to bath; write "$bath" as the value of a step\'s parameter,'
        " or leave it out",
    ),
    (
        [
            ("[budget]", '[process.bath]\ntype = "categorical"\nchoices = ["25 degC", "40"]\n[budget]'),
            ('temperature = "25 degC", hold', 'temperature = "$bath", hold'),
        ],
        f"LAB-0231: c.toml has one fault; nothing was done\nc.toml:{at('params = { temperature') + 3}"
        '  recipe.steps[1].params.temperature = "$bath"\n'
        "    step 'equilibrate': thermostat-1: temperature: '40' has no unit; write for example '40 degC'",
    ),
    (
        [("experiments = 30", 'experiments = 30\nstock = { LiPF6 = "1 mg" }')],
        f"LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at('experiments') + 1}  budget.stock.LiPF6 = 0.001 g\n"
        "    no experiment can be made: each takes 0.3 g of LiPF6 or more",
    ),
    (
        [("[budget]", "[budget")],
        f"LAB-0202: c.toml has one fault; nothing was done\nc.toml:{at('[budget]')}\n    not TOML: expected ']' at the end of a table declaration",
    ),
    (
        [('formula = "C3H4O3"', 'formula = "FE2O3"')],
        f'LAB-0201: c.toml has one fault; nothing was done\nc.toml:{at("formula")}  composition.components.EC.formula = "FE2O3"\n'
        "    'FE2O3', character 2: 'E' is not an element; did you mean Fe2O3?",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), SCREENS)
def test_a_bad_campaign_file_says_where_what_and_what_to_write(
    changes: list[tuple[str, str]], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert screen(tmp_path, monkeypatch, *changes).startswith(expected)


def test_all_faults_of_a_file_are_told_at_once_whatever_else_is_wrong_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one table alone, several together, and this lab say of it."""
    said = screen(
        tmp_path,
        monkeypatch,
        ("seed = 1 ", "sead = 1 "),
        ('unit = "mS/cm"', 'unit = "kg"'),
        ('balance = "EMC"', 'balance = "EMX"'),
        ('formula = "C3H4O3"', 'formula = "C3H4O3x"'),
        ("min = 0.05\nmax = 0.20", "min = 0.051\nmax = 0.059"),
        ("experiments = 30", 'experiments = 30\nmoney = "5 kg"\ninstrument_time = { mix = "1 h" }'),
        ('"25 degC"', '"250 degC"'),
        ('capability = "dose_and_mix"', 'capability = "dose_and_mixx"'),
        ("[budget]", '[process.x]\ntype = "integer"\nmin = 3\nmax = 3\n[budget]'),
        ("in_flight = 3 ", 'tray = { size = 8, shared = ["bath"] } '),
    )
    assert said.startswith("LAB-0201: c.toml has 11 faults; nothing was done")
    told = [
        "campaign.sead",
        "objective.unit",
        "composition.balance",
        "composition.components.LiPF6",
        "composition.components.EC.formula",
        "process.x",
        "budget.money",
        "budget.instrument_time.mix",
        "optimizer.tray.shared[0]",
        "recipe.steps[0].capability",
        "recipe.steps[1].params.temperature",
    ]
    found = [line.split()[1] for line in said.splitlines() if line.startswith("c.toml:")]
    assert sorted(found) == sorted(told)


ELSEWHERE = [
    ('unit = "mS/cm"', 'unit = "kg"'),
    ('balance = "EMC"', 'balance = "EMX"'),
    ("max = 0.20", "max = 0.2001\nmix = 1"),
    ("experiments = 30", 'experiments = 30\nmoney = "5 kg"'),
    ('mix_speed = "800 rpm", mix_time = "120 s"', 'mix_speed = "8000 rpm", mix_tim = "120 s"'),
    ('temperature = "25 degC", hold', 'temperature = "$bath", hold'),
    ("repeats = 3", "repeats = 3000"),
]
TOLD_ELSEWHERE = [
    "objective.unit",
    "composition.balance",
    "composition.components.LiPF6.mix",
    "budget.money",
    "recipe.steps[0].params.mix_speed",
    "recipe.steps[0].params.mix_tim",
    "recipe.steps[1].params.temperature",
    "recipe.steps[2].params.repeats",
]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('batch = "6 g"', 'batch = "6 m"', ["recipe.batch"]),
        ('batch = "6 g"\n', "", ["recipe.batch"]),
        ('batch = "6 g"', 'batsch = "6 g"', ["recipe.batch", "recipe.batsch"]),
        ('name = "equilibrate"', 'name = "Equilibrate"', ["recipe.steps[1].name"]),
        ('name = "equilibrate"\n', 'colour = "red"\n', ["recipe.steps[1].name", "recipe.steps[1].colour"]),
        ('name = "equilibrate"', 'name = "mix"', ["recipe.steps[1].name"]),
        ('hold_until = "measure" ', 'hold_until = "mix" ', ["recipe.steps[1].hold_until"]),
        ('hold_until = "measure" ', 'hold_untill = "measure" ', ["recipe.steps[1].hold_untill"]),
        ('measures = ["ionic_conductivity"]', 'measures = ["ionic conductivity"]', ["recipe.steps[2].measures[0]"]),
        ('measures = ["ionic_conductivity"]', 'measures = ["density"]', ["recipe.steps[2].measures"]),
    ],
)
def test_a_fault_of_the_recipe_hides_no_other(
    old: str, new: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of other steps, nor of its own step, nor of what stands elsewhere."""
    said = screen(tmp_path, monkeypatch, *ELSEWHERE, (old, new))
    found = [line.split()[1] for line in said.splitlines() if line.startswith("c.toml:")]
    assert sorted(found) == sorted([*TOLD_ELSEWHERE, *told])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('capability = "hold_temperature"\n', "", {"recipe.steps[1].capability"}),
        ('params = { temperature = "25 degC", hold = "10 min" }', "params = 3", {"recipe.steps[1].params"}),
        ('params = { temperature = "25 degC", ', 'parms = { temperature = "25 degC", ', {"recipe.steps[1].parms"}),
        ('measures = ["ionic_conductivity"]', 'mesures = ["ionic_conductivity"]', {"recipe.steps[2].mesures"}),
        ("[[recipe.steps]]", "[[recipe.stepps]]", {"recipe.steps", "recipe.stepps"}),
        (GOOD[GOOD.index("[[recipe.steps]]") :], "steps = [3]", {"recipe.steps[0]"}),
    ],
)
def test_what_could_not_be_read_of_a_recipe_is_not_said_to_be_missing(
    old: str, new: str, told: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step without the parameters that were misspelt, the quantity that no step would measure."""
    further = ("[budget]", '[process.x]\ntype = "integer"\nmin = 3\nmax = 3\n[budget]')
    said = screen(tmp_path, monkeypatch, (old, new), further)
    found = [line.split()[1] for line in said.splitlines() if line.startswith("c.toml:")]
    assert sorted(found) == sorted({"process.x", *told})


@pytest.mark.parametrize("unit", ["millisiemens / centimeter", "S/m"])
def test_a_unit_may_be_spelled_in_another_way_or_be_another_of_its_kind(unit: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(GOOD.replace('unit = "mS/cm"', f'unit = "{unit}"'))
    spec, _ = read_campaign(path)
    assert asked(spec, [], THIS_LAB) == []


def test_a_campaign_lives_from_its_json() -> None:
    spec, _ = read_campaign(TEMPLATE / "campaigns" / "conductivity.toml")
    again = Spec.from_json(spec.json())
    assert again == spec
    assert again.space == spec.space
    assert again.recipe.batch == 6000.0


def test_process_settings_reach_the_recipe_in_their_unit(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    process = (
        '[process.bath]\ntype = "float"\nmin = "293.15 K"\nmax = "313.15 K"\nstep = "2 K"\nunit = "degC"\n\n[budget]'
    )
    path.write_text(GOOD.replace("[budget]", process).replace('"25 degC"', '"$bath"'))
    spec, _ = read_campaign(path)
    (bath,) = spec.space.process
    assert (bath.low, bath.high, bath.step) == pytest.approx((20, 40, 2))  # type: ignore[union-attr]
    candidate = next(c for c in [spec.space.draw(__import__("random").Random(1))] if c)
    recipe = resolve(spec, candidate, LAB.capabilities())
    assert recipe.steps[1].params["temperature_c"] == candidate.process["bath"]
    assert asked(spec, [], THIS_LAB) == []


@pytest.mark.parametrize(
    ("low", "high", "old", "new", "field", "factor", "offset"),
    [
        ("293.15 K", "313.15 K", '"25 degC"', '"$bath"', "temperature_c", 1.0, -273.15),
        ("0.1 h", "2 h", '"10 min"', '"$bath"', "hold_s", 3600.0, 0.0),
    ],
)
def test_a_setting_is_converted_into_the_unit_of_the_instrument(
    low: str, high: str, old: str, new: str, field: str, factor: float, offset: float, tmp_path: Path
) -> None:
    path = tmp_path / "c.toml"
    process = f'[process.bath]\ntype = "float"\nmin = "{low}"\nmax = "{high}"\n\n[budget]'
    path.write_text(GOOD.replace("[budget]", process).replace(old, new))
    spec, _ = read_campaign(path)
    candidate = next(c for c in [spec.space.draw(__import__("random").Random(1))] if c)
    told = resolve(spec, candidate, LAB.capabilities()).steps[1].params[field]
    assert told == pytest.approx(offset + factor * float(candidate.process["bath"]))


def test_a_setting_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    process = '[process.bath]\ntype = "float"\nmin = "1 h"\nmax = "2 h"\n\n[budget]'
    path.write_text(GOOD.replace("[budget]", process).replace('"25 degC"', '"$bath"'))
    spec, _ = read_campaign(path)
    (fault,) = asked(spec, [], THIS_LAB)
    assert "temperature: h cannot be converted to degC" in fault.message


def test_both_ends_of_a_setting_are_held_against_the_hard_limits(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    process = '[process.bath]\ntype = "float"\nmin = "20 degC"\nmax = "95 degC"\n\n[budget]'
    path.write_text(GOOD.replace("[budget]", process).replace('"25 degC"', '"$bath"'))
    spec, _ = read_campaign(path)
    (fault,) = asked(spec, [], THIS_LAB)
    assert "temperature = 95 degC is outside the hard limits: at most 80 degC" in fault.message


POOL = '[candidates]\nfile = "pool.csv"\n\n[budget]'


def pool(tmp_path: Path, csv: str) -> Path:
    (tmp_path / "pool.csv").write_text(csv)
    path = tmp_path / "c.toml"
    path.write_text(GOOD.replace("[budget]", POOL))
    return path


def test_a_list_of_candidates_is_the_space(tmp_path: Path) -> None:
    spec, _ = read_campaign(pool(tmp_path, "LiPF6,EC,DMC,EMC\n0.1,0.3,0.3,0.3\n0.12,0.3,0.28,0.3\n"))
    assert len(spec.space.pool or ()) == 2
    short, _ = read_campaign(pool(tmp_path, "LiPF6,EC,DMC\n0.1,0.3,0.3\n0.12,0.3,0.28\n"))
    assert short.space.pool == spec.space.pool
    assert Plan.from_spec(Spec.from_json(spec.json())).space.pool == spec.space.pool
    assert (spec.space.pool or ())[0].fractions["LiPF6"] == Fraction(1, 10)


@pytest.mark.parametrize("rows", ["", "\n\n", ",,,\n"])
def test_a_list_without_rows_is_refused(tmp_path: Path, rows: str) -> None:
    with pytest.raises(FileFaults, match="it has no rows"):
        read_campaign(pool(tmp_path, f"LiPF6,EC,DMC,EMC\n{rows}"))


def test_a_row_off_the_grid_names_the_component(tmp_path: Path) -> None:
    with pytest.raises(FileFaults, match=r"LiPF6 = 0\.118812 is not on the dispenser's grid of 0\.01"):
        read_campaign(pool(tmp_path, "LiPF6,EC,DMC,EMC\n0.12,0.32,0.42,0.15\n"))


@pytest.mark.parametrize(
    ("csv", "reason", "line"),
    [
        ("LiPF6,EC,EMC\n0.1,0.3,0.6\n", "no column 'DMC'", 1),
        ("LiPF6,EC,DMC,EMC\n0.1,0.3,0.3,lots\n", "'lots' is not a number", 2),
        ("LiPF6,EC,DMC,EMC\n0.1,0.3,0.3,nan\n", "not a finite number", 2),
        ("LiPF6,EC,DMC,EMC\n0.1,0.3,0.3,\n", "empty", 2),
        ("LiPF6,EC,DMC,EMCC\n0.1,0.3,0.3,0.3\n", "there is no column 'EMC', but one 'EMCC'", 1),
    ],
)
def test_a_bad_list_of_candidates_names_column_and_line(tmp_path: Path, csv: str, reason: str, line: int) -> None:
    with pytest.raises(FileFaults) as caught:
        read_campaign(pool(tmp_path, csv))
    (fault,) = caught.value.faults
    assert reason in fault.message
    assert fault.line == line
    assert caught.value.path.name == "pool.csv"


@pytest.mark.parametrize("row", ["0.1,0.3,0.3,0.2", "0.101,0.3,0.3,0.299", "0.3,0.3,0.3,0.1"])
def test_a_candidate_that_cannot_be_weighed_is_refused(tmp_path: Path, row: str) -> None:
    with pytest.raises(FileFaults):
        read_campaign(pool(tmp_path, f"LiPF6,EC,DMC,EMC\n{row}\n"))


def written(tmp_path: Path, *changes: tuple[str, str]) -> Spec:
    """The template with these changes, read, and read again from its JSON."""
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "c.toml"
    path.write_text(text)
    spec, _ = read_campaign(path)
    again = Spec.from_json(spec.json())
    assert again == spec
    assert Plan.from_spec(again).objective == spec.wanted
    return again


MEASURED = ('measures = ["ionic_conductivity"]', 'measures = ["ionic_conductivity", "temperature"]')


def test_a_target_needs_no_direction_and_may_be_a_band(tmp_path: Path) -> None:
    line = 'direction = "maximize"          # or "minimize"\n'
    spec = written(tmp_path, (line, 'goal = "target"\nband = ["12 mS/cm", "1.4 S/m"]\nreference = "0.2 S/m"\n'))
    assert (spec.wanted.goal, spec.wanted.band, spec.wanted.reference) == ("target", (12.0, 14.0), 2.0)


def test_several_objectives_and_limits_in_the_units_of_the_lab(tmp_path: Path) -> None:
    wishes = WISHES.format(quantity="temperature", max='min = "280 K"\nmax = "40 degC"')
    spec = written(tmp_path, ("[budget]", wishes + "[budget]"), MEASURED, ("in_flight = 3 ", 'method = "weighted" '))
    wanted = spec.wanted
    assert wanted.combine == "weighted"
    assert wanted.quantities == ("ionic_conductivity", "temperature")
    assert (wanted.others[0].direction, wanted.others[0].reference) == ("minimize", pytest.approx(36.85))
    assert (wanted.limits[0].low, wanted.limits[0].high) == (pytest.approx(6.85), 40.0)
    assert asked(spec, [], THIS_LAB) == []


def test_a_further_objective_must_be_measurable_in_this_lab(tmp_path: Path) -> None:
    wishes = WISHES.format(quantity="viscosity", max='max = "40 degC"')
    spec = written(
        tmp_path, ("[budget]", wishes + "[budget]"), (MEASURED[0], 'measures = ["viscosity", "temperature"]')
    )
    messages = [f.message for f in asked(spec, [], THIS_LAB)]
    assert messages == ["measure_conductivity does not measure 'viscosity'"]


def test_the_file_prices_what_no_bottle_does(tmp_path: Path) -> None:
    from campaigns.planning import with_stated

    cost = '[cost]\naware = true\nfeedstock = { LiPF6 = "4200 EUR/kg", EC = "100 EUR/kg" }\n[budget]'
    plan = Plan.from_spec(written(tmp_path, ("[budget]", cost)))
    assert plan.cost.components == pytest.approx({"LiPF6": 4.2e-3 * plan.batch_mg, "EC": 1e-4 * plan.batch_mg})
    assert with_stated(plan, {"EC": 3e-4}) == pytest.approx({"LiPF6": 4.2e-3, "EC": 3e-4})


def test_cost_trays_and_earlier_campaigns_reach_the_plan(tmp_path: Path) -> None:
    spec = written(
        tmp_path,
        (
            "[budget]",
            BATH + '[cost]\naware = true\nper_experiment = "5 EUR"\nsettings = { bath = "0.1 EUR/degC" }\n[budget]',
        ),
        (
            "in_flight = 3 ",
            'in_flight = 3\nmodel = "mixture"\ncoordinates = "roots"\nprior_campaigns = ["C-1", "C-0001", "C-12"]\n'
            'tray = { size = 8, shared = ["bath"] } ',
        ),
    )
    plan = Plan.from_spec(spec)
    assert (plan.cost.fixed, plan.cost.settings) == (5.0, {"bath": pytest.approx(0.1)})
    assert (plan.model, plan.coordinates) == ("mixture", "roots")
    assert plan.prior == ("C-0001", "C-0012")
    assert (plan.tray, plan.shared, plan.in_flight) == (8, ("bath",), 8)


def test_the_examples_in_the_template_are_sound(tmp_path: Path) -> None:
    """Every commented-out key of the template, written in, is a key that exists."""
    text = GOOD
    for old, new in EXAMPLES:
        assert old in text, old
        text = text.replace(old, new)
    path = tmp_path / "c.toml"
    path.write_text(text)
    spec, _ = read_campaign(path)
    assert spec.optimizer.prior_campaigns
    assert spec.optimizer.tray is not None
    assert spec.cost.aware
    assert len(spec.objectives) == len(spec.limits) == 1


EXAMPLES = [
    ("# due = ", "due = "),
    ("# instrument_time = ", "instrument_time = "),
    ("# goal = ", "goal = "),
    ("# weight = ", "weight = "),
    ("# reference = ", "reference = "),
    ("# [[objectives]]", "[[objectives]]"),
    ("# quantity = ", "quantity = "),
    ("# direction = ", "direction = "),
    ("# unit = ", "unit = "),
    ("# [[limits]]", "[[limits]]"),
    ('# max = "45 degC"', 'max = "45 degC"'),
    ("# [process.temperature]", "[process.temperature]"),
    ('# type = "float"', 'type = "float"'),
    ('# min = "10 degC"', 'min = "10 degC"'),
    ('# max = "40 degC"', 'max = "40 degC"'),
    ("# [cost]", "[cost]"),
    ("# aware = ", "aware = "),
    ("# per_experiment = ", "per_experiment = "),
    ("# settings = ", "settings = "),
    ("# feedstock = ", "feedstock = "),
    ("# model = ", "model = "),
    ("# coordinates = ", "coordinates = "),
    ("# method = ", "method = "),
    ("# prior_campaigns = ", "prior_campaigns = "),
    ("# tray = ", "tray = "),
    MEASURED,
]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('type = "float"\nmin = 0\nmax = 1e300\nstep = 1e-300', "step 1e-300 is too fine"),
        ('type = "float"\nmin = "0 degC"\nmax = "90 degC"\nstep = "1e-9 K"', "step 1e-09 is too fine"),
        ('type = "integer"\nmin = 0\nmax = 99999999999999999999', "must be at most 9007199254740991"),
    ],
)
def test_a_setting_with_more_steps_than_can_be_counted_is_refused(
    setting: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said in screen(tmp_path, monkeypatch, ("[budget]", f"[process.x]\n{setting}\n[budget]"))


def test_a_fine_step_and_a_long_scale_are_no_burden(tmp_path: Path) -> None:
    text = GOOD.replace("step = 0.01 ", "step = 0.00001 ").replace("# max_present = 4 ", "max_present = 1000000 ")
    (tmp_path / "c.toml").write_text(text + '\n[process.n]\ntype = "integer"\nmin = 0\nmax = 10000000000\n')
    spec, _ = read_campaign(tmp_path / "c.toml")
    assert spec.space.all() is None
    assert max(c.fractions["LiPF6"] for c in extremes(spec.space)) == Fraction(1, 5)


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ([], "100 mg"),
        ([("max = 0.70", "max = 0.70\nmin = 0.2\noptional = true"), ("min = 0.0\n", "")], "20 mg"),  # of LiPF6
        ([('basis = "mass" ', 'basis = "mole" ')], "125 mg"),  # DMC beside as much as may be of what is heavier
    ],
)
def test_the_smallest_batch_is_as_large_as_the_doser_needs(
    changes: list[tuple[str, str]], least: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ('batch = "6 g"', 'batch = "10 mg"')
    assert f'write batch = "{least}" or more' in screen(tmp_path, monkeypatch, *changes, small)
    spec = written(tmp_path, *changes, ('batch = "6 g"', f'batch = "{least}"'))
    assert asked(spec, [], THIS_LAB) == []


@pytest.mark.parametrize(("row", "fault"), [("0.1,0.3,0,0.6", False), ("0.1,0.3,0.01,0.59", True)])
def test_of_a_list_the_smallest_share_that_is_in_it_counts(row: str, fault: bool, tmp_path: Path) -> None:
    path = pool(tmp_path, f"LiPF6,EC,DMC,EMC\n{row}\n")
    path.write_text(path.read_text().replace('batch = "6 g"', 'batch = "10 mg"'))
    spec, _ = read_campaign(path)
    assert [f.key for f in asked(spec, [], THIS_LAB)] == (["recipe.batch"] if fault else [])
