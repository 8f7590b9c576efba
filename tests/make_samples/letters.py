# ruff: noqa: RUF001 - letters of other scripts may look like Latin ones
"""Letters in many scripts: left to right, East Asian, and right to left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import Align
from fpdf.recorder import FPDFRecorder
from reportlab.lib.colors import Color

from tests.make_samples.style import AUTHOR, BRASS, FAINT, INK, find_font

__all__ = ["east_asian_letters", "many_alphabets", "right_to_left_letters"]

A5 = (148, 210)
"""Width and height in mm."""

Letter = tuple[str, str, str]
"""Where it came from, its text, and what it says in English."""

ALPHABETS: Sequence[Letter] = (
    (
        "Αθήνα, 3 Απριλίου 1931",
        "Αγαπητοί συνάδελφοι, είδαμε το νέο αστέρι από τον λόφο των Νυμφών. Ήταν κίτρινο και "
        "πολύ λαμπρό. Σας ευχαριστούμε για το τηλεγράφημα.",
        "We saw the new star from the hill of the Nymphs; thank you for the telegram.",
    ),
    (
        "Пулково, 9 апреля 1931",
        "Уважаемые коллеги, небо над нами было ясным три ночи подряд. Посылаем вам двадцать "
        "оценок блеска новой звезды и привет вашему коту.",
        "Three clear nights in a row: twenty magnitudes enclosed, and greetings to your cat.",
    ),
    (
        "Київ, 11 квітня 1931",
        "Шановні друзі, на нашій платівці від 14 березня зірки ще немає. Її копію надсилаємо "
        "разом із цим листом.",
        "On our plate of 14 March the star is not there yet; a copy is enclosed.",
    ),
    (
        "Kraków, 12 kwietnia 1931",
        "Szanowni Państwo, zażółć gęślą jaźń: tak sprawdzamy nasze pióra. Gwiazdę widzieliśmy "
        "wczoraj o świcie, między chmurami.",
        "We saw the star yesterday at dawn, between clouds. (Our pens are tested first.)",
    ),
    (
        "Ondřejov, 14. dubna 1931",
        "Milí přátelé, příliš mnoho mraků a příliš málo hvězd. Přesto jsme ji našli: svítí "
        "žlutě, trochu načervenale.",
        "Too many clouds and too few stars; but we found it, yellow and slightly red.",
    ),
    (
        "İstanbul, 15 Nisan 1931",
        "Sayın meslektaşlar, yıldızı Boğaz'ın üstünde gördük. Işığı her gece biraz daha "
        "azalıyor, çayımız ise hâlâ sıcak.",
        "We saw the star above the Bosporus. It fades every night; our tea is still hot.",
    ),
    (
        "Reykjavík, 17. apríl 1931",
        "Kæru vinir, norðurljósin voru svo björt að stjarnan sást varla. Það er fallegt "
        "vandamál að eiga.",
        "The northern lights hid the star: a beautiful problem to have.",
    ),
    (
        "Hà Nội, ngày 20 tháng 4 năm 1931",
        "Thưa quý vị, chúng tôi đã nhìn thấy ngôi sao mới trước khi mưa đến. Xin gửi kèm một "
        "bản vẽ nhỏ.",
        "We saw the new star before the rain came; a small drawing is enclosed.",
    ),
    (
        "თბილისი, 22 აპრილი 1931",
        "ძვირფასო მეგობრებო, ახალი ვარსკვლავი ჩვენც ვნახეთ. ცა მთებში ძალიან სუფთაა.",
        "We too have seen the new star. The sky in the mountains is very clean.",
    ),
    (
        "Երևան, 25 ապրիլի 1931",
        "Հարգելի բարեկամներ, շնորհավորում ենք ձեզ նոր աստղի համար։",
        "Dear friends, we congratulate you on the new star.",
    ),
)

EAST_ASIA: Sequence[Letter] = (
    (
        "東京、昭和六年四月二日",
        "拝啓。三月二十日の夜、私たちも新しい星を見ました。\n"
        "明るさは五等でした。写真を一枚お送りします。\n"
        "そちらの猫にもよろしくお伝えください。",
        "We too saw the new star on 20 March, at magnitude five. Greetings to the cat.",
    ),
    (
        "南京，一九三一年四月五日",
        "尊敬的各位同事：我们在山上的天文台连续观测了六晚。\n"
        "新星的光一天比一天弱，但是颜色越来越红。\n"
        "随信寄上观测表。",
        "Six nights in a row from our hill: the new star fades and reddens. A table is enclosed.",
    ),
    (
        "臺北，四月八日",
        "各位先生：雨下了十天，今晚終於放晴。\n我們看見了那顆星，也看見了銀河。",
        "After ten days of rain it cleared tonight. We saw the star, and the Milky Way as well.",
    ),
    (
        "서울, 1931년 4월 10일",
        "새 별이 나타났다는 소식을 듣고 밤새 하늘을 보았습니다. "
        "구름 사이로 잠깐 보였습니다. 좋은 관측 되시기를 바랍니다.",
        "We watched all night and saw it for a moment between clouds. Good observing!",
    ),
)

RIGHT_TO_LEFT: Sequence[Letter] = (
    (
        "القاهرة، ٧ أبريل ١٩٣١",
        "زملاءنا الأعزاء، رأينا النجم الجديد من مرصد حلوان في ليلة صافية. كان لونه أصفر وكان "
        "أسطع من جيرانه جميعا. نرسل إليكم صورة واحدة وتحياتنا إلى القط.",
        "We saw the new star from Helwan on a clear night, brighter than all its neighbours.",
    ),
    (
        "ירושלים, 9 באפריל 1931",
        "עמיתים יקרים, ראינו את הכוכב החדש מעל ההרים. האוויר היה קר וצלול מאוד. אנו שולחים "
        "לכם 12 מדידות ומחכים לבהירים נוספים.",
        "We saw the new star above the hills: 12 measurements, and hope for more clear nights.",
    ),
    (
        "تهران، ۲۰ فروردین ۱۳۱۰",
        "دوستان گرامی، آسمان اینجا صاف است و ستاره تازه را با چشم دیدیم. نامه شما را با شادی "
        "خواندیم.",
        "The sky is clear here and we saw the new star with the naked eye. We enjoyed your letter.",
    ),
)


XMP = """\
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>
<dc:creator><rdf:Seq><rdf:li>{author}</rdf:li></rdf:Seq></dc:creator>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def many_alphabets(path: Path) -> None:
    """Write two pages of letters: Greek, Cyrillic, Latin, Georgian and Armenian."""
    _write(path, "Letters in many alphabets", "DejaVuSans.ttf", ALPHABETS, size=10)


def east_asian_letters(path: Path) -> None:
    """Write a page of letters in Japanese, Chinese and Korean."""
    _write(path, "Letters from East Asia", "DroidSansFallback.ttf", EAST_ASIA, size=12)


def right_to_left_letters(path: Path) -> None:
    """Write a page of letters in Arabic, Hebrew and Persian, shaped and set right to left."""
    _write(path, "Letters written from right to left", "DejaVuSans.ttf", RIGHT_TO_LEFT, size=14)


def _write(path: Path, title: str, font: str, letters: Sequence[Letter], *, size: float) -> None:
    align = Align.R if letters is RIGHT_TO_LEFT else Align.L
    pdf = FPDF(format=A5)
    pdf.set_creation_date(datetime(2026, 1, 1, tzinfo=UTC))
    pdf.set_title(title)
    pdf.set_author(AUTHOR)
    pdf.set_creator("docnats sample")
    pdf.set_xmp_metadata(XMP.format(title=title, author=AUTHOR))
    pdf.set_margin(16)
    pdf.set_auto_page_break(True, margin=14)
    pdf.add_font("letters", fname=find_font(font))
    pdf.add_font("latin", fname=find_font("DejaVuSans.ttf"))
    pdf.set_fallback_fonts(["latin"])
    pdf.add_page()
    pdf.set_text_color(*INK.bitmap_rgb())
    pdf.set_font("Times", "B", 17)
    pdf.cell(text=title, new_x="LMARGIN", new_y="NEXT", h=12)
    pdf.ln(4)
    for place, text, gist in letters:
        with pdf.unbreakable() as block:
            block.set_text_shaping(True)
            block.set_font("letters", size=size)
            _block(block, place, BRASS, align)
            _block(block, text, INK, align)
            block.set_text_shaping(False)
            block.set_font("Times", "I", 9)
            _block(block, gist, FAINT, Align.L)
            block.ln(5)
    pdf.output(str(path))


def _block(pdf: FPDFRecorder, text: str, colour: Color, align: Align) -> None:
    pdf.set_text_color(*colour.bitmap_rgb())
    height = pdf.font_size * 1.6
    pdf.multi_cell(w=0, h=height, text=text, align=align, new_x="LMARGIN", new_y="NEXT")
