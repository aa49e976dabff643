#!/usr/bin/env python3
"""bench/compare.py and bench/growth.py with programs that print made-up figures."""
import contextlib
import io
import json
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))
import compare  # noqa: E402
import growth  # noqa: E402

# Seconds and memory by case; the compiled forms fail in one case, and each is slower than the one before in others.
PROGRAM = """#!{python}
import json, sys
assert sys.argv[1] == "bench", sys.argv
words = dict(zip(sys.argv[3::2], sys.argv[4::2]))
if sys.argv[2] == "vqkd": sys.exit("beit: error: out of memory")
print(json.dumps({{"median_s": 0.5, "peak_mib": 10 * int(words["--batch"]), "start_mib": 100}}))
"""
ORACLE = """
import json, sys
words = sys.argv[1:]
case = words[words.index("--case") + 1]
if case == "small" and "--compile" in words: sys.exit("no compiler")
seconds = 0.4 if case.startswith("floor") else 1.0
if "sdpa" in words: seconds *= 0.8
if "--compile" in words: seconds *= 0.75
if case == "classify": assert "--drop-path" in words
print(json.dumps({"median_s": seconds, "peak_mib": 400}))
"""


class Arithmetic(unittest.TestCase):
    def test_a_ratio_is_the_median_of_the_pairs_own(self):
        one = compare.entry("mim", "plain", [1.0, 2.0, 4.0], [1.5, 2.0, 8.0], 1.2, 1.6)
        self.assertEqual((one["ratio"], one["least"], one["most"], one["pairs"]), (1.5, 1.0, 2.0, 3))
        self.assertEqual((one["ours_s"], one["theirs_s"]), (2.0, 2.0))
        self.assertEqual(compare.verdict(one), "bar met, goal MISSED")
        self.assertEqual(compare.verdict(compare.entry("x", "plain", [1], [1])), "")
        with self.assertRaises(ValueError):
            compare.entry("mim", "plain", [1.0], [1.0, 2.0])

    def test_entries_of_other_cases_stay_if_they_are_of_this_machine(self):
        old = [{"case": case, "against": "plain", "machine": machine, "ratio": 0}
               for case, machine in (("accuracy", "this"), ("mim", "this"), ("small", "that"), ("vqkd", "that"))]
        new = [{"case": case, "against": "plain", "ratio": 1} for case in ("mim", "vqkd", "tokenize")]
        found = compare.merged(old, new, "this")
        self.assertEqual([(one["case"], one["ratio"]) for one in found],
                         [("accuracy", 0), ("mim", 1), ("vqkd", 1), ("tokenize", 1)])
        self.assertEqual({one["machine"] for one in found}, {"this"})

    def test_sides_take_turns_in_both_orders(self):
        order = []
        sides = {name: lambda name=name: order.append(name) or len(order) for name in "abc"}
        self.assertEqual(compare.in_turn(sides, 2), {"a": [1, 6], "b": [2, 5], "c": [3, 4]})
        self.assertEqual("".join(order), "abccba")

    def test_codes_are_the_lines_of_numbers(self):
        self.assertEqual(compare.codes_in("/a/1.jpg\n   5  17\n 300 2\n\n3 images\n"), [5, 17, 300, 2])

    def test_the_picture_of_growth_names_each_panels_axis(self):
        svg = "<d>mim by tokens over step: x</d><t>step</t><d>q by codes over step: x</d><t>step</t>"
        self.assertEqual(growth.labelled(svg, ["tokens", "codes"]),
                         "<d>mim by tokens: x</d><t>tokens</t><d>q by codes: x</d><t>codes</t>")
        with self.assertRaises(compare.Failure):
            growth.labelled(svg, ["tokens"])
        self.assertEqual([growth.thread_counts(cores) for cores in (1, 2, 6)], [[1], [1, 2], [1, 2, 4, 6]])


class Compare(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "bench.py").write_text(ORACLE)
        self.program = self.root / "beit"
        self.program.write_text(PROGRAM.format(python=sys.executable))
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)

    def compare(self, *words):
        return subprocess.run([sys.executable, BENCH / "compare.py", "--pairs", "3", "--program", self.program,
                               "--python", sys.executable, "--oracle", self.root, "--results", self.root / "r.json",
                               *words], capture_output=True, text=True, check=False)

    def results(self):
        return {(one["case"], one["against"]): one for one in json.loads((self.root / "r.json").read_text())}

    def test_each_case_meets_plain_the_best_form_and_the_floor(self):
        ended = self.compare("mim", "small", "classify")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        found = self.results()
        self.assertEqual(len(found), 7)
        self.assertAlmostEqual(found["mim", "plain"]["ratio"], 2.0)
        self.assertAlmostEqual(found["mim", "best"]["ratio"], 1.2)
        self.assertEqual(found["mim", "best"]["form"], "sdpa, compiled")
        self.assertAlmostEqual(found["mim", "floor"]["ratio"], 0.8)
        self.assertEqual(found["mim", "floor"]["pairs"], 3)
        self.assertEqual(found["small", "best"]["form"], "sdpa")  # the compiled forms do not run
        self.assertIn("no compiler", ended.stderr)
        self.assertIn("goal MISSED", ended.stdout)  # of the floor: a missed bar is no failure

    def test_memory_is_that_of_the_worst_case_and_failures_leave_the_rest_alone(self):
        ended = self.compare("vqkd", "mim")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("out of memory", ended.stderr)
        self.assertIn("no figures of vqkd", ended.stderr)
        self.assertEqual({case for case, _ in self.results()}, {"mim"})
        machine = compare.Machine(compare.parse(["--oracle", str(self.root), "--python", sys.executable, "--program",
                                                 str(self.program)]))
        self.enterContext(contextlib.redirect_stdout(io.StringIO()))
        with self.assertRaises(compare.Failure):
            compare.memory(machine)
        machine.ours = lambda timed, **_: {"peak_mib": {"mim": 100, "vqkd": 500, "classify": 200}[timed.case]}
        self.assertEqual([(one["worst"], one["against"], one["ratio"]) for one in compare.memory(machine)],
                         [("vqkd", "plain", 0.8), ("vqkd", "best", 0.8)])

    def test_mistakes_are_one_line(self):
        for words, message in ((["none"], "expected cases among"), (["mim", "--pairs", "0"], "at least one pair"),
                               (["mim", "--program", "/none"], "`make build` makes it"),
                               (["mim", "--oracle", "/none"], "--oracle")):
            ended = self.compare(*words)
            self.assertEqual(ended.returncode, 1)
            self.assertEqual(ended.stderr.count("\n"), 1)
            self.assertIn(message, ended.stderr)


if __name__ == "__main__":
    unittest.main()
