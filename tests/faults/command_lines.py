"""Command lines of all kinds, drawn from all settings and choices there are."""

import re
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from sslbench.cell.record import flatten
from sslbench.config.as_json import TYPE, settings_to_json
from sslbench.config.compose import compose_settings, conf_dir

OF_ONE_SEED = 100
GROUPS = ("model", "method", "augmentation", "ratio", "optimizer", "data", "tracking", "experiment")
OF_HYDRA = ("hydra.sweeper.dry_run", "hydra.sweeper.retry_limit", "hydra.sweeper.only")
OF_HYDRA += ("hydra.launcher.n_jobs", "hydra.job.chdir", "hydra.run.dir", "hydra.verbose")
OF_HYDRA += ("hydra/launcher", "hydra/sweeper", "hydra/job_logging", "hydra.sweeper.params")
TYPICAL = "0 1 2 3 5 8 20 0.1 0.5 0.9 1.0 1e-3 true false null auto best last".split()
NUMBERS = "-1 -0.5 1e30 1e-30 5e-324 1e308 1e400 inf -inf nan .inf .nan NaN 1e9 1e12 010 0x10 1_000"
NUMBERS += " 1000000000 1000000000000 9223372036854775807 9223372036854775808 1e 12:30 2026-01-01"
NUMBERS += f" {10**30} -{10**18} 100000 4294967296 1.5 .5 1."
YAML = "true off no yes on ~ None null '' \"\" ??? & * &a *a | > - -- ! !!int !!python/none % @ `"
LISTS = "[] [1] [1,2] [0.2,1] [8,8,8,8] [null] [[1]] [a] [nan,1] [1e12] {} {a:1} {a:{b:1}} [1,2"
LISTS += " {a [1000000000,1000000000] [true] [-1] [0] {from:barlow} {name:x}"
HYDRA = (
    "1,2 1,,2 a,b , range(1,3) range(0,1e9) choice(a,b) choice(1) interval(0,1) glob(*) sort(3,1)"
)
HYDRA += " shuffle(1,2) tag(a,1) int(1.5) float(x) json_str(1) extend_list(1) f( ${seed} ${nope}"
HYDRA += (
    " ${oc.env:HOME} ${oc.env:NOPE_NOT_SET} ${oc.decode:x} ${seed ${} ${.} ${..seed} \\ \\, a\\=b"
)
TEXTS = [
    "a b",
    "'a b'",
    '"a b"',
    "'a",
    '"',
    "é",
    "日本",
    "😀",
    "a#b",
    "#",
    "a=b",
    "=",
    "==",
    "a:b",
    ":",
]
TEXTS += ["<b>", "$x", "$HOME/x", "~/x", "../x", "/proc/none/x", "/dev/null", "/dev/full/x", "x.pt"]
TEXTS += [
    "x" * 300,
    "x" * 20_000,
    "[" * 500,
    "(" * 500,
    "1" * 5000,
    "\t",
    "\n",
    "a\nb",
    "\u202e",
    "\x1b[31m",
]
TEXTS += [
    "cpu",
    "cpu:7",
    "cuda",
    "cuda:99",
    "cuda:-1",
    "mps",
    "barlow",
    "barlow steps=1",
    "semi x=1",
]
TEXTS += [
    "file:///dev/null",
    "http://127.0.0.1:9/x",
    "http://u:p@127.0.0.1:9/x",
    "ftp://x",
    "http://[",
]
VALUES = [*NUMBERS.split(), *YAML.split(), *LISTS.split(), *HYDRA.split(), *TEXTS]


@cache
def choices() -> dict[str, list[str]]:
    """Return the choices of each config group."""
    files = sorted(Path(conf_dir()).glob("*/*.yaml"))
    found: dict[str, list[str]] = {group: [] for group in GROUPS}
    for path in files:
        if path.parent.name in found:
            found[path.parent.name].append(path.stem)
    assert all(len(names) > 1 for names in found.values()), found
    return found


@cache
def known() -> dict[str, object]:
    """Return all settings there are, those of all choices among them, with a value of each."""
    found: dict[str, object] = dict.fromkeys(OF_HYDRA, "")
    for group in ("model", "method", "augmentation", "optimizer", "tracking"):
        for choice in choices()[group]:
            made = settings_to_json(compose_settings([f"{group}={choice}", "data=digits"]))
            found |= {key: it for key, it in flatten(made).items() if not key.endswith(TYPE)}
    return dict(sorted(found.items()))


@cache
def keys() -> list[str]:
    return list(known())


@cache
def number_keys() -> list[str]:
    """Return the settings that are numbers, or none, or lists of numbers."""
    return [
        key
        for key, value in known().items()
        if value is None or (isinstance(value, int | float | list) and not isinstance(value, bool))
    ]


def values() -> st.SearchStrategy[str]:
    text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
    number = st.one_of(st.integers().map(str), st.floats().map(repr))
    names = [choice for names in choices().values() for choice in names]
    return st.one_of(
        st.sampled_from(TYPICAL), st.sampled_from(VALUES), st.sampled_from(names), number, text
    )


def overrides() -> st.SearchStrategy[str]:
    key = st.one_of(
        st.sampled_from(keys()),
        st.sampled_from(keys()),
        st.sampled_from(keys()).map(lambda it: it[:-1]),
        st.sampled_from([*GROUPS, "init", "cell", "method.nope", "", ".", "a.b.c", "model@x", "é"]),
    )
    prefix = st.sampled_from(["", "", "", "", "", "", "+", "++", "~"])
    setting = st.builds(lambda p, k, v: f"{p}{k}={v}", prefix, key, values())
    group = st.sampled_from([f"{name}={it}" for name, names in choices().items() for it in names])
    ratio = st.builds(lambda a, b: f"ratio={a}:{b}", st.integers(-1, 30), st.integers(0, 10**10))
    bare = st.one_of(
        values(), st.sampled_from(keys()), st.sampled_from(["--", "-x", "--cfg", "-h"])
    )
    extreme = st.sampled_from([*NUMBERS.split(), *LISTS.split()])
    hard = st.builds(lambda k, v: f"{k}={v}", st.sampled_from(number_keys()), extreme)
    return st.one_of(*[setting] * 6, *[hard] * 6, group, group, ratio, bare)


def command_lines() -> st.SearchStrategy[tuple[str, ...]]:
    """Draw arguments; a sweep's are those of a dry run."""
    single = st.just(())
    swept = st.just(("-m", "hydra.sweeper.dry_run=true"))
    base = st.sampled_from([("data=digits", "tracking=off"), ("data=digits", "tracking=off"), ()])
    some = st.lists(overrides(), min_size=1, max_size=4, unique=True).map(tuple)
    first = st.one_of(single, single, swept)
    return st.builds(lambda a, b, c: (*a, *b, *c), first, base, some).filter(_is_harmless)


def _is_harmless(arguments: tuple[str, ...]) -> bool:
    """A dry run stays one, and nothing is written outside the folder it is started in."""
    last = {it.lstrip("+").partition("=")[0]: it for it in arguments}
    dry = last.get("hydra.sweeper.dry_run", "=true").endswith("=true")
    return dry and not re.match(r"\S+=\s*['\"]?/(?!proc|dev)", last.get("outputs", ""))


def draw(number: int) -> list[tuple[str, ...]]:
    """Return the command lines of a seed."""
    found: list[tuple[str, ...]] = []

    @seed(number)
    @settings(
        max_examples=OF_ONE_SEED,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lines())
    def collect(arguments: tuple[str, ...]) -> None:
        found.append(arguments)

    collect()
    return found
