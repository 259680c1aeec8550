"""Writes videos of a run as one animated GIF, which GitHub plays in a README.

python eval.py run=outputs/2026-01-31/12-00-00 "video_seeds=[1000000,1000003]"
python -m scripts.readme_video outputs/2026-01-31/12-00-00/eval/*/world_*.mp4 --out docs/images/base_vs_steered.gif
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsrl.run.saved.files import atomic_write
from scripts._options import Parser, ending_in_a_sentence, out_file, whole

if TYPE_CHECKING:
    from PIL import Image

LIMIT = 2_000_000  # bytes: more is slow to load on a page
COLOURS = 64  # of the palette, which all frames share


def frames_of(video: Path, width: int) -> Iterator[Image.Image]:
    """Return the frames of a video, `width` pixels wide."""
    import av
    from PIL import Image

    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            image: Image.Image = frame.to_image()
            yield image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)


def write_gif(path: Path, videos: Sequence[Path], width: int) -> None:
    """Write all videos, one after the other and at their own speed, as a GIF that repeats endlessly.

    Raises ValueError where the file would exceed LIMIT; one that was there stays.
    """
    import av
    from PIL import Image

    with av.open(str(videos[0])) as container:
        fps = container.streams.video[0].average_rate
    pictures = [picture for video in videos for picture in frames_of(video, width)]
    # An octree finds the colours of small objects such as cubes; the default, median cut, omits them.
    palette = _sheet(pictures).quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    file, duration = io.BytesIO(), 10 * max(2, round(100 / fps))  # a GIF counts hundredths of a second
    first.save(file, "GIF", save_all=True, append_images=rest, duration=duration, loop=0, optimize=True)
    if (size := file.tell()) > LIMIT:
        raise ValueError(f"{path} would have {size:,} bytes, more than {LIMIT:,}; type fewer videos or less --width")
    atomic_write(path, file.getvalue())


def _sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return some frames of the whole time, with the last, below each other: the source of the palette."""
    from PIL import Image

    chosen = pictures[:: -max(1, len(pictures) // 8)]
    sheet = Image.new("RGB", (chosen[0].width, sum(picture.height for picture in chosen)))
    for index, picture in enumerate(chosen):
        sheet.paste(picture, (0, index * picture.height))
    return sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the GIF and print its size."""
    parser = Parser(prog="python -m scripts.readme_video", description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path, help="videos of equal size, shown in this order")
    parser.add_argument("--out", type=out_file, required=True, help="the GIF")
    parser.add_argument("--width", type=whole(16, 4096), default=720, help="pixels (default 720)")
    options = parser.parse_args(arguments)
    missing = [path for path in options.videos if not path.is_file()]
    if missing:
        parser.error(f"{missing[0]} is no file; type the path of a video")
    with ending_in_a_sentence(ValueError):  # also for a file that is no video
        write_gif(options.out, options.videos, options.width)
    print(f"written to {options.out} ({options.out.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
