"""Grades the lessons: says which number is wrong, and a hint.

    python examples/lessons/grade.py 07             one lesson
    python examples/lessons/grade.py                how far you are
    python examples/lessons/grade.py --solutions    that all of them can be solved
    python examples/lessons/grade.py 07 --notebook  the lesson as a file for Jupyter
"""

from __future__ import annotations

import _thread
import argparse
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cells
import grading

PATIENCE = 60.0  # seconds


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lesson", nargs="?",
                        help="its number, or the path of a script or notebook")
    parser.add_argument("--solutions", action="store_true",
                        help="grade the solutions in place of what you wrote")
    parser.add_argument("--notebook", action="store_true",
                        help="write the lesson as a notebook beside it, for Jupyter")
    given = parser.parse_args(argv)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job
        signal.signal(signal.SIGINT, signal.default_int_handler)  # else no loop is ended
    if given.notebook and given.lesson is None:
        parser.error("--notebook is of one lesson: give its number")
    if given.lesson is None:
        return every_lesson(given.solutions)
    path = find(given.lesson)
    if path is None:
        parser.error(f"there is no lesson {given.lesson}: choose 01 to {max(grading.lessons())}")
    if given.notebook:
        return as_notebook(path)
    return one_lesson(path, given.solutions)


def find(lesson: str) -> Path | None:
    """The file of a number such as 7 or 07; a path is taken, if its name begins with a number."""
    if Path(lesson).suffix in (".py", ".ipynb"):
        path = Path(lesson)
        return path if path.exists() and path.name[:2] in grading.lessons() else None
    return grading.lessons().get(lesson.zfill(2))


def report_on(path: Path, solutions: bool) -> grading.Report:
    """The report, also on a lesson that never ends: it is interrupted, as by ctrl-C."""
    lesson = grading.lessons()[path.name[:2]]  # `path` may be a copy elsewhere
    text = grading.read(path)
    if solutions:
        text = grading.solved(text, grading.solution_of(lesson))
    late = threading.Event()

    def interrupt() -> None:
        late.set()
        _thread.interrupt_main()

    watch = threading.Timer(PATIENCE, interrupt)
    watch.daemon = True
    try:
        watch.start()
        return grading.grade(lesson, text)
    except KeyboardInterrupt as stop:
        if not late.is_set():
            raise
        return grading.endless(stop, lesson.name, PATIENCE)
    finally:
        watch.cancel()


def one_lesson(path: Path, solutions: bool = False) -> int:
    report = report_on(path, solutions)
    if report.passed:
        print(f"{path.stem}: all {report.total} checks are right")
        if path.suffix == ".py" and not solutions:
            print(f"its picture: python {relative(path)}")
        return 0
    print(f"{path.stem}: {report.message}")
    if report.hint:
        print(f"  hint: {report.hint}")
    print(f"  {report.right} of {report.total} checks are right so far")
    if path.suffix == ".ipynb":
        print("  (lines are counted over all code cells)")
    return 1


def as_notebook(path: Path) -> int:
    """Write the lesson beside it, if there is no notebook of it yet."""
    target = path.with_suffix(".ipynb")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(cells.notebook(grading.read(path)))
    except FileExistsError:
        print(f"{relative(target)} exists: your answers may be in it, so it stays as it is")
        return 1
    print(f"{relative(target)} is written; it is graded by its path:")
    print(f"python {relative(Path(__file__))} {relative(target)}")
    return 0


def every_lesson(solutions: bool = False) -> int:
    """A line for each lesson; 0 if all are solved."""
    following = None
    done = 0
    for number, path in grading.lessons().items():
        report = report_on(path, solutions)
        done += report.passed
        said = "done" if report.passed else f"{report.right}/{report.total}  {report.message}"
        print(f"{path.stem:32} {said.splitlines()[0][:90]}", flush=True)
        if not report.passed and following is None:
            following = number
    total = len(grading.lessons())
    print(f"{done} of {total} lessons are done")
    if following is not None:
        print(f"next: python {relative(grading.lessons()[following])} is the text, "
              f"python {relative(Path(__file__))} {following} grades it")
    return 0 if done == total else 1


def relative(path: Path) -> str:
    """The path as one would type it here."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)


if __name__ == "__main__":
    sys.exit(main())
