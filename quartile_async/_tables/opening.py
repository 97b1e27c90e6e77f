"""Files of text as they lie there: compressed or not, and in the encoding that they are in."""

from __future__ import annotations

import codecs
import gzip
import importlib
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Self, cast

from .._errors import ConfigurationError
from .formats import Compression

BLOCK_OF_BYTES = 1 << 20

REPLACED = "\ufffd"
"""The sign for what could not be read."""

BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(slots=True, frozen=True)
class TextFile:
    """A file of text.

    Attributes:
        encoding: as Python names it. "utf-8-sig" is UTF-8 with or without a BOM; what is not UTF-8 in it survives as
            surrogates, so that it costs its own record and not the file.
    """

    path: Path
    compression: Compression
    encoding: str

    @property
    def is_utf_8(self) -> bool:
        return self.encoding == "utf-8-sig"

    @property
    def can_be_entered(self) -> bool:
        """Whether reading can begin behind any line, and its place be told by the text before it."""
        return self.compression is Compression.NONE and (self.is_utf_8 or has_one_byte_for_each(self.encoding))

    def open(self, offset: int = 0) -> IO[str]:
        """Opens it, at so many bytes, where it can be entered; line breaks are kept as they are."""
        errors = "surrogateescape" if self.is_utf_8 else "replace"
        binary = opened(self.path, self.compression)
        if offset:
            binary.seek(offset)
        # Behind the beginning, what looks like a BOM is a character.
        encoding = "utf-8" if offset and self.is_utf_8 else self.encoding
        return io.TextIOWrapper(binary, encoding=encoding, errors=errors, newline="")

    def bytes_of_bom(self) -> int:
        """How many bytes stand before the text, of a file that can be entered."""
        with opened(self.path, self.compression) as file:
            return len(codecs.BOM_UTF8) if self.is_utf_8 and file.read(3) == codecs.BOM_UTF8 else 0

    def bytes_of(self, text: str) -> int:
        """How many bytes a text has, in a file that can be entered."""
        return len(text) if not self.is_utf_8 or text.isascii() else len(text.encode("utf-8", "surrogateescape"))

    def open_as_utf_8(self) -> BinaryIO:
        """Opens its bytes, encoded as UTF-8 without a BOM."""
        binary = opened(self.path, self.compression)
        if not self.is_utf_8:
            return cast("BinaryIO", _Recoded(binary, self.encoding))
        buffered = io.BufferedReader(cast("io.RawIOBase", binary))
        if buffered.peek(3).startswith(codecs.BOM_UTF8):
            buffered.read(3)
        return cast("BinaryIO", buffered)

    def count(self, what: bytes) -> int:
        """How often a byte occurs."""
        with opened(self.path, self.compression) as file, told_where_it_breaks_off(self.path):
            return sum(block.count(what) for block in iter(lambda: file.read(BLOCK_OF_BYTES), b""))


class MeasuredLines:
    """The lines of a file that can be entered.

    Attributes:
        offset: how many bytes of it have been read.
    """

    def __init__(self, file: IO[str], source: TextFile) -> None:
        self._file = file
        self._bytes_of = source.bytes_of
        self.offset: int = source.bytes_of_bom()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.offset += self._bytes_of(line)
        return line


class _Recoded:
    """The bytes of a file in another encoding, as UTF-8.

    Not codecs.EncodedFile by itself: reading into a buffer would pass its recoding by.
    """

    def __init__(self, binary: BinaryIO, encoding: str) -> None:
        self._binary = binary
        self._recoded = codecs.EncodedFile(binary, "utf-8", encoding, "replace")

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        return self._recoded.read(size)

    def close(self) -> None:
        """Closes the file."""
        self._binary.close()


def opened(path: Path, compression: Compression) -> BinaryIO:
    """Opens a file, and unpacks it as it is read."""
    if compression is Compression.GZIP:
        return cast("BinaryIO", gzip.open(path, "rb"))
    if compression is Compression.ZSTD:
        return cast("BinaryIO", _zstd().open(path, "rb"))
    return path.open("rb")


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd  # pyright: ignore[reportMissingImports]  # new in 3.14
    else:
        from backports import zstd
    return zstd


def text_file(path: Path, compression: Compression, encoding: str | None) -> TextFile:
    """A file of text, in this encoding, or in the one that its first bytes tell.

    Raises:
        ConfigurationError: there is no such encoding, or the file cannot be unpacked.
    """
    if encoding is not None:
        try:
            name = codecs.lookup(encoding).name
            if "a".encode(name).decode(name) != "a":
                raise LookupError
        except (LookupError, UnicodeError):
            raise ConfigurationError(
                f"There is no encoding {encoding!r}. Name one such as utf-8, utf-16, latin-1 or cp1252."
            ) from None
        return TextFile(path, compression, "utf-8-sig" if name == "utf-8" else name)
    with opened(path, compression) as file, told_where_it_breaks_off(path):
        return TextFile(path, compression, encoding_told_by(file.read(4)))


def has_one_byte_for_each(encoding: str) -> bool:
    """Whether each character of an encoding, as Python names it, is one byte, whatever stands before it."""
    if encoding == "ascii":
        return True
    try:
        codec = importlib.import_module(f"encodings.{encoding.replace('-', '_')}")
    except ImportError:
        return False
    # Python has such a table for the encodings of this kind, and for no others.
    return len(getattr(codec, "decoding_table", "")) == 256


def encoding_told_by(head: bytes) -> str:
    """The encoding of a text that begins with these bytes: by its BOM, or by the zeros that UTF-16 has in ASCII."""
    for bom, name in BOMS.items():
        if head.startswith(bom):
            return name
    if len(head) >= 2 and head[:2].count(0) == 1:
        return "utf-16-be" if head[0] == 0 else "utf-16-le"
    return "utf-8-sig"


@contextmanager
def told_where_it_breaks_off(path: Path) -> Iterator[None]:
    """What a damaged file raises becomes an OSError that names the file.

    Raises:
        OSError: it cannot be unpacked, to its end or at all.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from error
    except UnicodeError as error:
        raise OSError(f"{path.name} is not in that encoding: {error}. Name another one, or none.") from error
    except Exception as error:
        if type(error).__name__ == "ZstdError":  # its module is only there where it is needed
            raise _damaged(path, error) from error
        raise


def _damaged(path: Path, error: Exception) -> OSError:
    return OSError(f"{path.name} is damaged or incomplete: {error}. Get it anew, and run the same again.")


def as_latin(text: str) -> str:
    """A text with what is not UTF-8 in it, read as Windows and Latin-1 have it."""
    content = text.encode("utf-8", "surrogateescape")
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def is_text(cell: str) -> bool:
    """Whether all of a cell could be decoded."""
    return cell.isascii() or not any("\udc80" <= char <= "\udcff" for char in cell)
