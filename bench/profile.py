"""Where the time of a training step goes, layer by layer: ``python -m bench.profile``.

`tinynet.profile` of nets S and R for 128 pictures. ``--write`` replaces the results in
``bench/RESULTS.md`` and ``results.jsonl``.
"""

from __future__ import annotations

import tinynet as tn
from bench import nets, report
from tinynet import models


def main() -> None:
    parser = report.parser("bench.profile", __doc__)
    parser.add_argument("--batch", type=int, default=128, help="pictures (128)")
    options = parser.parse_args()
    images, _ = nets.batch(options.batch)
    for net, make in (("S", models.net_s), ("R", models.net_r)):
        tn.manual_seed(0)
        found = tn.profile(make(), images)
        text = f"### Net {net}: time by layer, batch {options.batch}\n\n```\n{found}\n```"
        print(text, end="\n\n")
        if options.write:
            lines = [{"net": net, "batch": options.batch, "version": f"tinynet {tn.__version__}",
                      **row._asdict()} for row in found.rows]
            report.record(f"layers {net}", text, lines)


if __name__ == "__main__":
    main()
