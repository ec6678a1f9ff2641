"""Reads loadgen's .hgrm and .hlog with the Python HdrHistogram, another implementation, and compares them with the record.

    hdr_tools.py RECORD.json FILE.hlog FILE.hgrm

Every count must be the same; every percentile of the record must be the other implementation's, bin for bin. The
record's maximum is exact, which no histogram keeps: it must lie in the other implementation's highest bin.
"""
import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

# In parts of a million.
QUANTILES = {"p50": 500_000, "p75": 750_000, "p90": 900_000, "p99": 990_000, "p999": 999_000, "p9999": 999_900}
checked = 0


def check(what, ours, theirs):
    global checked
    checked += 1
    if ours != theirs:
        sys.exit(f"{what}: loadgen says {ours}, the Python HdrHistogram {theirs}")


def value_of_rank(histogram, quantile):
    """The sample of rank ceil(n q). The library's own get_value_at_percentile rounds n q to the nearest rank instead,
    as HdrHistogram did in its first versions; its bins and counts are what is compared here."""
    rank, below = -(-histogram.get_total_count() * quantile // 1_000_000), 0
    for item in histogram.get_recorded_iterator():
        below += item.count_added_in_this_iter_step
        if below >= rank:
            return item.value_iterated_to
    return None


def check_distribution(name, latency, histogram):
    check(f"{name} count", latency["count"], histogram.get_total_count())
    for field, quantile in QUANTILES.items():
        if latency[field] is not None:
            check(f"{name} {field}", latency[field], value_of_rank(histogram, quantile))
    check(f"{name} min", latency["min"], histogram.get_min_value())
    highest_bin = histogram.get_max_value()
    check(f"{name} bin of the max", histogram.get_highest_equivalent_value(latency["max"]), highest_bin)


def main(record_file, hlog_file, hgrm_file):
    with open(record_file) as file:
        record = json.load(file)
    latency = dict(record["latency_ns"], hiccup=(record["hiccup"] or {}).get("latency_ns"))

    reader = HistogramLogReader(hlog_file, HdrHistogram(1, 3_600_000_000_000, 3))
    by_tag = {}
    while (histogram := reader.get_next_interval_histogram()) is not None:
        tag = histogram.get_tag()
        if tag in by_tag:
            by_tag[tag].add(histogram)
        else:
            by_tag[tag] = histogram
    recorded = [name for name, text in record["histograms"].items() if text is not None]
    check("tags in the .hlog", sorted(recorded), sorted(by_tag))
    for name, histogram in by_tag.items():
        check_distribution(f".hlog {name}", latency[name], histogram)
        encoded = HdrHistogram.decode(record["histograms"][name])
        check(f"record {name} count", latency[name]["count"], encoded.get_total_count())

    # Each line: how many samples lie at or below the value.
    response, lines, total = by_tag["response"], 0, 0
    with open(hgrm_file) as file:
        header = file.readline().split()
        check(".hgrm header", header, ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"])
        for line in file:
            if not line.strip() or line.startswith("#"):
                continue
            value_ms, quantile, count = line.split()[:3]
            value = round(float(value_ms) * 1e6)
            below = sum(
                item.count_added_in_this_iter_step
                for item in response.get_recorded_iterator()
                if item.value_iterated_to <= value
            )
            check(f".hgrm samples up to {value_ms} ms", int(count), below)
            lines, total = lines + 1, int(count)
    check(".hgrm last line", total, latency["response"]["count"])
    print(f"{checked} figures agree: {', '.join(sorted(by_tag))}; {lines} lines of percentiles")


if __name__ == "__main__":
    main(*sys.argv[1:])
