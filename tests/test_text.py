"""Aligned tables: one width for each column, numbers to the right."""

from __future__ import annotations

from tinynet import text


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert text.table([("name", "n"), ("a", 1), ("longer", 1000)]).splitlines() == [
        "name       n",
        "a          1",
        "longer  1000"]


def test_the_last_letter_of_align_counts_for_all_columns_that_follow() -> None:
    rows = [("aa", "bb", "cc"), (1, 2, 3)]
    assert text.table(rows, align="r") == "aa  bb  cc\n 1   2   3"
    assert text.table(rows, align="l") == "aa  bb  cc\n1   2   3"
    assert text.table(rows, align="rl") == "aa  bb  cc\n 1  2   3"


def test_rules_are_as_long_as_the_longest_line_and_count_from_both_ends() -> None:
    rows = [("head", "x"), ("a", 1), ("total", 10)]
    assert text.table(rows, rules=(1, -1)).splitlines() == [
        "head    x", "---------", "a       1", "---------", "total  10"]


def test_a_star_stands_behind_its_row_and_moves_no_column() -> None:
    rows = [("epoch", "loss"), (1, 0.5), (2, 0.25)]
    assert text.table(rows, align="r", starred=1).splitlines() == [
        "epoch  loss", "    1   0.5 *", "    2  0.25"]


def test_rows_may_be_shorter_and_no_line_ends_in_blanks() -> None:
    rows = [("k = 1",), ("GD", "3", ""), ("a", "12", "-")]
    found = text.table(rows).splitlines()
    assert found == ["k = 1", "GD      3", "a      12  -"]


def test_a_table_may_be_empty() -> None:
    assert text.table([]) == ""
    assert text.table([("only", "a head")], rules=[]) == "only  a head"
