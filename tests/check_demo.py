"""Whether a demo report shows that the demo learned.

python tests/check_demo.py report.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

VIEW_ACCURACY = 0.90
ABOVE_FIXED_BOXES = 0.15
RECALL = "recall@IoU0.20/score0.00/max5"
RECALL_AT_HALF = "recall@IoU0.20/score0.50/max5"
FOUND_AT_HALF = {"LCA": 0.23, "RCA": 0.56}
"""Found by what the demo trained before it started from weights learned on phantoms."""


def problems(report: Path) -> list[str]:
    """What the report lacks, in words; empty if the demo learned."""
    document = json.loads(report.read_text(encoding="utf-8"))
    found = [f"missing: {run['name']} ({run['reason']})" for run in document["missing"]]
    means = {(m["task"], m["view"], m["metric"]): m["mean"] for m in document["metrics"]}
    accuracy = means["view", "", "accuracy"]
    if accuracy < VIEW_ACCURACY:
        found.append(f"view accuracy is {accuracy:.3f}, below {VIEW_ACCURACY}")
    for view in ("LCA", "RCA"):
        recall = means["detector", view, RECALL]
        baseline = means["detector", view, f"baseline/{RECALL}"]
        print(f"{view}: {RECALL} {recall:.3f}, five fixed boxes {baseline:.3f}")
        if recall < baseline + ABOVE_FIXED_BOXES:
            found.append(f"{view}: {recall:.3f} is not {ABOVE_FIXED_BOXES} above {baseline:.3f}")
        at_half = means["detector", view, RECALL_AT_HALF]
        print(f"{view}: {RECALL_AT_HALF} {at_half:.3f}")
        if at_half < FOUND_AT_HALF[view]:
            found.append(f"{view}: {at_half:.3f} is below {FOUND_AT_HALF[view]}")
    page = report.with_name("report.html").read_text(encoding="utf-8")
    if not document["severity"] and "iFR is not estimated" not in page:
        found.append("there is neither an estimate of iFR nor a sentence why")
    return found


if __name__ == "__main__":
    if found := problems(Path(sys.argv[1])):
        sys.exit("The demo did not learn what it should:\n  " + "\n  ".join(found))
