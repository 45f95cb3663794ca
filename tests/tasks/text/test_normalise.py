"""Written English to spoken words: one line per way of writing, nasty ones included."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.tasks.text.compounds import LONGEST_WORD
from streamer.tasks.text.normalise import read_aloud
from streamer.tasks.text.spoken import GAP, PAUSES, SpokenWord


def aloud(text: str) -> str:
    """What is said, with its pauses but the last full stop; `~` is before letters that are named one by one."""
    words = (f"{'~' * word.is_spelled}{word.text}{word.pause.replace(GAP, '')}" for word in read_aloud(text))
    return " ".join(words).removesuffix(".")


WORDS = {
    "Hello, world.": "Hello, world",
    "Really?": "Really?",
    "No! Yes; maybe: never": "No! Yes; maybe: never",
    "What?!": "What?",
    "Wait...": "Wait,",
    "wait...what": "wait, what",
    "well-known state-of-the-art": "well known state of the art",
    "word \u2014 word": "word- word",
    "word\u2014word": "word- word",
    "word -- word": "word- word",
    "Paris\u2013London": "Paris London",
    '"Quoted," (he said) [once]': "Quoted, he said, once,",
    "\u201cSmart\u201d \u2018quotes\u2019 and don\u2019t": "Smart quotes and don't",
    "rock 'n' roll, 'tis o'clock": "rock and roll, 'tis o'clock",
    "the students' work": "the students work",
    "Hello,world": "Hello, world",
    "the end.Then": "the end. Then",
    "and/or": "and or",
    "his/her w/o b/c": "his slash her without because",
    "caf\u00e9 na\u00efve Zo\u00eb \u0141\u00f3d\u017a stra\u00dfe": "cafe naive Zoe Lodz strasse",
    "cafe\u0301": "cafe",
    "\ufb01ne \uff21\uff22\uff23": "fine ABC",
    "snake_case_name": "snake case name",
    "**bold** _it_ `code` # Title": "bold it code Title",
    "<tag> {x}": "tag ~x",
    "word(s), f(x)": "words, ~f ~x",
    "so\u00adft zero\u200bwidth": "soft zerowidth",
    "e-mail T-shirt x-ray A-level": "~e mail ~T shirt ~x ray ~A level",
    "I am a cat": "I am a cat",
}
NUMBERS = {
    "0": "zero",
    "7": "seven",
    "42": "forty two",
    "112": "one hundred twelve",
    "1,234,567": "one million two hundred thirty four thousand five hundred sixty seven",
    "1000000": "one million",
    "3.14": "three point one four",
    ".5": "zero point five",
    "0.001": "zero point zero zero one",
    "-5": "minus five",
    "+5": "plus five",
    "~5": "about five",
    "1,5": "one comma five",
    "007": "zero zero seven",
    "12345678901": "one two three four five six seven eight nine zero one",
    "\u0663": "three",
    "3 million": "three million",
    "1.5 billion": "one point five billion",
    "1st 2nd 3rd 4th": "first second third fourth",
    "11th 12th 21st 112th": "eleventh twelfth twenty first one hundred twelfth",
    "1,000th": "one thousandth",
    "1/2": "one half",
    "3/4": "three quarters",
    "2/3": "two thirds",
    "5/8 7/10": "five eighths seven tenths",
    "1/0": "one over zero",
    "5/40": "five over forty",
    "2 1/2 cups": "two and a half cups",
    "3 3/4": "three and three quarters",
    "\u00bd \u2154 2\u00bd": "one half two thirds two and a half",
    "24/7, 9/11, 50/50": "twenty four seven, nine eleven, fifty fifty",
    "5-10": "five to ten",
    "5\u201310": "five to ten",
    "1990\u20131995": "nineteen ninety to nineteen ninety five",
    "1990-95": "nineteen ninety to ninety five",
    "1.2.3": "one point two point three",
    "192.168.0.1": "one hundred ninety two dot one hundred sixty eight dot zero dot one",
    "1e5": "one ~e five",
    "3:1": "three one",
    "10-year-old 2nd-floor": "ten year old second floor",
    "10^6 x\u00b2 2+2=4": "ten to the power of six ~x squared two plus two equals four",
    "2 * 3, a < b": "two times three, a is less than ~b",
    "x >= y, x <= y, x == y, x != y": "~x is at least ~y, ~x is at most ~y, ~x equals ~y, ~x does not equal ~y",
    "1 000 000 people, 10 000, 5 100": "one million people, ten thousand, five one hundred",
    "\u00b15 \u2265 3": "plus or minus five is at least three",
}
YEARS = {
    "2024": "twenty twenty four",
    "1905": "nineteen oh five",
    "1900": "nineteen hundred",
    "2000 2005": "two thousand two thousand five",
    "in 1850": "in eighteen fifty",
    "1850 people": "one thousand eight hundred fifty people",
    "May 1066": "May ten sixty six",
    "1990s 1980's": "nineteen nineties nineteen eighties",
    "the 1900s": "the nineteen hundreds",
    "the 90s": "the nineties",
    "'90s.": "nineties",
    "a 30s timeout": "a thirty seconds timeout",
    "mid-1990s pre-2000": "mid nineteen nineties pre two thousand",
}
DATES = {
    "2024-03-03": "March third twenty twenty four",
    "2024-03-03T15:30:00Z": "March third twenty twenty four fifteen thirty",
    "2024-13-03": "two zero two four, one three, zero three",
    "3/4/2024": "March fourth twenty twenty four",
    "25/12/2023": "December twenty fifth twenty twenty three",
    "3/4/24 3/4/99": "March fourth twenty twenty four March fourth nineteen ninety nine",
    "3.4.2024": "April third twenty twenty four",
    "12/31": "December thirty first",
    "March 3rd, 2024": "March third twenty twenty four",
    "March 3, 2024, we": "March third twenty twenty four, we",
    "on March 3": "on March third",
    "March 2024": "March twenty twenty four",
    "May 3-5": "May third to fifth",
    "Jan. 5, 2020": "January fifth twenty twenty",
    "Sept. 11": "September eleventh",
    "3 March 2024": "the third of March twenty twenty four",
    "the 3rd of March 2024": "the third of March twenty twenty four",
    "12 Mar 2021": "the twelfth of March twenty twenty one",
    "Mon. 5 May": "monday the fifth of May",
    "March on. May I march 3 miles": "March on. May I march three miles",
}
TIMES = {
    "3:45 pm": "three forty five ~pm",
    "3:45pm": "three forty five ~pm",
    "3 PM": "three ~Pm",
    "3pm": "three ~pm",
    "at 3 p.m. tomorrow": "at three ~pm tomorrow",
    "at 3 p.m. Then": "at three ~pm. Then",
    "3:00 p.m.": "three ~pm",
    "3:00": "three o'clock",
    "15:00 15:30": "fifteen hundred fifteen thirty",
    "12:05": "twelve oh five",
    "1:02:03": "one oh two oh three",
    "9am-5pm": "nine ~am to five ~pm",
    "3:00-4:30 pm": "three to four thirty pm",
    "12:60 25:00": "twelve sixty twenty five zero zero",
}
QUANTITIES = {
    "$3.50": "three dollars and fifty cents",
    "$1": "one dollar",
    "$1.01": "one dollar and one cent",
    "$0.99": "ninety nine cents",
    "$3 million": "three million dollars",
    "$3": "three dollars",
    "$1.5 billion": "one point five billion dollars",
    "$5k $2.5M $1bn": "five thousand dollars two point five million dollars one billion dollars",
    "$5-10": "five to ten dollars",
    "-$5": "minus five dollars",
    "US$5": "five U S dollars",
    "$20/month": "twenty dollars per month",
    "$1,000,000": "one million dollars",
    "$.50 $": "fifty cents dollars",
    "\u00a33.50 \u00a31.01": "three pounds and fifty pence one pound and one penny",
    "\u20ac1,000 3.50\u20ac": "one thousand euros three euros and fifty cents",
    "\u00a5500": "five hundred yen",
    "5% 5 % 0.5%": "five percent five percent zero point five percent",
    "5-10%": "five to ten percent",
    "5 km 10kg": "five kilometers ten kilograms",
    "1 kg, 1km": "one kilogram, one kilometer",
    "20\u00b0C 10 \u00b0F 90\u00b0": "twenty degrees Celsius ten degrees Fahrenheit ninety degrees",
    "60 mph 100 km/h": "sixty miles per hour one hundred kilometers per hour",
    "5 m\u00b2 5 kg/m\u00b3": "five square meters five kilograms per cubic meter",
    "5 in a row, 5in": "five in a row, five inches",
    "6 ft 12V 60Hz": "six feet twelve volts sixty hertz",
    "2x faster, 3x4": "two times faster, three by four",
    "2 lbs. of flour, 3 lbs. Then": "two pounds of flour, three pounds. Then",
    "1 tsp, 6'2\" tall": "one teaspoon, six foot two tall",
    "50%-60% of $10-$20": "fifty to sixty percent of ten to twenty dollars",
    "1,024 x 768": "one thousand twenty four by seven hundred sixty eight",
    "5 million km": "five million kilometers",
    "5 \u03bcm": "five micrometers",
    "1080p 720p": "ten eighty ~p seven twenty ~p",
}
PHONES = {
    "555-1234": "five five five, one two three four",
    "555-123-4567": "five five five, one two three, four five six seven",
    "(555) 123-4567": "five five five, one two three, four five six seven",
    "+1-555-123-4567": "plus one, five five five, one two three, four five six seven",
    "+44 20 7946 0958": "plus four four, two zero, seven nine four six, zero nine five eight",
    "+4930123456": "plus four nine three zero one two three four five six",
    "123-45-6789": "one two three, four five, six seven eight nine",
}
SHORT = {
    "Dr. Smith": "doctor Smith",
    "Mr. and Mrs. Jones": "mister and missus Jones",
    "Mr.Smith": "mister Smith",
    "St. Louis": "saint Louis",
    "on Main St. in town": "on Main street in town",
    "Main St. He left": "Main street. He left",
    "e.g. this, i.e. that": "for example this, that is that",
    "cats, dogs, etc. and birds": "cats, dogs, et cetera and birds",
    "etc. Then": "et cetera. Then",
    "(etc.)": "et cetera,",
    "No. 5 and no. Yes": "number five and no. Yes",
    "Fig. 3, p. 7": "figure three, page seven",
    "approx. 5": "approximately five",
    "Acme Inc. said": "Acme incorporated said",
    "vs. them": "versus them",
    "J. R. R. Tolkien": "~J ~R ~R Tolkien",
    "So do I. Then": "So do I. Then",
    "The U.S.A. is big": "The ~USA is big",
    "in the U.S. He works": "in the ~US. He works",
    "the U.S. Army": "the ~US Army",
    "U.K.": "~UK",
    "Ph.D. students": "~PHD students",
    "NASA vs FBI": "NASA versus FBI",
    "CDs and U.N.'s": "CDs and UN's",
    "AT&T R&D": "~AT and ~T ~R and ~D",
    "He sat. Then": "He sat. Then",
    "Chapter IV of Henry VIII": "Chapter four of Henry the eighth",
    "WWII": "world war two",
    "World War II, Part I": "World War two, Part I",
    "Louis XIV's court": "Louis the fourteenth's court",
    "Malcolm X, Vitamin C, I": "Malcolm ~X, Vitamin ~C, I",
    "King George V. slept, John V. Smith": "King George the fifth. slept, John ~V Smith",
    "IV": "IV",
}
ADDRESSES = {
    "https://example.com/a-b": "example dot com slash ~a dash ~b",
    "www.a.org": "~www dot ~a dot org",
    "example.co.uk": "example dot ~co dot ~uk",
    "john.doe@mail.com": "john dot ~doe at mail dot com",
    "me_2@x.io.": "me underscore two at ~x dot ~io",
    "main.py README.md": "main dot ~py README dot ~md",
    "@john #topic #5 C# C++": "at john hashtag topic number five ~C sharp ~C plus plus",
    "http://": "http slash slash",
}
MIXED = {
    "B2B 4K MP3 H2O": "~B two ~B four ~K MP three ~H two ~O",
    "COVID-19 A380 iPhone15": "COVID nineteen ~A three eight zero iPhone fifteen",
    "v2.0 v1.2.3": "~v two point zero ~v one point two point three",
    "you & me @ home": "you and me at home",
    "\u03c0 \u03b1-helix \u03a9": "pi alpha helix omega",
    "hi \U0001f600 there\U0001f44d": "hi there",
    "\u65e5\u672c and \u041c\u043e\u0441\u043a\u0432\u0430": "and",
    "yes :) no ;-)": "yes no",
    "bell\x07s nul\x00l": "bells null",
    "a\tb\u00a0c": "a ~b ~c",
}
TABLE = WORDS | NUMBERS | YEARS | DATES | TIMES | QUANTITIES | PHONES | SHORT | ADDRESSES | MIXED


@pytest.mark.parametrize("written", TABLE)
def test_what_is_written_is_said_so(written: str) -> None:
    """Every way of writing in the table is said as the table says."""
    assert aloud(written) == TABLE[written]


@pytest.mark.parametrize(
    "silent", ["", " ", "\n\n", "...", "?!", "- -", "\U0001f600", "\u65e5\u672c", "\x00\x07", '""', "***"]
)
def test_marks_alone_are_silent(silent: str) -> None:
    """Text without anything to say has no words."""
    assert read_aloud(silent) == []


@pytest.mark.parametrize("written", TABLE)
def test_words_name_their_characters(written: str) -> None:
    """Words lie in order on the text, on no blanks, and hold nothing but letters and apostrophes."""
    check_words(written)


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=80)
    | st.text("aAbIVX0159 .,:;'-\u2013$\u20ac%/@#&+=()\u00b0\u00bd\u2474\u2103\u03a2\n", max_size=80)
)
def test_any_text_has_words_that_name_their_characters(written: str) -> None:
    """The same holds for text that nobody would write, and nothing raises."""
    check_words(written)


def check_words(written: str) -> None:
    words = read_aloud(written)
    for word in words:
        assert 0 <= word.start_char < word.end_char <= len(written)
        assert written[word.start_char : word.end_char].strip()
        assert word.text.replace("'", "").isascii()
        assert word.text.replace("'", "").isalpha()
        assert len(word.text) <= LONGEST_WORD
        assert word.pause in (GAP, *PAUSES)
    starts = [(word.start_char, word.end_char) for word in words]
    assert starts == sorted(starts)


def spans(text: str) -> list[tuple[str, str]]:
    return [(word.text, text[word.start_char : word.end_char]) for word in read_aloud(text)]


def test_words_of_one_number_share_its_characters() -> None:
    """A number's words point at the number, a month at itself, money at all that says how much."""
    assert spans('He "paid" $3 million,') == [
        ("He", "He"),
        ("paid", "paid"),
        ("three", "$3 million"),
        ("million", "$3 million"),
        ("dollars", "$3 million"),
    ]
    assert spans("March 3rd, at 5 km") == [
        ("March", "March"),
        ("third", "3rd"),
        ("at", "at"),
        ("five", "5"),
        ("kilometers", "km"),
    ]


def test_parts_of_a_compound_have_their_own_characters() -> None:
    """Hyphens, accents and addresses keep their places."""
    assert spans("caf\u00e9-bar a@b.org") == [
        *(("cafe", "caf\u00e9"), ("bar", "bar"), ("a", "a"), ("at", "@"), ("b", "b"), ("dot", "."), ("org", "org"))
    ]


def test_a_line_break_ends_a_sentence_and_a_wrapped_line_does_not() -> None:
    """A line feed before a small letter is a blank; before anything else, or twice, it is a full stop."""
    assert aloud("one\ntwo\nThree\n\nfour\n- five, \nSix") == "one two. Three. four. five, Six"


def test_nothing_in_one_line_goes_on_in_the_next() -> None:
    """Dates, titles and money end with their line."""
    assert aloud("Mr.\nSmith\n$3\nMillion\nMay\n5") == "mister. Smith. three dollars. Million. May. five"


def test_a_long_run_of_letters_is_cut() -> None:
    """No word is longer than what the network that spells can take."""
    words = read_aloud("a" * 1000)
    assert sum(len(word.text) for word in words) == 1000
    assert max(len(word.text) for word in words) == LONGEST_WORD


def test_digits_without_end_are_said_one_by_one() -> None:
    """A number that nobody can count in is its digits."""
    assert {word.text for word in read_aloud("9" * 300)} == {"nine"}


def test_the_stronger_of_two_pauses_is_the_first_one() -> None:
    """A mark that stands alone after a pause adds nothing."""
    assert aloud("yes, - no") == "yes, no"
    assert read_aloud("yes - no")[0] == SpokenWord("yes", 0, 3, "-")
