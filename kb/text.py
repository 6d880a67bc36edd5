"""Text as every later step may rely on it: no control characters, one line ending, one Unicode form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# U+0000 to U+001F without tab and line feed, DEL, the C1 controls, and the two noncharacters of the basic plane.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")
# Normalising sorts each run of combining marks, which takes the square of its length. Unicode's Stream-Safe Text Format
# (UAX 15) lets none grow longer than this and puts a joiner, which nobody sees, between the parts.
_LONGEST_RUN = 30
_JOINER = "\u034f"
# Where such a run may be: quick to find, and holds more than marks.
_MAY_BE_MARKS = re.compile(r"[^\w\s!-~\u00a1-\u02ff\u2010-\u205e\u2190-\u2bff\u3001-\u3029\ufe30-\uffef]{31,}")

_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA_HANGUL = re.compile("[\u3040-\u30ff\u1100-\u11ff\uac00-\ud7af]")
_LATIN = re.compile("[A-Za-z]")
_LETTERS = re.compile(r"[^\W\d_]")

# One Han character says about as much as this many Latin letters.
_LETTERS_PER_HAN = 3
_LANGUAGE_SAMPLE = 200_000

# What wide text is made of: ASCII, Latin-1, general and CJK punctuation, kana, common Han, full-width forms.
_WIDE_TEXT = re.compile("[\t\n\r -~\u00a0-\u024f\u2010-\u2026\u3000-\u30ff\u4e00-\u9fff\uff01-\uff5e]")
_WIDE_ANCHORS = re.compile("[ \n，。、：；！？]")
_WIDE_SAMPLE = 8192

# Everyday characters of modern and classical Chinese, simplified and traditional: about half of any real Chinese text.
_COMMON_HAN = frozenset(
    "的一是不了在人有我他这这個个们們中来來上大为為和国國地到以说說时時要就出会會可也你对對生能而子那得于於着著下自之年过過发發后後作里裡裏"
    "用道行所然家种種事成方多经經么麼去法学學如都同现現当當没沒动動面起看定天分还還进進好小部其些主样樣理心她本前开開但因只从從想实實日军軍"
    "者意无無力它与與长長把机機十民第公此已工使情明性知全三又关關点點正业業外将將两兩高间間由问問很最重并並物手应應战戰向头頭文体體政美相见見"
    "被利什二等产產或新己制身果加西月话話合回特代内內信表化老给給世位次度门門任常先海通教儿兒原东東声聲提立及比员員解水名真论論处處走义義各入"
    "几幾口认認条條平系气氣题題活更别別打女变變四神总總何电電数數安少报報才结結反受目太量再感建务務做接必场場件计計管期市直德资資命山金指统統"
    "区區保至队隊形社便空决決治展马馬科司五基书書非则則听聽白却界达達光放强強即像难難且权權思王完设設式色路记記南品住告类類求据據程北边邊死张張"
    "该該交规規万萬取格望觉覺术術领領共确確传傳师師观觀清今切院让讓识識候带帶导導争爭运運曰乎焉矣吾汝君臣夫若故夏春秋冬六七八九百千元年月日"
)
_COMMON_BLOCK = re.compile("[\u4e00-\u9fff]")
_ODD = re.compile("[\ue000-\uf8ff\ufffd\u3400-\u4dbf\x80-\x9f]|[\U000f0000-\U0010ffff]")
_SURE_BAD_SHARE = 0.2


def clean_text(text: str) -> str:
    """`text` without control characters, lone surrogates as U+FFFD, every line end as `\\n`, in NFC, with a joiner in
    runs of more than 30 combining marks."""
    text = _LINE_ENDS.sub("\n", text)
    text = _CONTROLS.sub("", text)
    if text.isascii():
        return text
    text = _SURROGATES.sub("\ufffd", text)
    whole = unicodedata.normalize("NFC", _part_marks(text))
    return unicodedata.normalize("NFC", _part_marks(whole))  # a letter may have given marks back: ǖ and a dot below


def _part_marks(text: str) -> str:
    return _MAY_BE_MARKS.sub(lambda found: "".join(_iter_parted(found[0])), text)


def _iter_parted(run: str) -> Iterator[str]:
    length = 0
    for character in run:
        plain = unicodedata.normalize("NFD", character)
        length = length + len(plain) if unicodedata.combining(plain[0]) else 0
        if length > _LONGEST_RUN:
            yield _JOINER
            length = len(plain)
        yield character


def detect_language(text: str) -> str | None:
    """ "zh" or "en", the script most of the text is in; None when there are no letters or it is another script."""
    sample = text if len(text) <= _LANGUAGE_SAMPLE else text[: _LANGUAGE_SAMPLE // 2] + text[-_LANGUAGE_SAMPLE // 2 :]
    han = len(_HAN.findall(sample)) * _LETTERS_PER_HAN
    latin = len(_LATIN.findall(sample))
    kana_hangul = len(_KANA_HANGUL.findall(sample)) * _LETTERS_PER_HAN
    if han + latin == 0 or kana_hangul > han:
        return None
    letters = len(_LETTERS.findall(sample))
    if latin >= han:
        return "en" if latin * 2 >= letters else None
    return "zh"


def detect_wide_encoding(data: bytes) -> str | None:
    """The UTF-16 or UTF-32 codec that `data` is written in, by its mark or its pattern; None when it is neither."""
    for mark, codec in (
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return codec
    head = data[:_WIDE_SAMPLE]
    if b"\x00" not in head and _is_utf8(head):
        return None  # pairs of ASCII letters read as Han characters, so nothing that is UTF-8 is guessed at
    for width, codecs in ((4, ("utf-32-le", "utf-32-be")), (2, ("utf-16-le", "utf-16-be"))):
        sample = head[: len(head) // width * width]
        for codec in codecs:
            if _reads_as_text(sample, codec):
                return codec
    return None


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True


def _reads_as_text(sample: bytes, codec: str) -> bool:
    try:
        text = sample.decode(codec)
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 4:
            return False
        text = sample[: error.start].decode(codec)
    if len(text) < 2 or not _WIDE_ANCHORS.search(text):
        return False
    return len(_WIDE_TEXT.findall(text)) >= 0.95 * len(text)


def score_chinese(data: bytes, codec: str) -> float:
    """Everyday share of the Han characters, less the share that is private, rare or undecodable."""
    text = data.decode(codec, errors="replace")
    han = _COMMON_BLOCK.findall(text)
    odd = len(_ODD.findall(text))
    if not han or odd > _SURE_BAD_SHARE * (len(han) + odd):
        return 0.0
    common = sum(character in _COMMON_HAN for character in han)
    return (common - odd) / (len(han) + odd)


def replace_surrogates(text: str) -> str:
    """`text` with lone surrogates, which no tokenizer takes, as question marks: the same length."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
