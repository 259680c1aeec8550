"""Turn videos of a run into one animated GIF, which GitHub plays in a README.

python eval.py run=outputs/2026-01-31/12-00-00 "video_seeds=[1000000,1000003]"
python -m scripts.readme_video outputs/2026-01-31/12-00-00/world_*.mp4 --out docs/images/base_vs_steered.gif
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
from PIL import Image

LIMIT = 2_000_000  # bytes: more is slow to load on a page
COLOURS = 64  # of the one palette that all pictures share


def pictures_of(video: Path, width: int) -> Iterator[Image.Image]:
    """The frames of a video, `width` pixels wide."""
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            image: Image.Image = frame.to_image()
            yield image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)


def write_gif(path: Path, videos: Sequence[Path], width: int) -> None:
    """Write all videos, one after the other and at their own speed, as a GIF that repeats for ever.

    Raises ValueError where the file would exceed LIMIT.
    """
    with av.open(str(videos[0])) as container:
        fps = container.streams.video[0].average_rate
    pictures = [picture for video in videos for picture in pictures_of(video, width)]
    # An octree finds the colours of small things such as cubes; the default, median cut, goes by area and loses them.
    palette = _sheet(pictures).quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, optimize=True)
    if path.stat().st_size > LIMIT:
        size = path.stat().st_size
        raise ValueError(f"{path} has {size:,} bytes, more than {LIMIT:,}; type fewer videos or less --width")


def _sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Some pictures over the whole time, the last among them, below each other: the colours to choose from."""
    chosen = pictures[:: -max(1, len(pictures) // 8)]
    sheet = Image.new("RGB", (chosen[0].width, sum(picture.height for picture in chosen)))
    for index, picture in enumerate(chosen):
        sheet.paste(picture, (0, index * picture.height))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, help="videos of equal size, shown in this order")
    parser.add_argument("--out", type=Path, default=Path("docs/images/base_vs_steered.gif"))
    parser.add_argument("--width", type=int, default=720, help="pixels")
    options = parser.parse_args()
    write_gif(options.out, options.videos, options.width)
    print(f"written to {options.out} ({options.out.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
