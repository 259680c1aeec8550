"""Checks the videos of a LeRobotDataset: their format, their size and the memory that reading one frame takes.

lerobot goes back to the keyframe before a frame and unpacks all frames from there on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsrl.foreign_json import first_line, short
from dsrl.training.dataset_formats import DamageError
from dsrl.training.dataset_frames import GIB, Bounds

# FFmpeg takes a file for MP4 before all other formats where it begins with a small box of one of these kinds
BRANDS = {b"isom", b"mp41", b"mp42", b"avc1", b"dash", b"M4V ", b"qt  ", *(b"iso%d" % i for i in range(2, 10))}
MAX_HEADER = 1024  # bytes of that box
MAX_DISTANCE = 1000  # frames from one keyframe to the next; lerobot's videos have 2, x264's at most 250
MARGIN = 128  # rows and columns that a decoder adds to a picture at most
MORE_FRAMES = 2  # those that are read after the one that was looked for


def check_videos(root: Path, info: Mapping[str, Any], bounds: Bounds, free: int, pictures: bool = True) -> None:
    """Check that each episode's videos are there and are MP4: FFmpeg would open the files that a playlist names.

    Raises DamageError where they are not, and where reading a frame of every camera would take half of `free` bytes.
    Where `pictures` will be read, each of them must have its video's size.
    """
    needed = 0  # lerobot reads all cameras at the same time
    for name in (name for name, feature in info["features"].items() if feature["dtype"] == "video"):
        chunks, files = (bounds.videos[f"videos/{name}/{key}"] for key in ("chunk_index", "file_index"))
        most = 0
        for chunk, file in sorted(set(zip(chunks.tolist(), files.tolist(), strict=True))):
            default = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
            template = info.get("video_path", default)
            shown = template.format(video_key=name, chunk_index=chunk, file_index=file)
            video = (root / shown).resolve()
            if not shown.startswith("videos/") or not video.is_file():  # videos/ is where links were checked
                raise DamageError(f"lacks the video {short(shown)}")
            most = max(most, _check_video(video, info["features"][name]["shape"], shown, pictures))
        needed += most
    if needed > free // 2:
        raise DamageError(
            f"has videos of which reading one frame takes {needed / GIB:.1f} GiB, above half of the "
            f"{free / GIB:.1f} GiB that are free; encode them with more keyframes"
        )


def _check_video(video: Path, shape: Sequence[int], shown: str, pictures: bool) -> int:
    """Return the bytes that reading one frame takes; raises DamageError unless it is MP4 with pictures of `shape`."""
    import av

    with video.open("rb") as stream:
        size, kind, brand = struct.unpack(">I4s4s", stream.read(12).ljust(12, b"\0"))
    if kind != b"ftyp" or not 16 <= size <= MAX_HEADER or brand not in BRANDS:
        raise DamageError(f"has the video {short(shown)}, which is no MP4 file")
    try:
        with av.open(str(video), options={"protocol_whitelist": "file"}) as container:  # no format, as lerobot opens it
            if "mp4" not in container.format.name.split(","):
                raise DamageError(f"has the video {short(shown)}, which is no MP4 file")
            return _bytes_of_frame(container, shape, shown, pictures)
    except DamageError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DamageError(f"has the video {short(shown)}, which cannot be read ({first_line(error)})") from error


def _bytes_of_frame(container: Any, shape: Sequence[int], shown: str, pictures: bool) -> int:
    if not container.streams.video:
        raise DamageError(f"has the video {short(shown)}, which has no pictures")
    stream = container.streams.video[0]
    height, width = size = int(stream.height), int(stream.width)
    if size not in ((shape[0], shape[1]), (shape[1], shape[2])):
        raise DamageError(f"has the video {short(shown)} of size {list(size)} but meta/info.json has {list(shape)}")
    stream.codec_context.options = {
        "max_pixels": str((height + MARGIN) * (width + MARGIN)),  # above, the decoder ends before it takes the memory
        "skip_loop_filter": "all",  # the sizes alone are looked at
    }
    packets = container.demux(stream)
    if pictures:
        packets = _of_one_size(packets, size, shown)
    return 3 * height * width * (most_frames(packets, shown) + MORE_FRAMES)


def _of_one_size(packets: Any, size: tuple[int, int], shown: str) -> Iterator[Any]:
    """Yield the packets, each decoded: any of them can change the size that the header of the file has.

    Raises DamageError where a picture has another size [height, width] than `size`.
    """
    for packet in packets:
        for frame in packet.decode():
            if (frame.height, frame.width) != size:
                found = [frame.height, frame.width]
                raise DamageError(f"has the video {short(shown)} of size {list(size)} with a picture of size {found}")
        yield packet


def most_frames(packets: Any, shown: str) -> int:
    """Return the most frames from a keyframe to the next; raises DamageError for more than MAX_DISTANCE.

    A keyframe that is shown before a frame in front of it would not end the search for a later one.
    """
    most = since = 0
    latest = None
    for packet in packets:
        if not packet.size:  # the end
            continue
        if packet.is_keyframe:
            if packet.pts is None or (latest is not None and packet.pts <= latest):
                raise DamageError(f"has the video {short(shown)}, whose keyframes are not in order")
            since = 0
        since += 1
        most = max(most, since)
        if packet.pts is not None:
            latest = packet.pts if latest is None else max(latest, packet.pts)
        if most > MAX_DISTANCE:
            raise DamageError(
                f"has the video {short(shown)} with more than {MAX_DISTANCE} frames from a keyframe to the next; "
                "encode it with more keyframes"
            )
    return most
