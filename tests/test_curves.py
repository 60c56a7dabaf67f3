"""Files of curves: what a kill may leave of them, and how they are put right."""

import pytest

from sslbench.cell.curves import CurveFile, read_curves


def test_a_line_may_be_torn_only_at_the_end_and_a_checkpoint_restores_all(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_curves(path) == [{"step": 1}, {"step": 2}]
    path.write_text('{"step": 1}\n{"st\n{"step": 2}\n')
    with pytest.raises(ValueError, match="metrics.jsonl, line 2: "):
        read_curves(path)
    odd = ('{"step": 1}, {"step": 2}', '{"step": 1\n"loss": 2}', '{"at": "a\nb"}', "1\n1],[1")
    for first in odd:
        path.write_text(f'{first}\n{{"step": 2}}\n')
        with pytest.raises(ValueError, match="metrics.jsonl, line [12]: "):
            read_curves(path)
    path.write_text('{"step": 1}\n')
    curves = CurveFile(tmp_path)
    curves.restore('{"step": 1}\n')
    curves.append({"step": 2, "loss": float("nan")})
    assert read_curves(path) == [{"step": 1}, {"step": 2, "loss": None}]
    assert curves.text == path.read_text()
