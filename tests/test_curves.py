"""Files of curves: what a kill may leave of them."""

import pytest

from sslbench.cell.curves import CurveFile, read_curves


def test_a_line_of_a_curve_may_be_torn_only_at_the_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_curves(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"st\n{"step": 2}\n')
    with pytest.raises(ValueError, match="metrics.jsonl, line 2: "):
        read_curves(path)
    with pytest.raises(ValueError, match="metrics.jsonl, line 2: "):
        CurveFile(tmp_path).keep_until(1)
    assert len(path.read_text().splitlines()) == 3
