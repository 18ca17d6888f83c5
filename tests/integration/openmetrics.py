"""OpenMetrics 1.0, read without mercy: what promtool and the specification forbid is an AssertionError.

    families = openmetrics.parse(text)
    families["tornadod_reloads"].value("_total", result="done")
"""

import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|Inf)|NaN")
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
SUFFIXES = {"counter": ("_total", "_created"), "gauge": ("",), "info": ("_info",),
            "summary": ("_count", "_sum"), "histogram": ("_bucket", "_count", "_sum", "_created")}


class Family:
    def __init__(self, name):
        self.name, self.type, self.unit, self.help = name, None, None, None
        self.samples = {}  # (suffix, labels as a sorted tuple): number, in the order of the text

    def value(self, suffix="", **labels):
        return self.samples[suffix, tuple(sorted(labels.items()))]

    def sum(self, suffix="", **labels):
        """Of all samples that have these labels."""
        return sum(number for (of, found), number in self.samples.items()
                   if of == suffix and set(labels.items()) <= set(found))


def parse(text):
    assert text.endswith("\n# EOF\n") or text == "# EOF\n", text[-80:]
    families, current = {}, None
    for line in text[:-len("# EOF\n")].split("\n")[:-1]:
        if line.startswith("#"):
            current = descriptor(line, families, current)
        else:
            sample(line, current)
    for family in families.values():
        check(family)
    return families


def descriptor(line, families, current):
    mark, keyword, name, rest = line.split(" ", 3)
    assert mark == "#" and NAME.fullmatch(name), line
    if keyword == "TYPE":  # the first line of a family, which comes once and in one piece
        assert name not in families, f"{name} comes twice"
        assert rest in SUFFIXES, line
        families[name] = current = Family(name)
        current.type = rest
        return current
    assert current is not None and current.name == name and not current.samples, line
    if keyword == "UNIT":
        assert current.unit is None and name.endswith("_" + rest), line
        current.unit = rest
    elif keyword == "HELP":
        assert current.help is None and rest, line
        assert re.fullmatch(r'(?:[^\\\n]|\\[\\"n])*', rest), line
        current.help = rest
    else:
        raise AssertionError(f"neither TYPE, UNIT nor HELP: {line}")
    return current


def sample(line, family):
    name = NAME.match(line)[0]
    assert family is not None and name.startswith(family.name), f"outside of its family: {line}"
    suffix = name[len(family.name):]
    assert suffix in SUFFIXES[family.type], f"no sample of a {family.type}: {line}"
    rest, labels = line[len(name):], []
    if rest.startswith("{"):
        labels, rest = labels_of(rest[1:], line)
    assert rest.startswith(" ") and NUMBER.fullmatch(rest[1:]), line
    key = suffix, tuple(sorted(labels))
    assert key not in family.samples, f"twice: {line}"
    family.samples[key] = float(rest[1:])


def labels_of(rest, line):
    labels = []
    while not rest.startswith("}"):
        found = LABEL.match(rest)
        assert found, line
        labels.append((found[1], re.sub(r'\\.', lambda m: ESCAPES[m[0]], found[2])))
        rest = rest[found.end():]
        if rest.startswith(","):
            rest = rest[1:]
            assert LABEL.match(rest), line
        else:
            assert rest.startswith("}"), line
    assert len({name for name, _ in labels}) == len(labels), f"a label comes twice: {line}"
    return labels, rest[1:]


def check(family):
    assert family.help, f"{family.name} has no HELP"
    assert not family.name.endswith(("_total", "_info", "_bucket", "_count", "_sum")), family.name
    for (_, labels), number in family.samples.items():
        assert not math.isnan(number)
        if family.type == "counter":
            assert number >= 0
        if family.type == "info":
            assert number == 1
        assert ("le" in dict(labels)) <= (family.type == "histogram")
    if family.type == "histogram":
        check_histogram(family)


def check_histogram(family):
    series = {}
    for (suffix, labels), number in family.samples.items():
        plain = tuple(pair for pair in labels if pair[0] != "le")
        of = series.setdefault(plain, {"_bucket": []})
        if suffix == "_bucket":
            bound = dict(labels)["le"]
            assert bound == "+Inf" or "." in bound or "e" in bound, f"le={bound} is not canonical"
            of["_bucket"].append((float(bound), number))
        else:
            of[suffix] = number
    for labels, of in series.items():
        bounds = [bound for bound, _ in of["_bucket"]]
        counts = [count for _, count in of["_bucket"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == math.inf, labels
        assert counts == sorted(counts), f"buckets of {labels} fall: {counts}"
        assert of["_count"] == counts[-1], labels
        assert of["_sum"] >= 0
