"""The ids and questions that the sources give are those that the official forms are made of."""

from __future__ import annotations

import base64
import io

from PIL import Image

from data_prep.sources import mmbench
from eval_harness.export import export
from eval_harness.predictions import rows_of, write_rows
from mlplora_vlm.files import write_json


def test_mmbench_rows_of_the_source_find_their_official_rotations(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    picture = base64.b64encode(file.getvalue()).decode()
    rest = f"{picture}\tsource\tl2\tcomment\tdev"
    lines = [
        "index\thint\tquestion\tA\tB\tC\tD\tanswer\tcategory\timage\tsource\tl2-category\tcomment\tsplit",
        f"7\tLook.\tWhich?\tone\ttwo\tthree\t\tB\tcolour\t{rest}",
        f"1000007\tLook.\tWhich?\tthree\tone\ttwo\t\tC\tcolour\t{rest}",
        f"2000007\tLook.\tWhich?\ttwo\tthree\tone\t\tA\tcolour\t{rest}",
    ]
    official = tmp_path / mmbench.FILE
    official.write_text("".join(f"{line}\n" for line in lines))
    rows = list(mmbench.rows("dev_circular", tmp_path))
    write_rows(tmp_path / "predictions.jsonl", rows_of(rows, [row.answer for row in rows], [1.0] * len(rows)))
    write_json(tmp_path / "result.json", {"sample": "all rows"})
    notes = export("mmbench", tmp_path, tmp_path / "out.csv", official)
    found = {line.split(",")[0]: line.split(",")[-1] for line in (tmp_path / "out.csv").read_text().splitlines()[1:]}
    assert found == {"7": "B", "1000007": "C", "2000007": "A"} and len(notes) == 1
