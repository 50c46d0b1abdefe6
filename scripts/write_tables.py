"""Write the tables of runs (`benchmarks/results/**/NAME.md`) from their CSV files, and into the pages that show them.

A page shows a table between two comments: `<!-- written by ... benchmarks/results/NAME.csv -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path

from xnornet.files import replacing
from xnornet.reproduce.comparisons import comparison
from xnornet.reproduce.report import markdown

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"(<!-- written by `xnornet reproduce [^>]*?(benchmarks/\S+)\.csv -->\n).*?(<!-- end -->)", re.DOTALL
)


def table(of: Path) -> str:
    """The table of `of`.csv: the lines that have rows, and those that the table showed before."""
    with of.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    before = of.with_suffix(".md").read_text() if of.with_suffix(".md").exists() else ""
    compared, labels = comparison(of.name), {row["line"] for row in rows}
    shown = [line.label for line in compared.lines if line.label in labels or f"| {line.label} |" in before]
    return markdown(compared.only(shown), rows)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):

        def block(found: re.Match[str]) -> str:
            text = table(ROOT / found[2])
            with replacing((ROOT / found[2]).with_suffix(".md")) as temporary:
                temporary.write_text(text)
            return f"{found[1]}{text.strip()}\n{found[3]}"

        text = page.read_text()
        if (written := BLOCK.sub(block, text)) != text:
            with replacing(page) as temporary:
                temporary.write_text(written)
            print(f"{page.relative_to(ROOT)} written")


if __name__ == "__main__":
    main()
