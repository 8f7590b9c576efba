"""Writes the PDFs that come with docnats: ``python -m tests.make_samples``.

The papers of a fictional observatory, each of a different kind, so that the demo, the
notebooks and the tests meet what real archives hold. All texts and drawings are the
project's own; the fonts that are embedded (DejaVu, Droid Sans Fallback) have free licences.

The files are committed: run this only to change them. It needs the extra ``dev`` and, on
Debian, ``apt install fonts-dejavu-core fonts-droid-fallback``; the same versions of the
libraries give the same bytes.
"""
