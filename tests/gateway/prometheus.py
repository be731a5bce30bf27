"""Reads Prometheus' text format, strictly."""

import re

LABEL = r'([a-z]+)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(r"([a-z_]+)(?:\{(" + LABEL + "(?:," + LABEL + r")*)\})? (-?[0-9.]+(?:e[+-][0-9]+)?)")
COMMENT = re.compile(r"# (HELP|TYPE) ([a-z_]+) (.+)")
SUFFIXES = ("_bucket", "_sum", "_count")


def parsed(text: str) -> dict[str, float]:
    """The samples by name and the values of their labels: each after its HELP and TYPE, none twice, histograms cumulative."""
    values: dict[str, float] = {}
    kinds: dict[str, str] = {}
    last, name = "", ""
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("#"):
            comment = COMMENT.fullmatch(line)
            assert comment, line
            last, name = comment[1], comment[2]
            if last == "TYPE":
                assert comment[3] in ("counter", "gauge", "histogram")
                assert name not in kinds
                kinds[name] = comment[3]
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        assert last == "TYPE"
        assert sample[1] in ([name + suffix for suffix in SUFFIXES] if kinds[name] == "histogram" else [name]), line
        labels = [value for _, value in re.findall(LABEL, sample[2] or "")]
        key = " ".join([sample[1], *labels])
        assert key not in values
        values[key] = float(sample[7])
    _check_histograms(values, [name for name, kind in kinds.items() if kind == "histogram"])
    return values


def _check_histograms(values: dict[str, float], names: list[str]) -> None:
    """Buckets grow with their bounds, and the last one holds all."""
    for name in names:
        by_actor: dict[str, list[tuple[float, float]]] = {}
        for key, value in values.items():
            if key.startswith(f"{name}_bucket "):
                _, actor, bound = key.split(" ")
                by_actor.setdefault(actor, []).append((float(bound), value))
        for actor, buckets in by_actor.items():
            assert buckets == sorted(buckets)
            assert [count for _, count in buckets] == sorted(count for _, count in buckets)
            assert buckets[-1] == (float("inf"), values[f"{name}_count {actor}"])
            assert (values[f"{name}_sum {actor}"] > 0) == (buckets[-1][1] > 0)
