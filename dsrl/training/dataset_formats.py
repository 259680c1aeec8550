"""Reads JSON and parquet files that somebody else wrote, in bounded time and memory, and no other file for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsrl import foreign_json
from dsrl.foreign_json import first_line, short
from dsrl.schema import Check

MIB = 1 << 20
MAX_COLUMNS = 10_000  # of a parquet file; lerobot writes one per feature, and ten for its statistics
MAX_CHUNKS = 500_000  # columns times row groups of a parquet file; lerobot writes one row group per episode
PART = 1 << 29  # bytes that are unpacked at once
# codec -> the most that it unpacks from one byte, None where that is more than 1000
CODECS = {"UNCOMPRESSED": 1, "SNAPPY": 24, "LZ4": 256, "GZIP": None, "ZSTD": None, "BROTLI": None}
ARRAYS = "datasets.features.features.Array"  # type of a column of matrices; the only one that is not arrow's own


class DamageError(ValueError):
    """Describes damage of a dataset, as the end of a sentence that begins with its name."""


def read_json(file: Path, shown: str, limit: int) -> dict[str, Any]:
    """Read a JSON object of at most `limit` bytes; raises DamageError for any other content.

    `shown` is the name of the file in messages, here and below.
    """
    with _open_errors(shown), file.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise DamageError(f"has a {shown} of more than {limit // MIB} MiB")
    return parse_json(content, shown)


def parse_json(content: bytes, shown: str) -> dict[str, Any]:
    """Parse a JSON object; raises DamageError where it has another form, repeated keys or deep nesting."""
    try:
        found = foreign_json.parse(content)
    except ValueError as error:
        raise DamageError(f"has a {shown} that {error}") from error
    if not isinstance(found, dict):
        raise DamageError(f"has a {shown} with a {type(found).__name__} but it must be a JSON object")
    return found


def check(rule: Check, where: str, value: Any) -> None:
    """Raise DamageError unless `value`, which is `where`, follows a rule of `dsrl.schema`."""
    try:
        rule(where, value)
    except ValueError as error:
        raise DamageError(f"has {error}") from error


class Parquet:
    """A parquet file whose description is sound: known codecs, plain types, no columns in other files."""

    def __init__(self, file: Path, shown: str) -> None:
        """Read the description in the footer; raises DamageError where it cannot be used."""
        import pyarrow.parquet as pq

        self.shown, self.bytes = shown, file.stat().st_size
        with _open_errors(shown):
            self._file = pq.ParquetFile(file)
            self.schema, metadata = self._file.schema_arrow, self._file.metadata
            self.num_rows, self.names = metadata.num_rows, list(self.schema.names)
        if len(set(self.names)) < len(self.names) or metadata.num_columns > MAX_COLUMNS:
            raise DamageError(f"has a {shown} with a column twice, or more than {MAX_COLUMNS} columns")
        if metadata.num_row_groups * metadata.num_columns > MAX_CHUNKS:
            raise DamageError(f"has a {shown} in more than {MAX_CHUNKS} pieces")
        for field in self.schema:
            _check_extension(field, shown)
            _check_storage(field, shown)
        with _open_errors(shown):
            self.numbers, self._rows = self._checked_chunks(metadata)

    def _checked_chunks(self, metadata: Any) -> tuple[int, int]:
        """Return the number of values outside texts and pictures, and the rows that are unpacked at once."""
        numbers, rows = 0, 4096
        for group in (metadata.row_group(i) for i in range(metadata.num_row_groups)):
            for chunk in (group.column(i) for i in range(metadata.num_columns)):
                if chunk.compression not in CODECS or chunk.file_path:
                    raise DamageError(
                        f"has a {self.shown} with a column in another file or the codec {chunk.compression}"
                    )
                if chunk.physical_type != "BYTE_ARRAY":
                    numbers += chunk.num_values
                    continue
                # rows may repeat a value that is stored once, so that few bytes unpack to more than the memory
                factor = CODECS[chunk.compression]
                stored = max(chunk.total_uncompressed_size, chunk.total_compressed_size * (factor or 1), 1)
                rows = max(1, min(rows, PART // stored)) if factor or stored < MIB else 1
        return numbers, rows

    def batches(self, names: Sequence[str] | None = None) -> Iterator[Any]:
        """Yield record batches of columns (None: of all); raises DamageError where they unpack to implausibly much."""
        most, unpacked = 256 * MIB + 16 * self.bytes + 16 * self.numbers, 0
        parts = self._file.iter_batches(self._rows, columns=names)
        while True:
            with _open_errors(self.shown):
                part = next(parts, None)
            if part is None:
                return
            unpacked += part.nbytes
            if unpacked > most:
                raise DamageError(f"has a {self.shown} that unpacks to more than {most // MIB} MiB")
            yield part

    def column_types(self) -> Iterator[str]:
        """Yield the types with which the library `datasets` would decode columns, besides numbers and texts."""
        described = (self.schema.metadata or {}).get(b"huggingface")
        if described is not None:
            yield from _types(parse_json(described, f"description in {self.shown}"))


@contextmanager
def _open_errors(shown: str) -> Iterator[None]:
    """Turn the errors of the system and of pyarrow while it reads a file into DamageError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DamageError(f"has a {shown} that cannot be read ({first_line(error)})") from error


def _check_extension(field: Any, shown: str) -> None:
    """Raise DamageError for a column whose type is built by other code than arrow's: such types were pickled once."""
    import pyarrow as pa

    name = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode(errors="replace")
    if isinstance(field.type, pa.BaseExtensionType):
        name = field.type.extension_name
    if name and not name.startswith(ARRAYS):
        raise DamageError(
            f"has a {shown} with the column {short(field.name)} of the type {short(name)}, which is not plain"
        )


def _check_storage(field: Any, shown: str) -> None:
    """Raise DamageError for a column whose rows share their values: few bytes here are many where it is unpacked."""
    import pyarrow as pa

    types, waiting = pa.types, [field.type]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        shares = types.is_dictionary(kind) or types.is_run_end_encoded(kind)
        shares = shares or types.is_string_view(kind) or types.is_binary_view(kind)
        if shares or types.is_list_view(kind) or types.is_large_list_view(kind):
            raise DamageError(
                f"has a {shown} with the column {short(field.name)} of the type {short(str(field.type))}, whose rows "
                "share values; store each row's own"
            )
        waiting += [kind.field(i).type for i in range(kind.num_fields)]


def _types(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("_type"), str) and node["_type"] not in ("Value", "List", "Sequence", "LargeList"):
            yield node["_type"]
        node = list(node.values())
    if isinstance(node, list):
        for entry in node:
            yield from _types(entry)
