"""Puts the sections that the measuring programs wrote into one page.

    python bench/assemble.py bench        # bench/results/*.md -> bench/RESULTS.md
"""
import pathlib
import sys

ORDER = ["plans", "shapes", "accuracy", "unbalanced", "single_cell", "dynamics", "ablations", "palettes", "pictures", "picture_tasks",
         "speed", "picture_speed", "convolution_speed", "latency", "scaling", "memory", "step_profile"]
HEAD = """# Results

Written by `make bench`, one section a program; each says when, where and with which versions it was measured. What the measures
are, and what was tried, is in [README.md](README.md).
"""


def main():
    folder = pathlib.Path(sys.argv[1])
    sections = [path.read_text().strip() for path in (folder / "results" / f"{name}.md" for name in ORDER) if path.exists()]
    if not sections:
        raise SystemExit(f"no sections in {folder / 'results'}")
    unfinished = folder / "RESULTS.md.tmp"
    unfinished.write_text("\n\n".join([HEAD.strip(), *sections]) + "\n")
    unfinished.replace(folder / "RESULTS.md")


if __name__ == "__main__":
    main()
