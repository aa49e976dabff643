#!/usr/bin/env python3
"""demo/table.py on made-up runs."""
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import unittest

TABLE = pathlib.Path(__file__).parents[2] / "demo/table.py"


class TableTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def probe(self, name, linear, knn, spread=None, seeds=1):
        (self.root / name).mkdir(parents=True, exist_ok=True)
        result = {"linear_top1": linear, "linear_top1_spread": spread, "knn_top1": knn, "knn_top1_spread": spread,
                  "seeds": seeds}
        (self.root / name / "probe.json").write_text(json.dumps(result))

    def trained(self, name, usage, perplexity, accuracy, linear, knn, **more):
        self.probe(name, linear, knn, **more)
        epochs = {"tokenizer": {"val_usage_percent": usage, "val_perplexity": perplexity},
                  "pretrain": {"val_masked_accuracy": accuracy}}
        for run, figures in epochs.items():
            lines = [{"event": "epoch", "epoch": 0, **dict.fromkeys(figures, -1)}, {"event": "step", "loss": 1.0},
                     {"event": "epoch", "epoch": 1, **figures}, {"event": "epoch", "epoch": 2, "usage_percent": 3}]
            (self.root / name / run).mkdir()
            (self.root / name / run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def table(self, *targets):
        words = [f"{target}={self.root / name}" for target, name in targets]
        return subprocess.run([sys.executable, TABLE, self.root / "table.json", *words], capture_output=True, text=True,
                              check=False)

    def rows(self):
        return {row["target"]: row for row in json.loads((self.root / "table.json").read_text())}

    def test_a_single_folder_has_the_probes_spread_and_the_newest_figures(self):
        self.trained("demo", 90.0, 300.5, 0.125, 50.0, 40.0, spread=0.5, seeds=3)
        self.assertEqual(self.table(("semantic", "demo")).returncode, 0)
        self.assertEqual(self.rows(), {"semantic": {
            "target": "semantic", "seeds": 3, "usage_percent": 90.0, "usage_percent_spread": None, "perplexity": 300.5,
            "perplexity_spread": None, "masked_accuracy": 12.5, "masked_accuracy_spread": None, "linear_top1": 50.0,
            "linear_top1_spread": 0.5, "knn_top1": 40.0, "knn_top1_spread": 0.5}})

    def test_several_folders_are_averaged_and_what_does_not_apply_is_null(self):
        self.trained("hog/0", 80.0, 200.0, 0.10, 45.0, 35.0)
        self.trained("hog/1", 90.0, 210.0, 0.30, 47.0, 36.0)
        self.probe("random", 30.0, 25.0, spread=0.2, seeds=3)
        ended = self.table(("hog", "hog/0"), ("random", "random"), ("hog", "hog/1"))
        self.assertEqual(ended.returncode, 0)
        rows = self.rows()
        self.assertEqual(list(rows), ["random", "hog"])
        self.assertEqual(rows["hog"]["seeds"], 2)
        self.assertEqual(rows["hog"]["linear_top1"], 46.0)
        self.assertAlmostEqual(rows["hog"]["masked_accuracy"], 20.0)
        self.assertAlmostEqual(rows["hog"]["usage_percent_spread"], statistics.stdev([80, 90]))
        self.assertIsNone(rows["random"]["usage_percent"])
        self.assertIsNone(rows["random"]["masked_accuracy_spread"])
        self.assertEqual(rows["random"]["knn_top1_spread"], 0.2)

        lines = ended.stdout.splitlines()
        self.assertEqual(len({len(line) for line in lines}), 1)
        self.assertEqual(lines[1].split(), ["random", "3", "-", "-", "-", "30.0", "+-", "0.2", "25.0", "+-", "0.2"])
        self.assertIn("46.0 +- 1.4", lines[2])

    def test_missing_and_unfinished_runs_and_unknown_targets_are_errors_and_write_nothing(self):
        self.probe("pixels", 30.0, 25.0)
        for targets, message in (((("pixels", "pixels"),), "log.jsonl"), ((("random", "none"),), "probe.json"),
                                 ((("clip", "pixels"),), "expected TARGET=FOLDER")):
            ended = self.table(*targets)
            self.assertEqual(ended.returncode, 1)
            self.assertTrue(ended.stderr.startswith("table: error: "), ended.stderr)
            self.assertIn(message, ended.stderr)
        (self.root / "pixels/tokenizer").mkdir()
        (self.root / "pixels/tokenizer/log.jsonl").write_text('{"event": "epoch", "epoch": 1}\n')
        self.assertIn("let the run finish", self.table(("pixels", "pixels")).stderr)
        self.assertFalse((self.root / "table.json").exists())


if __name__ == "__main__":
    unittest.main()
