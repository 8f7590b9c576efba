"""A processor for docnats that counts the words of documents."""

from docnats.processors import PdfOptions, Processor


class Options(PdfOptions):
    """Options of the processor ``wordcount``.

    Parameters
    ----------
    ignore_case : bool
        Count "The" and "the" as one word.
    top : int
        Words to keep, the most frequent ones.
    """

    ignore_case: bool = True
    top: int = 100


PROCESSOR = Processor(
    name="wordcount",
    package="docnats-wordcount",
    reader="docnats_wordcount.counting:open_reader",
    options=Options,
    whole=True,  # the counts are of the whole document, so it comes in one piece
    parts=("word_counts.json",),
)
