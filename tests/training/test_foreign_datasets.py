"""A dataset from somebody else runs nothing, reads nothing outside its folder and downloads nothing.

Every damage is done to a real dataset that lerobot wrote.
"""

from __future__ import annotations

import io
import json
import os
import re
import resource
import shutil
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from policy.damage import DAMAGED_JSON
from toys.guess import Echo, Guess
from toys.runs import toy_parts

from dsrl.noise_action_env import NoiseActionEnv
from dsrl.training import offline_data
from dsrl.training.dataset_formats import DamageError
from dsrl.training.dataset_videos import most_frames
from dsrl.training.lerobot_columns import columns_of
from dsrl.training.offline_data import OfflineData
from dsrl.training.replay_buffer import Replay

Damage = Callable[[Path], Any]
CAMERA, FORCE = "observation.images.front", "observation.force"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
DATA, EPISODES = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
VIDEO = f"videos/{CAMERA}/chunk-000/file-000.mp4"
HUGE = 1 << 62
NUMBERED = pa.struct({"bytes": pa.binary(), "path": pa.int64()})  # pictures with numbers as their paths
OPENED: list[str] = []  # files that Python opened
sys.addaudithook(lambda event, arguments: OPENED.append(str(arguments[0])) if event == "open" else None)


def environment(size: int = 8) -> NoiseActionEnv:
    task = Guess(2)
    task.cameras = {"front": (3, size, size)}
    return NoiseActionEnv(task, Echo(), toy_parts().noise, horizon=2)


def write(folder: Path, *, videos: bool) -> Path:
    """Write three episodes of four frames with a picture, a vector and numbers."""
    from datasets import disable_progress_bars
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    disable_progress_bars()
    size = 64 if videos else 8
    columns = columns_of(environment(size).task, "next.success", reward=True)
    columns[FORCE] = {"dtype": "float32", "shape": (3,), "names": None}
    columns[CAMERA]["dtype"] = "video" if videos else "image"
    dataset = LeRobotDataset.create(
        "local/toy", 10, columns, root=folder, use_videos=videos, metadata_buffer_size=4, video_backend="pyav"
    )
    random = np.random.default_rng(0)
    for _ in range(3):
        for step in range(4):
            one = np.array([step], np.float32)
            picture = random.integers(0, 256, (size, size, 3), np.uint8)
            numbers = {"observation.state": one, "action": one, "next.reward": one, FORCE: np.ones(3, np.float32)}
            dataset.add_frame({CAMERA: picture, **numbers, "next.success": one == 3, "task": "push"})
        dataset.save_episode()
    dataset.finalize()
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pictures") / "toy", videos=False)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("videos") / "toy", videos=True)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    attempts: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> None:
        attempts.append(str(arguments[-1]))
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return attempts


@pytest.fixture
def copy(pictures: Path, tmp_path: Path, no_network: list[str]) -> Iterator[Path]:
    """Return a copy of the dataset beside a secret; afterwards nothing there has been opened, changed or added."""
    from PIL import Image

    folder = Path(shutil.copytree(pictures, tmp_path / "given" / "toy"))
    secret = tmp_path / "secret"
    secret.mkdir()
    Image.new("RGB", (8, 8)).save(secret / "picture.png")
    for name in (DATA, TASKS, EPISODES, INFO):
        shutil.copy(folder / name, secret / f"{Path(name).parent.name}-{Path(name).name}")
    before = {file: file.read_bytes() for file in secret.iterdir()}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    yield folder
    assert time.monotonic() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 1 << 20  # KiB
    assert not no_network
    assert {file: file.read_bytes() for file in secret.iterdir()} == before
    assert sorted(os.listdir(tmp_path)) == ["given", "secret"]
    assert os.listdir(tmp_path / "given") == ["toy"]


def refusal(folder: Path, size: int = 8) -> str:
    """Return the sentence that refuses a dataset."""
    OPENED.clear()
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        OfflineData(str(folder), environment(size))
    assert not [name for name in OPENED if "/secret/" in name]
    message = str(caught.value)
    assert message.startswith(f"offline_data={folder} ")
    assert "\n" not in message
    assert len(message) < len(str(folder)) + 400
    return message


def info(change: Callable[[dict[str, Any]], Any]) -> Damage:
    """Change the content of info.json."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / INFO).read_text())
        change(content)
        (folder / INFO).write_text(json.dumps(content))

    return damage


def feature(name: str, **changes: Any) -> Damage:
    return info(lambda content: content["features"][name].update(changes))


def column(file: str, name: str, values: Callable[[list[Any]], list[Any]], kind: Any = None) -> Damage:
    """Change the values of a column, and its type where `kind` is given."""

    def damage(folder: Path) -> None:
        table = pq.read_table(folder / file)
        place = table.schema.get_field_index(name)
        changed = pa.array(values(table.column(name).to_pylist()), kind or table.schema.field(name).type)
        pq.write_table(table.set_column(place, name, changed), folder / file)

    return damage


def each(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [value] * len(values)


def last(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [*values[:-1], value]


def file(name: str, change: Callable[[Path], Any]) -> Damage:
    return lambda folder: change(folder / name)


def headed(content: bytes, size: int) -> Callable[[Path], Any]:
    """Replace the first box of a video by one of `size` bytes, that FFmpeg may take for another format."""

    def change(path: Path) -> None:
        video = path.read_bytes()
        first = struct.unpack(">I", video[:4])[0]
        path.write_bytes((struct.pack(">I", size) + content).ljust(size) + video[first:])

    return change


def linked(name: str, target: str) -> Damage:
    """Replace a file or folder by a link."""

    def damage(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(os.path.relpath(folder / target, path.parent))

    return damage


def picture(size: tuple[int, int] = (8, 8), mode: str = "RGB", form: str = "PNG") -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new(mode, size).save(stream, form)
    return stream.getvalue()


def cut_picture() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()[:-100]


def bomb(side: int) -> bytes:
    """Return the first 100 bytes or so of a PNG of side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))


def shown_as(content: bytes | None, path: str | None = None) -> Damage:
    """Replace the last picture."""
    return column(DATA, CAMERA, last({"bytes": content, "path": path}))


def declared(file_name: str, **features: Any) -> Damage:
    """Add a description of columns for the library `datasets` to a parquet file."""

    def damage(folder: Path) -> None:
        table = pq.read_table(folder / file_name)
        described = json.dumps({"info": {"features": features}}).encode()
        pq.write_table(table.replace_schema_metadata({b"huggingface": described}), folder / file_name)

    return damage


def pickled(folder: Path) -> None:
    """Store a column with the type that pyarrow once unpickled."""
    table = pq.read_table(folder / DATA)
    place = table.schema.get_field_index("action")
    metadata = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": b"cos\nsystem\n."}
    field = table.schema.field("action").with_metadata(metadata)
    pq.write_table(table.set_column(place, field, table.column("action")), folder / DATA)


def repeated(folder: Path) -> None:
    """Repeat a text of 4 MiB, which is stored once, in 2,000 rows."""
    texts = pa.array(["x" * (4 << 20)])
    rows = pa.DictionaryArray.from_arrays(pa.array(np.zeros(2000, np.int32)), texts)
    table = pa.table({"task_index": np.zeros(2000, np.int64), "task": rows})
    pq.write_table(table, folder / TASKS, store_schema=False)
    info(lambda content: content.update(total_tasks=2000))(folder)


def pictures_as(name: str) -> Damage:
    """Put the pictures into a column of numbers too."""

    def damage(folder: Path) -> None:
        table = pq.read_table(folder / DATA)
        pictures, place = table.column(CAMERA), table.schema.get_field_index(name)
        pq.write_table(table.set_column(place, name, pictures).replace_schema_metadata(None), folder / DATA)
        feature(name, dtype="image", shape=[8, 8, 3], names=["height", "width", "channels"])(folder)

    return damage


def shared_paths(folder: Path) -> None:
    """Give all pictures the same long path, which is stored once."""
    table = pq.read_table(folder / DATA)
    rows = pa.array(np.zeros(len(table), np.int32))
    paths = pa.DictionaryArray.from_arrays(rows, pa.array(["x" * 100_000]))
    content = table.column(CAMERA).combine_chunks().field("bytes")
    place = table.schema.get_field_index(CAMERA)
    pictures = pa.StructArray.from_arrays([content, paths], ["bytes", "path"])
    pq.write_table(table.set_column(place, CAMERA, pictures), folder / DATA)


def endless(folder: Path) -> None:
    """Store 2^34 frames in a few kilobytes, as far as the description goes."""
    info(lambda content: content.update(total_frames=1 << 34))(folder)


def other_codec(folder: Path) -> None:
    """Name a codec that does not exist, in the footer of a file without compression."""
    table = pq.read_table(folder / DATA)
    pq.write_table(table, folder / DATA, compression="lz4")
    content = (folder / DATA).read_bytes()
    size = struct.unpack("<I", content[-8:-4])[0]
    footer = content[-8 - size : -8].replace(b"\x15\x0e\x16", b"\x15\x3e\x16")
    (folder / DATA).write_bytes(content[: -8 - size] + footer + content[-8:])


DAMAGES: dict[str, tuple[Damage, str]] = {
    # pictures
    "a picture by path": (shown_as(None, "../../secret/picture.png"), "by path or URL"),
    "a picture by URL": (shown_as(None, "http://localhost:1/picture.png"), "by path or URL"),
    "all pictures by path": (column(DATA, CAMERA, each({"bytes": None, "path": "/etc/passwd"})), "by path or URL"),
    "pictures as rewards": (pictures_as("next.reward"), r"next.reward of dtype image and shape \(8, 8, 3\)"),
    "paths that are stored once": (shared_paths, "whose rows share values"),
    "paths that are numbers": (
        column(DATA, CAMERA, lambda values: [{**one, "path": 7} for one in values], NUMBERED),
        "of the type 'struct",
    ),
    "no picture": (column(DATA, CAMERA, last(None)), "lacks values of 'observation.images.front'"),
    "pictures as texts": (column(DATA, CAMERA, each("../../secret/picture.png"), pa.string()), "of the type 'string'"),
    "a larger picture": (shown_as(picture((9, 8))), r"pictures of shape \[8, 9, 3\]"),
    "a grey picture": (shown_as(picture(mode="L")), r"pictures of shape \[8, 8, 1\]"),
    "a picture that unpacks to 10 GiB": (shown_as(bomb(60_000)), "neither PNG nor JPEG"),
    "a picture that unpacks to 500 MiB": (shown_as(bomb(13_000)), r"pictures of shape \[13000, 13000, 3\]"),
    "a large picture that is described": (
        lambda folder: (shown_as(bomb(13_000))(folder), feature(CAMERA, shape=[13_000, 13_000, 3])(folder)),
        "above 16777216 pixels",
    ),
    "a picture that starts Ghostscript": (shown_as(picture(form="EPS")), "neither PNG nor JPEG"),
    "a picture in another format": (shown_as(picture(form="TIFF")), "neither PNG nor JPEG"),
    "no format of pictures": (shown_as(b"planted"), "neither PNG nor JPEG"),
    "an empty picture": (shown_as(b""), "neither PNG nor JPEG"),
    "a cut picture": (column(DATA, CAMERA, each({"bytes": cut_picture(), "path": None})), "cannot be read"),
    # info.json
    "no info.json": (file(INFO, Path.unlink), "has no meta/info.json"),
    "an old version": (info(lambda content: content.update(codebase_version="v2.1")), "convert it with lerobot"),
    "no version": (info(lambda content: content.pop("codebase_version")), "codebase_version=None"),
    "a text as number of frames": (info(lambda content: content.update(total_frames="12")), "total_frames in"),
    "a negative number of frames": (info(lambda content: content.update(total_frames=-12)), "whole number"),
    "more frames than there are": (info(lambda content: content.update(total_frames=13)), "episode 2 with frames 8 to"),
    "endless frames": (endless, "follow on the one before within total_frames=17179869184"),
    "huge frames": (info(lambda content: content.update(total_frames=HUGE)), "whole number"),
    "no frames": (info(lambda content: content.pop("total_frames")), "total_frames in meta/info.json=None"),
    "more episodes than there are": (info(lambda content: content.update(total_episodes=4)), "has 3"),
    "fewer episodes than there are": (info(lambda content: content.update(total_episodes=2)), "has 3"),
    "no episodes": (info(lambda content: content.update(total_episodes=0)), "total_episodes in"),
    "a truth as number": (info(lambda content: content.update(total_tasks=True)), "total_tasks in"),
    "no speed": (info(lambda content: content.update(fps=0)), "fps in"),
    "a text as speed": (info(lambda content: content.update(fps="10")), "fps in"),
    "no features": (info(lambda content: content.pop("features")), "features=None"),
    "a list of features": (info(lambda content: content.update(features=[])), "a list of 0 entries"),
    "no feature index": (info(lambda content: content["features"].pop("index")), "no feature index"),
    "a feature that is text": (info(lambda content: content["features"].update(action="float32")), "must be a mapping"),
    "a feature that leads out": (
        info(lambda content: content["features"].update({"../../x": {"dtype": "video", "shape": [8, 8, 3]}})),
        "no column and no folder",
    ),
    "an unknown dtype": (feature("action", dtype="object"), "of dtype 'object'"),
    "a list as dtype": (feature("action", dtype=["float32"]), "of dtype a list"),
    "another dtype": (feature("action", dtype="string"), "of the type 'float'"),
    "no shape": (feature("action", shape=None), "of shape None"),
    "a text as shape": (feature("action", shape="(1,)"), "of shape"),
    "a huge shape": (feature("action", shape=[HUGE]), "a size in"),
    "another shape": (feature(FORCE, shape=[4]), "of other sizes"),
    "a deeper shape": (feature(FORCE, shape=[3, 1]), "of the type"),
    "information that is text": (feature(CAMERA, info="planted"), "info='planted'"),
    "data elsewhere": (
        info(lambda content: content.update(data_path="../../secret/file.parquet")),
        "inside the folder",
    ),
    "data at a path": (info(lambda content: content.update(data_path="/secret/file.parquet")), "inside the folder"),
    "data by attribute": (
        info(lambda content: content.update(data_path="data/{chunk_index.__class__}/x.parquet")),
        "inside the folder",
    ),
    "data in an endless name": (
        info(lambda content: content.update(data_path="data/{chunk_index:099999999d}.parquet")),
        "inside the folder",
    ),
    "videos elsewhere": (info(lambda content: content.update(video_path="../{video_key}.mp4")), "inside the folder"),
    # other metadata
    "statistics of text": (file(STATS, lambda path: path.write_text('{"action": {"mean": "planted"}}')), "of numbers"),
    "ragged statistics": (file(STATS, lambda path: path.write_text('{"action": {"mean": [1, [2]]}}')), "of numbers"),
    "no tasks": (file(TASKS, Path.unlink), "lacks meta/tasks.parquet"),
    "tasks that are no parquet": (file(TASKS, lambda path: path.write_bytes(b"PAR1" * 40)), "cannot be read"),
    "tasks that are numbers": (
        lambda folder: pq.write_table(pa.table({"a": [1], "b": [2]}), folder / TASKS),
        "no texts",
    ),
    "texts that unpack to 8 GiB": (repeated, "unpacks to more than"),
    "no bounds": (file("meta/episodes", shutil.rmtree), "lacks meta/episodes"),
    "an empty folder of bounds": (file(EPISODES, Path.unlink), "lacks meta/episodes"),
    "negative bounds": (column(EPISODES, "dataset_from_index", last(-4)), "negative"),
    "overlapping bounds": (column(EPISODES, "dataset_from_index", last(7)), "episode 2 with frames 7 to 12"),
    "backward bounds": (column(EPISODES, "dataset_to_index", last(4)), "episode 2 with frames 8 to 4"),
    "huge bounds": (column(EPISODES, "dataset_to_index", last(HUGE)), "above"),
    "bounds that are not finite": (column(EPISODES, "dataset_to_index", last(np.nan), pa.float64()), "whole numbers"),
    "bounds that are text": (column(EPISODES, "dataset_to_index", each("4"), pa.string()), "whole numbers"),
    "a missing bound": (column(EPISODES, "dataset_to_index", last(None)), "whole numbers"),
    "other lengths": (column(EPISODES, "length", last(5)), "episode 2"),
    "unordered episodes": (column(EPISODES, "episode_index", lambda values: values[::-1]), "episode 0"),
    "bounds that are pictures": (
        declared(EPISODES, length={"_type": "Image"}),
        "columns of the type 'Image'",
    ),
    "a deep description of bounds": (
        lambda folder: declared(EPISODES, length=json.loads("[" * 60 + "]" * 60))(folder),
        "too deeply",
    ),
    # frames
    "no data": (file("data", shutil.rmtree), "lacks data/chunk-000/file-000.parquet"),
    "an empty file": (file(DATA, lambda path: path.write_bytes(b"")), "cannot be read"),
    "a cut file": (file(DATA, lambda path: path.write_bytes(path.read_bytes()[:-50])), "cannot be read"),
    "a file cut in its middle": (
        file(DATA, lambda path: path.write_bytes(path.read_bytes()[:400] + path.read_bytes()[900:])),
        "cannot be read",
    ),
    "zeros in a file": (
        file(DATA, lambda path: path.write_bytes(path.read_bytes()[:4] + bytes(999) + path.read_bytes()[1003:])),
        "cannot be read|neither",
    ),
    "a file of 8 TiB": (file(DATA, lambda path: os.truncate(path, 1 << 43)), "cannot be read"),
    "a pickle": (file(DATA, lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n.")), "cannot be read"),
    "a column that was pickled": (pickled, "which is not plain"),
    "a file with another name": (
        file(DATA, lambda path: path.rename(path.with_name("x::http:.parquet"))),
        "but parts are named",
    ),
    "fewer rows": (lambda folder: pq.write_table(pq.read_table(folder / DATA).slice(1), folder / DATA), "11 rows"),
    "a missing column": (
        lambda folder: pq.write_table(pq.read_table(folder / DATA).drop_columns("action"), folder / DATA),
        "lacks the column 'action'",
    ),
    "another column": (
        lambda folder: pq.write_table(
            pq.read_table(folder / DATA).append_column("planted", pa.array([0] * 12)), folder / DATA
        ),
        "has the column 'planted'",
    ),
    "actions that are texts": (column(DATA, "action", each("1"), pa.string()), "of the type 'string'"),
    "actions that are bytes": (column(DATA, "action", each(b"\x80\x04."), pa.binary()), "of the type 'binary'"),
    "a missing action": (column(DATA, "action", last(None)), "lacks values of 'action'"),
    "an action that is not finite": (column(DATA, "action", last(np.nan)), "action that is not finite in frame 11"),
    "a state that is not finite": (
        column(DATA, "observation.state", last(np.nan)),
        "state that is not finite in frame 11; remove the episode of that frame, or record it anew",
    ),
    "a reward that is not finite": (column(DATA, "next.reward", last(np.inf)), "next.reward that is not finite"),
    "a shorter vector": (column(DATA, FORCE, last([1.0]), pa.list_(pa.float32())), "of other sizes"),
    "a hole in a vector": (column(DATA, FORCE, last([1.0, None, 1.0])), f"lacks values of '{FORCE}'"),
    "frames of other episodes": (column(DATA, "episode_index", last(1 << 40)), "episode_index other than the bounds"),
    "unordered frames": (column(DATA, "episode_index", lambda values: values[::-1]), "episode_index other than"),
    "a negative task": (column(DATA, "task_index", last(-1)), "task_index beyond the 1"),
    "another task": (column(DATA, "task_index", last(7)), "task_index beyond the 1"),
    "a time that is not finite": (column(DATA, "timestamp", last(np.nan)), "timestamp that is not finite"),
    "a time beyond all clocks": (column(DATA, "timestamp", last(1e30)), "timestamp that is not finite, negative or"),
    # links and devices
    "data by link": (linked(DATA, "../../secret/chunk-000-file-000.parquet"), "which leaves its folder"),
    "bounds by link": (linked(EPISODES, "../../secret/chunk-000-file-000.parquet"), "which leaves its folder"),
    "tasks by link": (linked(TASKS, "../../secret/meta-tasks.parquet"), "which leaves its folder"),
    "info by link": (linked(INFO, "../../secret/meta-info.json"), "which leaves its folder"),
    "a folder by link": (linked("data", "../../secret"), "which leaves its folder"),
    "a folder by a link inside": (linked("data/chunk-001", "data/chunk-000"), "to a folder"),
    "a link in a circle": (linked(STATS, STATS), "which leads nowhere"),
    "a link to nothing": (linked(STATS, "../../secret/no"), "which leads nowhere"),
    "a link to the memory": (linked(DATA, "/dev/zero"), "which leaves its folder"),
    "a pipe": (file(DATA, lambda path: (path.unlink(), os.mkfifo(path))), "which is no file"),
    "a folder as file": (file(TASKS, lambda path: (path.unlink(), path.mkdir())), "lacks meta/tasks.parquet"),
}


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_dataset_ends_in_one_sentence(name: str, copy: Path) -> None:
    damage, message = DAMAGES[name]
    damage(copy)
    assert re.search(message, refusal(copy))


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", DAMAGED_JSON)
@pytest.mark.parametrize("part", [INFO, STATS])
def test_damaged_json_ends_in_one_sentence(part: str, name: str, copy: Path) -> None:
    large = b" " * (60 << 20) if (part, name) == (STATS, "large") else b""
    (copy / part).write_bytes(DAMAGED_JSON[name] + large)
    refusal(copy)


def growing(path: Path, sizes: tuple[int, ...] = (64, 512)) -> None:
    """Write a video of which the second picture is larger than its header says."""
    packets = []
    for size in sizes:
        encoder = av.VideoCodecContext.create("libx264", "w")
        encoder.width, encoder.height, encoder.pix_fmt = size, size, "yuv420p"
        encoder.time_base, encoder.options = Fraction(1, 10), {"x264-params": "annexb=1:repeat-headers=1:bframes=0"}
        frame = av.VideoFrame(size, size, "yuv420p")
        packets += [bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None))]
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = sizes[0], sizes[0], "yuv420p"
        stream.codec_context.options = {"x264-params": "annexb=1:repeat-headers=1:bframes=0"}
        container.start_encoding()
        for index, content in enumerate(packets):
            packet = av.Packet(content)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, index, index, Fraction(1, 10)
            packet.is_keyframe = True
            container.mux(packet)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (file("videos", shutil.rmtree), "lacks the video"),
        (file(VIDEO, lambda path: path.write_bytes(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")), "which is no MP4"),
        (file(VIDEO, lambda path: path.write_bytes(b"ffconcat version 1.0\nfile ../x.mp4\n")), "which is no MP4"),
        (file(VIDEO, headed(b"ftypjp2 \nv=0\nc=IN IP4 127.0.0.1\n", 0x01010101)), "which is no MP4"),
        (file(VIDEO, headed(b"ftypisom\nv=0\nc=IN IP4 127.0.0.1\n", 2000)), "which is no MP4"),
        (file(VIDEO, headed(b"ftypjp2 \nv=0\nc=IN IP4 127.0.0.1\n", 100)), "which is no MP4"),
        (file(VIDEO, lambda path: path.write_bytes(path.read_bytes()[:64])), "has no pictures"),
        (file(VIDEO, lambda path: os.truncate(path, path.stat().st_size * 2 // 3)), "cannot be read"),
        (file(VIDEO, growing), r"cannot be read|of size \[64, 64\] with a picture of size \[512, 512\]"),
        (linked(VIDEO, "/etc/passwd"), "which leaves its folder"),
        (feature(CAMERA, shape=[32, 32, 3]), "of size"),
        (info(lambda content: content.update(video_path="meta/info.json")), "lacks the video"),
        (info(lambda content: content.update(video_path=None)), "video_path=None"),
        (column(EPISODES, f"videos/{CAMERA}/chunk_index", each(-1)), "negative"),
        (column(EPISODES, f"videos/{CAMERA}/file_index", last(9)), "lacks the video"),
        (column(EPISODES, f"videos/{CAMERA}/from_timestamp", last(np.nan)), "not finite"),
        (column(EPISODES, f"videos/{CAMERA}/from_timestamp", last(1e9)), "cannot be read"),
        (column(DATA, "timestamp", each(1e9)), "cannot be read"),
    ],
)
def test_a_damaged_video_ends_in_one_sentence(
    damage: Damage, message: str, videos: Path, tmp_path: Path, no_network: list[str]
) -> None:
    folder = Path(shutil.copytree(videos, tmp_path / "toy"))
    damage(folder)
    assert re.search(message, refusal(folder, 64))
    assert not no_network


@pytest.mark.usefixtures("in_this_process")
def test_frames_that_take_more_than_the_free_memory_are_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline_data, "available_memory", lambda: 1000)
    assert "GiB without its pictures but 0.0 GiB are free" in refusal(copy)


@pytest.mark.usefixtures("in_this_process")
def test_videos_of_which_a_frame_takes_more_than_the_free_memory_are_refused(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline_data, "available_memory", lambda: 64 * 64 * 3 * 4)  # 2 from keyframe to keyframe, and 2
    assert "reading one frame takes 0.0 GiB, above half of the 0.0 GiB that are free" in refusal(videos, 64)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("error", [OverflowError, EOFError, pa.ArrowException])
def test_an_error_of_any_kind_while_frames_are_read_ends_in_one_sentence(
    error: type[Exception], videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lerobot.datasets import dataset_reader

    def fail(*_: Any, **__: Any) -> None:
        raise error("planted")

    monkeypatch.setattr(dataset_reader, "decode_video_frames", fail)
    assert f"cannot be read ({error.__name__}: planted)" in refusal(videos, 64)


@pytest.mark.parametrize(
    ("keyframes", "times", "message"),
    [
        ([True] + [False] * 1000, range(1001), "more than 1000 frames from a keyframe to the next"),
        ([True, False, True], [1, 9, 5], "keyframes are not in order"),
    ],
)
def test_a_video_that_is_read_from_far_before_a_frame_is_refused(
    keyframes: list[bool], times: list[int], message: str
) -> None:
    packets = [SimpleNamespace(size=1, is_keyframe=key, pts=pts) for key, pts in zip(keyframes, times, strict=True)]
    with pytest.raises(DamageError, match=message):
        most_frames(packets, "videos/toy.mp4")


def test_damage_that_ends_pyarrow_by_a_signal_ends_in_one_sentence(copy: Path) -> None:
    other_codec(copy)
    assert "ends the library that reads it by signal 6" in refusal(copy)


@pytest.mark.parametrize("videos_too", [False, True])
def test_an_honest_dataset_is_read_without_output_and_network(
    videos_too: bool, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str], no_network: list[str]
) -> None:
    folder = request.getfixturevalue("videos" if videos_too else "pictures")
    capfd.readouterr()
    offline = OfflineData(str(folder), environment(64 if videos_too else 8))
    assert capfd.readouterr() == ("", "")
    assert (offline.num_episodes, len(offline), offline.successes) == (3, 6, 3)
    assert [one.chunk[:, 0].tolist() for one in offline.transitions[:2]] == [[0, 1], [2, 3]]  # actions of one number
    assert not no_network


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("videos_too", [False, True])
def test_pictures_of_a_camera_that_the_task_lacks_are_never_unpacked(
    videos_too: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lerobot.datasets import dataset_reader
    from PIL import ImageFile

    unpacked: list[str] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: unpacked.append("picture"))
    monkeypatch.setattr(dataset_reader, "decode_video_frames", lambda *_, **__: unpacked.append("video"))
    env = environment()
    env.task.cameras = {}
    offline = OfflineData(str(request.getfixturevalue("videos" if videos_too else "pictures")), env)
    offline.write("noise", Replay(8, 4, seed=0, offline=len(offline)))
    assert not unpacked


@pytest.mark.usefixtures("in_this_process")
def test_large_pictures_are_encoded_in_smaller_parts(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline = OfflineData(str(pictures), environment())
    sizes: list[int] = []
    monkeypatch.setattr(offline, "_rollout", lambda part, *_: sizes.append(len(part)))
    for free in (offline_data.PICTURE_BYTES, 4 * 2 * 3 * 8 * 8, 1):  # two pictures a transition
        monkeypatch.setattr(offline_data, "PICTURE_BYTES", free)
        offline.write("noise", SimpleNamespace(add_offline=lambda _: None))
    assert sizes == [6] + [4, 2] + [1] * 6


def test_a_snapshot_of_links_to_its_own_blobs_is_read(pictures: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "datasets--owner--toy" / "snapshots" / "v3.0"
    shutil.copytree(pictures, snapshot)
    blobs = snapshot.parent.parent / "blobs"
    blobs.mkdir()
    shutil.move(snapshot / DATA, blobs / "0123")
    (snapshot / DATA).symlink_to(os.path.relpath(blobs / "0123", (snapshot / DATA).parent))
    assert len(OfflineData(str(snapshot), environment())) == 6


def test_a_hub_id_that_cannot_be_downloaded_is_one_sentence(no_network: list[str]) -> None:
    with pytest.raises(FileNotFoundError, match=r"offline_data=owner/toy is no folder and cannot be downloaded"):
        OfflineData("owner/toy", environment())


def test_a_folder_whose_name_is_a_pattern_is_refused(pictures: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "toy[0]"))
    assert "in its path, where lerobot finds no files" in refusal(folder)
