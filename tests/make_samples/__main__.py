"""The command ``python -m tests.make_samples [FOLDER]``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from tests.make_samples.form import visitor_form
from tests.make_samples.guide import archive_guide
from tests.make_samples.letters import east_asian_letters, many_alphabets, right_to_left_letters
from tests.make_samples.logbook import night_log
from tests.make_samples.pages import lecture_slides, one_line, rotated_pages, scrapbook
from tests.make_samples.paper import two_column_paper
from tests.make_samples.pictures import harbour_map, photographic_plates, saturn_drawing, star_chart
from tests.make_samples.report import annual_report
from tests.make_samples.tables import invoice, plate_catalogue, weather_register

SAMPLES: dict[str, Callable[[Path], None]] = {
    "annual-report-1931.pdf": annual_report,
    "archive-guide.pdf": archive_guide,
    "harbour-map.pdf": harbour_map,
    "invoice.pdf": invoice,
    "lecture-slides.pdf": lecture_slides,
    "letters-alphabets.pdf": many_alphabets,
    "letters-east-asia.pdf": east_asian_letters,
    "letters-right-to-left.pdf": right_to_left_letters,
    "new-star-paper.pdf": two_column_paper,
    "night-log-1928.pdf": night_log,
    "photographic-plates.pdf": photographic_plates,
    "plate-catalogue.pdf": plate_catalogue,
    "saturn-drawing.pdf": saturn_drawing,
    "scrapbook.pdf": scrapbook,
    "star-chart.pdf": star_chart,
    "telegram.pdf": one_line,
    "turned-pages.pdf": rotated_pages,
    "visitor-form.pdf": visitor_form,
    "weather-register.pdf": weather_register,
}


def main() -> None:
    """Write every sample."""
    parser = argparse.ArgumentParser(prog="python -m tests.make_samples", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docnats/samples"))
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in SAMPLES.items():
        write(folder / name)
        print(f"{(folder / name).stat().st_size:>9,}  {name}")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
