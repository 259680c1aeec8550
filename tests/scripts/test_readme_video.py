"""The README's animated picture: all videos in turn, at their own speed, small enough for a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsrl.evaluation.video import mp4
from scripts import readme_video


def _videos(folder: Path) -> list[Path]:
    paths = [folder / "world_1.mp4", folder / "world_2.mp4"]
    for path, level in zip(paths, (40, 200), strict=True):
        path.write_bytes(mp4([np.full((64, 128, 3), level + 10 * i, np.uint8) for i in range(3)]))
    return paths


def test_a_gif_shows_all_videos_at_their_own_speed(tmp_path: Path) -> None:
    out = tmp_path / "both.gif"
    readme_video.write_gif(out, _videos(tmp_path), width=64)
    with Image.open(out) as picture:
        assert picture.size == (64, 32)
        assert picture.info["loop"] == 0
        shown = []
        for index in range(picture.n_frames):  # equal pictures are merged
            picture.seek(index)
            shown += [float(np.asarray(picture.convert("RGB")).mean())] * (picture.info["duration"] // 100)
    assert shown == pytest.approx([40, 50, 60, 200, 210, 220], abs=10)


def test_a_gif_that_is_too_large_is_refused_and_the_one_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readme_video, "LIMIT", 100)
    out = tmp_path / "both.gif"
    out.write_bytes(b"of before")
    with pytest.raises(
        ValueError, match=r"both\.gif would have [\d,]+ bytes, more than 100; type fewer videos or less --width"
    ):
        readme_video.write_gif(out, _videos(tmp_path), width=64)
    assert out.read_bytes() == b"of before"
