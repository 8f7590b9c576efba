"""PDFs made to harm a parser, each with the ends that its row may have.

They are small, the same at every call, and made only when asked for. Most of them are of no
use to anybody: what counts is that they harm nobody else.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from docnats.errors import ErrorType
from tests.pdfs import pdf_file, pdf_stream, text_pdf

__all__ = ["DONE", "HOSTILE", "PAGES_FAILED", "Hostile", "fan_out"]

DONE = "done"
PAGES_FAILED = "pages failed"

MALFORMED, CRASHED = ErrorType.MALFORMED, ErrorType.CRASHED
MEMORY, TIMEOUT, TOO_LARGE = ErrorType.OUT_OF_MEMORY, ErrorType.TIMEOUT, ErrorType.TOO_LARGE

CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
HELLO = b"BT /F1 11 Tf 72 770 Td (Hello) Tj ET"


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file that means harm.

    Attributes
    ----------
    make : callable
        Returns its bytes.
    ends : frozenset of str
        ``done``, ``pages failed`` (done, with pages that are rows with an error) or error
        types; more than one where it is the parser's business which.
    """

    make: Callable[[], bytes]
    ends: frozenset[str]


HOSTILE: dict[str, Hostile] = {}


def ends(*kinds: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    """Register a function that makes a hostile file."""

    def register(make: Callable[[], bytes]) -> Callable[[], bytes]:
        HOSTILE[make.__name__] = Hostile(make, frozenset(kinds))
        return make

    return register


def page(
    content: bytes = HELLO,
    *more: bytes,
    resources: bytes = b"",
    entries: bytes = b"",
    box: bytes = b"[0 0 595 842]",
    catalog: bytes = b"",
    font: bytes = FONT,
    stream: bytes | None = None,
    trailer: bytes = b"",
    tree: bytes = b"/Count 1 /Kids [3 0 R]",
    contents: bytes = b"4 0 R",
) -> bytes:
    """Return a file of one page, object 3, with its content in 4; ``more`` begins at 6."""
    leaf = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox %b /Contents %b "
        b"/Resources << /Font << /F1 5 0 R >> %b >> %b >>" % (box, contents, resources, entries)
    )
    root = b"<< /Type /Catalog /Pages 2 0 R %b >>" % catalog
    body = pdf_stream(content) if stream is None else stream
    pages = b"<< /Type /Pages %b >>" % tree
    return pdf_file([root, pages, leaf, body, font, *more], trailer)


def form(content: bytes, resources: bytes = b"") -> bytes:
    return pdf_stream(
        content,
        b"/Type /XObject /Subtype /Form /BBox [0 0 595 842] /Resources << %b >> " % resources,
    )


def flate(content: bytes, layers: int = 1) -> bytes:
    for _ in range(layers):
        content = zlib.compress(content, 9)
    return pdf_stream(content, b"/Filter [%b] " % (b"/FlateDecode " * layers))


def nested(opening: bytes, inner: bytes, closing: bytes, depth: int) -> bytes:
    return opening * depth + inner + closing * depth


# --- Forms, patterns and fonts that draw themselves ------------------------------------------


@ends(MEMORY, CRASHED)
def form_draws_itself() -> bytes:
    return text_pdf(bombs={1})


@ends(PAGES_FAILED)
def one_page_of_many_draws_itself() -> bytes:
    return text_pdf(5, bombs={3})


@ends(MEMORY, CRASHED)
def forms_draw_each_other() -> bytes:
    return page(
        b"/A Do",
        form(b"/B Do", b"/XObject << /B 7 0 R >>"),
        form(b"/A Do", b"/XObject << /A 6 0 R >>"),
        resources=b"/XObject << /A 6 0 R >>",
    )


def fan_out(pages: int = 1, bad: Iterable[int] = (1,)) -> bytes:
    """Forms that draw the next one ten times, nine deep: a page that never ends.

    The other pages say ``Page n``.
    """
    kids = b" ".join(b"%d 0 R" % (13 + 2 * n) for n in range(pages))
    forms = [
        form(b"/X Do " * 10, b"/XObject << /X %d 0 R >>" % (number + 1)) for number in range(4, 12)
    ]
    objects = [CATALOG, b"<< /Type /Pages /Count %d /Kids [%b] >>" % (pages, kids), FONT, *forms]
    objects.append(form(b"q Q"))
    for number in range(1, pages + 1):
        text = b"BT /F1 11 Tf 72 770 Td (Page %d) Tj ET" % number
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> /XObject << /X 4 0 R >> >> >>"
            % (len(objects) + 2)
        )
        objects.append(pdf_stream(b"/X Do" if number in bad else text))
    return pdf_file(objects)


@ends(TIMEOUT)
def one_page_that_never_ends() -> bytes:
    return fan_out()


@ends(MEMORY, CRASHED, DONE)
def forms_twenty_thousand_deep() -> bytes:
    depth = 20_000
    chain = [
        form(b"/X Do", b"/XObject << /X %d 0 R >>" % (number + 1)) for number in range(6, 6 + depth)
    ]
    return page(b"/X Do", *chain, form(HELLO), resources=b"/XObject << /X 6 0 R >>")


@ends(DONE, MALFORMED)
def glyph_draws_itself() -> bytes:
    font = (
        b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 1 1] /FontMatrix [1 0 0 1 0 0] "
        b"/CharProcs << /a 6 0 R >> /Encoding << /Differences [97 /a] >> /FirstChar 97 "
        b"/LastChar 97 /Widths [1] /Resources << /Font << /F1 5 0 R >> >> >>"
    )
    return page(b"BT /F1 9 Tf (aaa) Tj ET", pdf_stream(b"1 0 d0 BT /F1 9 Tf (a) Tj ET"), font=font)


@ends(MEMORY, DONE)
def pattern_paints_itself() -> bytes:
    tiling = pdf_stream(
        b"/Pattern cs /P scn 0 0 9 9 re f",
        b"/Type /Pattern /PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 9 9] /XStep 1e-9 "
        b"/YStep 0 /Resources << /Pattern << /P 6 0 R >> >> ",
    )
    return page(
        b"/Pattern cs /P scn 0 0 500 500 re f " + HELLO,
        tiling,
        resources=b"/Pattern << /P 6 0 R >>",
    )


@ends(DONE, MALFORMED)
def soft_mask_masks_itself() -> bytes:
    state = b"<< /Type /ExtGState /SMask << /S /Alpha /G 7 0 R >> >>"
    return page(
        b"/G gs " + HELLO,
        state,
        form(b"/G gs", b"/ExtGState << /G 6 0 R >>"),
        resources=b"/ExtGState << /G 6 0 R >>",
    )


@ends(DONE, MALFORMED, CRASHED, MEMORY)
def colour_spaces_in_a_circle() -> bytes:
    return page(
        b"/C cs 1 sc " + HELLO,
        b"[/Indexed 7 0 R 255 <00>]",
        b"[/Indexed 6 0 R 255 <00>]",
        resources=b"/ColorSpace << /C 6 0 R >>",
    )


# --- Page trees ------------------------------------------------------------------------------


@ends(MALFORMED)
def page_tree_is_its_own_kid() -> bytes:
    return pdf_file([CATALOG, b"<< /Type /Pages /Count 1 /Kids [2 0 R] >>"])


@ends(DONE, MALFORMED)
def page_tree_loops_after_a_page() -> bytes:
    return page(tree=b"/Count 1 /Kids [3 0 R 2 0 R]")


@ends(DONE, MALFORMED)
def page_is_its_own_parent() -> bytes:
    return page().replace(b"/Parent 2 0 R /MediaBox [0 0 595 842]", b"/Parent 3 0 R")


@ends(TOO_LARGE)
def fifty_thousand_pages() -> bytes:
    return page(tree=b"/Count 50000 /Kids [%b]" % (b"3 0 R " * 50_000))


@ends(DONE, MALFORMED, CRASHED)
def page_tree_twenty_thousand_deep() -> bytes:
    depth = 20_000
    nodes = [
        b"<< /Type /Pages /Count 1 /Parent %d 0 R /Kids [%d 0 R] >>" % (n - 1 or 2, n + 1)
        for n in range(6, 6 + depth)
    ]
    leaf = b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>" % (5 + depth)
    return page(HELLO, *nodes, leaf, tree=b"/Count 1 /Kids [6 0 R]")


@ends(DONE)
def count_too_large() -> bytes:
    return page(tree=b"/Count 2147483647 /Kids [3 0 R]")


@ends(DONE)
def count_negative() -> bytes:
    return page(tree=b"/Count -7 /Kids [3 0 R]")


@ends(DONE)
def count_too_small() -> bytes:
    return page(tree=b"/Count 0 /Kids [3 0 R]")


@ends(DONE, MALFORMED)
def count_beyond_all_numbers() -> bytes:
    return page(tree=b"/Count %d /Kids [3 0 R]" % 10**40)


@ends(DONE, MALFORMED)
def kids_are_no_pages() -> bytes:
    return page(tree=b"/Count 9 /Kids [null 1 (x) << >> 9 0 R]")


# --- Bombs -----------------------------------------------------------------------------------


@ends(MEMORY, TIMEOUT, DONE, MALFORMED)
def flate_bomb() -> bytes:
    """Some kilobytes that inflate to 4 GB of white space, in two layers."""
    block, blocks = b" " * (1 << 20), 4096
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = squeeze.compress(block) + squeeze.flush(zlib.Z_FULL_FLUSH)
    inner = b"\x78\xda" + start * blocks + zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    return page(stream=pdf_stream(zlib.compress(inner, 9), b"/Filter [/FlateDecode /FlateDecode] "))


@ends(MEMORY, TIMEOUT, DONE, MALFORMED)
def flate_bomb_of_text() -> bytes:
    """150 MB of text operators."""
    return page(stream=flate(b"BT /F1 9 Tf 9 9 Td (xxxxxxxx) Tj ET\n" * 4_000_000))


@ends(MALFORMED, DONE)
def a_thousand_filters() -> bytes:
    return page(
        stream=pdf_stream(zlib.compress(HELLO), b"/Filter [%b] " % (b"/FlateDecode " * 999))
    )


@ends(MEMORY, TIMEOUT, DONE, MALFORMED)
def predictor_of_gigabytes() -> bytes:
    parms = b"/DecodeParms << /Predictor 12 /Columns 2147483647 /Colors 32 /BitsPerComponent 16 >> "
    return page(stream=pdf_stream(zlib.compress(HELLO), b"/Filter /FlateDecode " + parms))


@ends(DONE, MEMORY, TIMEOUT)
def a_million_glyphs() -> bytes:
    return page(b"BT /F1 1 Tf 10 770 Td (" + b"glyph words " * 84_000 + b") Tj ET")


@ends(DONE, MEMORY, TIMEOUT)
def two_hundred_thousand_places() -> bytes:
    """Every letter elsewhere: no two make a word."""
    marks = b"".join(b"1 0 0 1 %d %d Tm (a) Tj " % (n % 590, n * 7 % 840) for n in range(200_000))
    return page(stream=flate(b"BT /F1 1 Tf " + marks + b"ET"))


@ends(DONE, MEMORY, TIMEOUT, CRASHED)
def three_million_saved_states() -> bytes:
    return page(stream=flate(b"q " * 3_000_000 + HELLO))


@ends(DONE, MEMORY, TIMEOUT)
def states_restored_that_were_never_saved() -> bytes:
    return page(stream=flate(b"Q EMC ET " * 200_000 + HELLO))


@ends(DONE, MEMORY, TIMEOUT)
def half_a_million_rectangles() -> bytes:
    return page(stream=flate(b"0 0 9 9 re f " * 500_000 + HELLO))


# --- Nesting ---------------------------------------------------------------------------------


@ends(DONE, MALFORMED, CRASHED, MEMORY)
def arrays_in_content() -> bytes:
    return page(stream=flate(nested(b"[", b"(a)", b"]", 1_000_000) + b" TJ " + HELLO))


@ends(DONE, MALFORMED, CRASHED, MEMORY)
def dictionaries_in_an_object() -> bytes:
    return page(HELLO, nested(b"<< /A ", b"1", b" >>", 200_000), entries=b"/PieceInfo 6 0 R")


@ends(DONE, MALFORMED, CRASHED, MEMORY)
def dictionaries_in_content() -> bytes:
    return page(stream=flate(b"/P " + nested(b"<< /A ", b"1", b" >>", 200_000) + b" BDC " + HELLO))


@ends(TIMEOUT, MEMORY, DONE, MALFORMED, CRASHED)
def parentheses_in_a_string() -> bytes:
    return page(stream=flate(b"BT /F1 9 Tf (" + nested(b"(", b"a", b")", 500_000) + b") Tj ET"))


@ends(DONE, MEMORY, TIMEOUT)
def marked_content() -> bytes:
    return page(stream=flate(b"/P << /MCID 1 >> BDC " * 300_000 + HELLO))


# --- Lies ------------------------------------------------------------------------------------


@ends(DONE)
def image_of_ten_gigapixels() -> bytes:
    image = pdf_stream(
        zlib.compress(bytes(99)),
        b"/Type /XObject /Subtype /Image /Width 100000 /Height 100000 /ColorSpace /DeviceRGB "
        b"/BitsPerComponent 16 /Filter /FlateDecode ",
    )
    return page(b"/I Do " + HELLO, image, resources=b"/XObject << /I 6 0 R >>")


@ends(DONE, MALFORMED)
def inline_image_of_ten_gigapixels() -> bytes:
    return page(b"BI /W 100000 /H 100000 /CS /RGB /BPC 8 ID xx EI " + HELLO)


@ends(DONE, MALFORMED)
def inline_image_without_an_end() -> bytes:
    return page(HELLO + b" BI /W 9 /H 9 /CS /G /BPC 8 ID " + b"x" * 100_000)


@ends(DONE, MALFORMED)
def image_masks_itself() -> bytes:
    image = pdf_stream(
        b"x",
        b"/Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray "
        b"/BitsPerComponent 8 /SMask 6 0 R /Mask 6 0 R ",
    )
    return page(b"/I Do " + HELLO, image, resources=b"/XObject << /I 6 0 R >>")


@ends(DONE, MALFORMED)
def stream_lengths_that_lie() -> bytes:
    return page(stream=b"<< /Length 999999999999 >>\nstream\n%b\nendstream" % HELLO)


@ends(DONE, MALFORMED)
def stream_is_its_own_length() -> bytes:
    return page(stream=b"<< /Length 4 0 R >>\nstream\n%b\nendstream" % HELLO)


@ends(DONE, MALFORMED)
def xref_offsets_beyond_the_file() -> bytes:
    return page().replace(b" 00000 n ", b" 99999 n ").replace(b"\n0000000", b"\n9999999")


@ends(DONE, MALFORMED)
def xref_of_a_billion_entries() -> bytes:
    return page().replace(b"xref\n0 6\n", b"xref\n0 999999999\n")


@ends(DONE, MALFORMED)
def startxref_beyond_the_file() -> bytes:
    return page().replace(b"startxref\n", b"startxref\n99999999999999999999")


@ends(DONE, MALFORMED)
def previous_xref_is_this_one() -> bytes:
    content = page(trailer=b"/Prev 0000000000")
    start = content.rindex(b"xref\n0 ")
    return content.replace(b"/Prev 0000000000", b"/Prev %010d" % start)


@ends(DONE, MALFORMED, MEMORY)
def size_of_two_billion() -> bytes:
    return page(trailer=b"/Size 2147483647")


@ends(DONE, MALFORMED, MEMORY)
def xref_stream_of_two_billion_entries() -> bytes:
    objects = page().partition(b"xref\n0 ")[0]
    table = pdf_stream(
        zlib.compress(bytes(64)),
        b"/Type /XRef /Size 2147483647 /W [8 8 8] /Index [0 2147483647] /Root 1 0 R "
        b"/Filter /FlateDecode ",
    )
    return objects + b"6 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF\n" % (table, len(objects))


@ends(DONE, MALFORMED)
def object_stream_holds_itself() -> bytes:
    """The xref stream says that object 7, a stream of objects, is in itself; as are the others."""
    out = bytearray(b"%PDF-1.7\n")
    start = len(out)
    out += b"7 0 obj\n%b\nendobj\n" % pdf_stream(
        b"7 0 1 9 << >> << /Pages 2 0 R >>", b"/Type /ObjStm /N 2 /First 9 /Extends 7 0 R "
    )
    table = len(out)
    rows = b"".join(bytes([2, 0, 7, number]) for number in range(8))
    assert start < 256
    xref = pdf_stream(rows, b"/Type /XRef /Size 8 /W [1 2 1] /Root 1 0 R ")
    return bytes(out) + b"8 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF\n" % (xref, table)


@ends(DONE, MALFORMED)
def references_in_a_circle() -> bytes:
    return page(HELLO, b"7 0 R", b"6 0 R", entries=b"/Rotate 6 0 R /CropBox 7 0 R")


@ends(DONE, MALFORMED)
def contents_in_a_circle() -> bytes:
    return page(HELLO, b"[6 0 R 4 0 R 6 0 R]", contents=b"6 0 R")


@ends(DONE, MALFORMED, TIMEOUT, MEMORY)
def the_same_contents_a_hundred_thousand_times() -> bytes:
    return page(HELLO, b"[%b]" % (b"4 0 R " * 100_000), contents=b"6 0 R")


# --- Numbers, names, boxes -------------------------------------------------------------------


@ends(DONE, MALFORMED)
def numbers_beyond_all_bounds() -> bytes:
    huge = b"9" * 100_000
    return page(
        b"1e999 -.-5 %b 0 0 %b 1 1 cm %b w BT /F1 %b Tf 99999999999 TL 1e38 0 0 1e38 0 0 Tm "
        b"(a) Tj ET " % (huge, huge, huge, huge) + HELLO
    )


@ends(CRASHED, DONE)
def one_apostrophe() -> bytes:
    """Found by fuzzing: docling-parse 7.23 takes the operand of ``'`` without looking."""
    return page(b"'")


@ends(CRASHED, DONE)
def one_quotation_mark() -> bytes:
    return page(b'"')


@ends(CRASHED, DONE, MALFORMED)
def operators_without_operands() -> bytes:
    return page(b"Tj TJ Tf Tm cm Do gs ' \" BDC sc scn re c v y d w J BT Td TD T* ET " + HELLO)


@ends(DONE, MALFORMED)
def operands_of_the_wrong_kind() -> bytes:
    return page(b"BT (x) /F1 Tf /N Tj [[1]] TJ << >> Td (a) (b) (c) Tm true w ET " + HELLO)


@ends(DONE, MALFORMED)
def enormous_names_and_strings() -> bytes:
    name, text = b"/" + b"N" * 1_000_000, b"(" + b"x" * 5_000_000 + b")"
    return page(stream=flate(name + b" gs " + text + b" pop <" + b"4" * 999_999 + b"> " + HELLO))


@ends(DONE, MALFORMED)
def boxes_of_nothing() -> bytes:
    return page(box=b"[0 0 0 0]")


@ends(DONE, MALFORMED)
def boxes_beyond_all_bounds() -> bytes:
    return page(box=b"[-1e300 -1e300 1e300 1e300]", entries=b"/UserUnit 1e300")


@ends(DONE, MALFORMED)
def boxes_that_are_none() -> bytes:
    return page(box=b"[(a) null /B]", entries=b"/CropBox (x)")


@ends(MALFORMED)
def rotation_by_37_degrees() -> bytes:
    return page(entries=b"/Rotate 37")


@ends(DONE, MALFORMED)
def rotation_beyond_all_numbers() -> bytes:
    return page(entries=b"/Rotate %d" % (90 * 10**30))


@ends(DONE, MALFORMED)
def text_of_no_size_and_of_all_sizes() -> bytes:
    return page(
        b"BT /F1 0 Tf (a) Tj /F1 1e30 Tf (b) Tj 0 Tz (c) Tj /F1 9 Tf 1e30 Tc (d) Tj 0 Tc "
        b"0 0 0 0 0 0 Tm (e) Tj ET " + HELLO
    )


# --- Fonts -----------------------------------------------------------------------------------


def _type0(cmap: bytes, *, encoding: bytes = b"/Identity-H", widths: bytes = b"[]") -> bytes:
    font = (
        b"<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding %b /ToUnicode 7 0 R "
        b"/DescendantFonts [6 0 R] >>" % encoding
    )
    cid = (
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X /CIDSystemInfo << /Registry (Adobe) "
        b"/Ordering (Identity) /Supplement 0 >> /W %b /FontDescriptor << /Type /FontDescriptor "
        b"/FontName /X /Flags 4 >> >>" % widths
    )
    return page(
        b"BT /F1 9 Tf 72 700 Td <00410042> Tj ET",
        cid,
        pdf_stream(cmap, b"/Type /CMap /UseCMap 7 0 R "),
        font=font,
    )


@ends(DONE, MALFORMED)
def cmap_uses_itself() -> bytes:
    return _type0(b"/X usecmap begincmap endcmap", encoding=b"7 0 R")


@ends(DONE, MALFORMED, MEMORY, TIMEOUT)
def cmap_of_four_billion_characters() -> bytes:
    return _type0(
        b"begincmap 1 begincodespacerange <00000000> <FFFFFFFF> endcodespacerange "
        b"1 beginbfrange <00000000> <FFFFFFFF> <0041> endbfrange endcmap"
    )


@ends(DONE, MALFORMED, MEMORY, TIMEOUT)
def cmap_of_many_full_ranges() -> bytes:
    return _type0(b"begincmap 100 beginbfrange " + b"<0000> <FFFF> <0041> " * 2_000 + b"endbfrange")


@ends(DONE, MALFORMED)
def cmap_of_garbage() -> bytes:
    return _type0(
        b"begincmap 99 beginbfchar <00 <<41> (x) [ <0041> endbfchar 5 beginbfrange <0041> "
        b"<0040> [<D800> <DFFF> <110000>] <41> <42> <" + b"F" * 9_999 + b"> endbfrange"
    )


@ends(DONE, MALFORMED, MEMORY, TIMEOUT)
def widths_of_four_billion_glyphs() -> bytes:
    return _type0(b"begincmap endcmap", widths=b"[0 4294967295 500 -9 [1] (x) 7 2147483647 1]")


@ends(DONE, MALFORMED, CRASHED)
def font_descends_from_itself() -> bytes:
    font = (
        b"<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding 5 0 R /DescendantFonts [5 0 R] >>"
    )
    return page(font=font)


@ends(TIMEOUT, MEMORY, DONE, MALFORMED)
def simple_font_that_lies() -> bytes:
    font = (
        b"<< /Type /Font /Subtype /TrueType /BaseFont /X /FirstChar -2147483648 /LastChar "
        b"2147483647 /Widths [1 (x) null] /Encoding << /Differences [4294967295 /a -5 /b /c (x)] "
        b">> /FontDescriptor << /FontFile2 4 0 R /FontBBox [0] /MissingWidth (x) >> >>"
    )
    return page(font=font)


# --- What hangs on a document ----------------------------------------------------------------


@ends(DONE, MALFORMED)
def ten_thousand_annotations() -> bytes:
    note = (
        b"<< /Type /Annot /Subtype /Widget /Rect [0 0 9 9] /Parent 6 0 R /Kids [6 0 R] /A 6 0 R >>"
    )
    return page(HELLO, note, entries=b"/Annots [%b]" % (b"6 0 R " * 10_000))


@ends(DONE, MALFORMED)
def annotations_in_a_circle() -> bytes:
    return page(
        HELLO,
        b"[6 0 R << /Subtype /Link /Parent 3 0 R /Popup 6 0 R /Contents (\xff\xfe\xff) >>]",
        entries=b"/Annots 6 0 R",
    )


@ends(DONE, MALFORMED)
def outlines_in_a_circle() -> bytes:
    item = b"<< /Title (x) /Parent 6 0 R /First 6 0 R /Next 6 0 R /Prev 6 0 R /Dest [3 0 R /Fit] >>"
    return page(HELLO, item, catalog=b"/Outlines 6 0 R /Names 6 0 R /Dests 6 0 R")


@ends(DONE, MALFORMED)
def form_fields_in_a_circle() -> bytes:
    field = b"<< /T (x) /FT /Tx /Kids [6 0 R 6 0 R] /Parent 6 0 R >>"
    return page(HELLO, field, catalog=b"/AcroForm << /Fields [6 0 R] /DR 6 0 R >>")


@ends(DONE, MALFORMED)
def structure_in_a_circle() -> bytes:
    node = b"<< /Type /StructElem /S /P /K [6 0 R 6 0 R] /P 6 0 R >>"
    return page(HELLO, node, catalog=b"/StructTreeRoot 6 0 R /MarkInfo << /Marked true >>")


@ends(DONE)
def metadata_nested_eighty_thousand_deep() -> bytes:
    packet = (
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        b'xmlns:dc="http://purl.org/dc/elements/1.1/">%b</rdf:RDF>'
        % nested(b"<rdf:Description><dc:title>", b"x", b"</dc:title></rdf:Description>", 40_000)
    )
    return page(HELLO, flate(packet), catalog=b"/Metadata 6 0 R")


@ends(DONE, MALFORMED)
def metadata_of_entities() -> bytes:
    packet = (
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
        b'<!ENTITY c SYSTEM "file:///etc/passwd">]><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
        b'22-rdf-syntax-ns#"><rdf:Description>&b;&c;\xff</rdf:Description></rdf:RDF>'
    )
    return page(HELLO, pdf_stream(packet, b"/Type /Metadata "), catalog=b"/Metadata 6 0 R")


@ends(ErrorType.ENCRYPTED, MALFORMED)
def encryption_that_lies() -> bytes:
    return page(
        trailer=b"/Encrypt << /Filter /Standard /V 99 /R 99 /Length 2147483647 /O <00> /U <00> "
        b"/P 999999999999 >> /ID [() ()]"
    )


@ends(ErrorType.ENCRYPTED, MALFORMED, DONE)
def encryption_in_a_circle() -> bytes:
    return page(HELLO, b"<< /Filter 6 0 R /V 6 0 R /CF 6 0 R >>", trailer=b"/Encrypt 6 0 R")


# --- What is hard on docnats' own reading ----------------------------------------------------


@ends(DONE)
def text_that_begins_to_look_like_glyph_names() -> bytes:
    lines = (b"GLYPH<" * 9, b"(cid:" * 9, b"/g1" * 20 + b"x")
    shown = b"".join(b"<%b> Tj 0 -1 Td " % line.hex().encode() for line in lines * 300)
    return page(b"BT /F1 1 Tf 9 800 Td %bET" % shown)


@ends(DONE)
def object_streams_that_do_not_end() -> bytes:
    return page() + b"/ObjStm stream\n" * 400_000


@ends(DONE)
def object_streams_of_gigabytes() -> bytes:
    bomb = zlib.compress(b" " * (15 << 20), 9)
    fake = b"<< /Type /ObjStm >> stream\n%b\nendstream\n" % bomb
    return page() + fake * 400
