#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "cli/recipes.h"
#include "cli/run_curves.h"
#include "tests/cli/started.h"
#include "tests/support.h"

namespace beit {
namespace {

namespace fs = std::filesystem;

std::string start_line(int64_t steps_per_epoch) {
  return R"({"event":"start","step":0,"steps":90,"steps_per_epoch":)" + std::to_string(steps_per_epoch) + "}\n";
}

std::string step_line(int64_t step, double loss) {
  return fmt::format(R"({{"step":{},"epoch":{},"loss":{},"lr":0.001,"images_per_s":800.0}})"
                     "\n",
                     step, (step - 1) / 30 + 1, loss);
}

fs::path put_run(const fs::path& folder, const std::string& log, const std::string& command = "pretrain") {
  fs::create_directories(folder);
  std::ofstream(folder / "config.toml") << "[" << command << "]\nepochs = 3\n";
  std::ofstream(folder / "log.jsonl") << log;
  return folder;
}

RunCurves curves_of(const std::string& log) {
  const TemporaryFolder root;
  return curves_of_run(put_run(root.path, log));
}

std::vector<double> values(const Curve& curve) {
  std::vector<double> values;
  for (const CurvePoint& point : curve.points) values.push_back(point.value);
  return values;
}

std::string error_of(const std::string& csv) {
  try {
    curves_of_csv(csv, "a.csv");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

const std::string kLog = start_line(30) + step_line(1, 3) + step_line(15, 2.5) +
                         R"({"event":"epoch","epoch":1,"step":30,"unused_codes":7,"val_top1":0.5})"
                         "\n" +
                         R"({"event":"checkpoint","step":30,"bytes":1,"pause_s":0.5})"
                         "\n" +
                         step_line(60, 2) +
                         R"({"event":"end","step":60,"state":"stopped"})"
                         "\n";

TEST_CASE("curves: every figure of steps and epochs is one, over steps and epochs") {
  const RunCurves run = curves_of(kLog);
  CHECK(run.command == "pretrain");
  std::vector<std::string> figures;
  for (const Curve& curve : run.curves) figures.push_back(curve.figure);
  CHECK(figures == std::vector<std::string>{"loss", "lr", "images_per_s", "unused_codes", "val_top1"});
  const Curve& loss = run.curves[0];
  CHECK(values(loss) == std::vector<double>{3, 2.5, 2});
  CHECK(loss.points[1].step == 15);
  CHECK(loss.points[1].epoch == 0.5);
  CHECK(run.curves[3].points[0].step == 30);
  CHECK(run.curves[3].points[0].epoch == 1);
}

TEST_CASE("curves: a damaged log tells what it can, and a line that is being written nothing") {
  const RunCurves run = curves_of("\n[]\nno JSON\n{\"step\":2,\"loss\":null,\"lr\":true,\"note\":\"x\"}\n" +
                                  step_line(5, 1.5) + step_line(3, 1) +
                                  R"({"step":-1,"loss":9})"
                                  "\n"
                                  R"({"step":"4","loss":9})"
                                  "\n"
                                  R"({"step":4,"event":5,"loss":9})"
                                  "\n"
                                  R"({"step":6,"loss":1e999})"
                                  "\n" +
                                  step_line(5, 0.5) + std::string(100000, '[') + "\n" + R"({"step":7,"loss":0.1})");
  REQUIRE(run.curves.size() == 3);
  CHECK(values(run.curves[0]) == std::vector<double>{1, 0.5});  // in the order of steps; of two lines the later one
  CHECK(run.curves[0].points[0].epoch == 1);                    // as the line says: steps of an epoch are not known
  CHECK(curves_of("").curves.empty());
  std::string many;
  for (int i = 0; i < 300; ++i) many += "{\"step\":1,\"figure" + std::to_string(i) + "\":1}\n";
  CHECK_THROWS_WITH_AS(curves_of(many), doctest::Contains("expected at most 256 figures"), Error);
  CHECK_THROWS_WITH_AS(curves_of_run("/none"), doctest::Contains("/none: expected a run folder"), Error);
}

TEST_CASE("curves: CSV gives back what was written") {
  RunCurves run = curves_of(kLog);
  run.run = "a \"b\",\r\nc";
  run.curves[0].points[0].value = 1.0 / 3;
  run.curves[0].points[1].value = -1e-300;
  const auto back = curves_of_csv(to_csv({run}), "a.csv");
  REQUIRE(back.size() == 1);
  CHECK(back[0].run == run.run);
  CHECK(back[0].command == "pretrain");
  REQUIRE(back[0].curves.size() == run.curves.size());
  for (size_t i = 0; i < run.curves.size(); ++i) {
    CHECK(back[0].curves[i].figure == run.curves[i].figure);
    CHECK(values(back[0].curves[i]) == values(run.curves[i]));
    CHECK(back[0].curves[i].points.back().step == run.curves[i].points.back().step);
    CHECK(back[0].curves[i].points.back().epoch == run.curves[i].points.back().epoch);
  }
  CHECK(to_csv({}) == "run,command,figure,step,epoch,value\r\n");
}

TEST_CASE("curves: CSV of other programs needs figure, step and value alone, in any order") {
  const auto runs = curves_of_csv("\xef\xbb\xbfvalue,\"figure\",step\n\n0.5,loss,10\r\n0.25,\"lo\"\"ss\",20", "a.csv");
  REQUIRE(runs.size() == 1);
  CHECK(runs[0].run == "a.csv");
  CHECK(runs[0].command.empty());
  REQUIRE(runs[0].curves.size() == 2);
  CHECK(runs[0].curves[1].figure == "lo\"ss");
  CHECK(runs[0].curves[1].points[0].step == 20);
  CHECK(curves_of_csv("run,figure,step,value\na,l,1,2\nb,l,1,3\n", "a.csv").size() == 2);
}

TEST_CASE("curves: damaged CSV is refused with the line") {
  const std::string head = "run,figure,step,epoch,value\n";
  CHECK(error_of("").starts_with("a.csv: expected a head with figure, step and value, got none with 'figure'"));
  CHECK(error_of("figure,step\nloss,1\n").find("got none with 'value'") != std::string::npos);
  CHECK(error_of(head + "a,loss,1,1\n") == "a.csv:2: expected 5 fields, got 4");
  CHECK(error_of(head + "a,loss,1,1,2,\n") == "a.csv:2: expected 5 fields, got 6");
  CHECK(error_of(head + "\n\"a\nb\",loss,1,1,2\na,loss,1.5,1,2") ==
        "a.csv:5: expected a whole number as step, got '1.5'");
  CHECK(error_of(head + "a,loss,-1,1,2").find("expected a whole number as step, got '-1'") != std::string::npos);
  CHECK(error_of(head + "a,loss,1,1,nan") == "a.csv:2: expected a finite number as value, got 'nan'");
  CHECK(error_of(head + "a,loss,1,1,1e999") == "a.csv:2: expected a finite number as value, got '1e999'");
  CHECK(error_of(head + "a,loss,1,1,") == "a.csv:2: expected a finite number as value, got ''");
  CHECK(error_of(head + "a,loss,1,x,1") == "a.csv:2: expected a number as epoch, got 'x'");
  CHECK(error_of(head + "\"a,loss,1,1,1\n") == "a.csv:2: expected a text that ends with \", got the file's end");
  std::string many = head;
  for (int i = 0; i < 300; ++i) many += "run" + std::to_string(i) + ",loss,1,1,1\n";
  CHECK(error_of(many).find("expected at most 256 runs and figures") != std::string::npos);
}

TEST_CASE("curves: long ones are thinned evenly, with both ends") {
  Curve curve{.figure = "loss", .points = {}};
  for (int64_t step = 0; step <= 1000; ++step) curve.points.push_back({.step = step});
  thin(curve, 5000);
  CHECK(curve.points.size() == 1001);
  thin(curve, 5);
  std::vector<int64_t> steps;
  for (const CurvePoint& point : curve.points) steps.push_back(point.step);
  CHECK(steps == std::vector<int64_t>{0, 250, 500, 750, 1000});
}

TEST_CASE("curves: runs, folders of runs and CSV files become one picture and one table") {
  const TemporaryFolder root;
  const std::string picture = root.path / "a.svg", table = root.path / "a.csv", again = root.path / "b.csv";
  const std::string first = put_run(root.path / "runs/first", kLog), second = put_run(root.path / "runs/second", kLog);
  put_run(root.path / "runs/tokenizer", kLog, "vqkd");
  const auto ended = start({"curves", (root.path / "runs").string() + "/", first, "--output", picture, "--csv", table});
  CAPTURE(ended.err);
  REQUIRE(ended.code == 0);
  CHECK(ended.out == fmt::format("{}, {}: 12 curves of 3 runs\n", picture, table));
  const std::string text = text_of(picture);
  CHECK(text.find(">pretrain: loss</text>") != std::string::npos);
  CHECK(text.find(">vqkd: val_top1</text>") != std::string::npos);
  CHECK(text.find("images_per_s") == std::string::npos);  // of the machine, unless asked for
  CHECK(text.find(second + "</text>") != std::string::npos);

  REQUIRE(start({"curves", table, "--csv", again}).code == 0);
  CHECK(text_of(again) == text_of(table));
  const auto speed = start({"curves", first, "--figure", "images_per_s", "--csv", again, "--points", "2"});
  REQUIRE(speed.code == 0);
  const auto runs = curves_of_csv_file(again);
  REQUIRE(runs.size() == 1);
  REQUIRE(runs[0].curves.size() == 1);
  CHECK(runs[0].curves[0].points.size() == 2);
}

TEST_CASE("curves: the expected ones are those of the same command") {
  const TemporaryFolder root;
  const std::string picture = root.path / "a.svg", table = root.path / "a.csv";
  const std::string run = put_run(root.path / "run", kLog), other = put_run(root.path / "other", kLog, "vqkd");
  REQUIRE(start({"curves", run, other, "--csv", table}).code == 0);
  REQUIRE(start({"curves", run, "--figure", "loss", "--output", picture, "--expected", table}).code == 0);
  const std::string text = text_of(picture);
  size_t lines = 0;
  for (size_t at = text.find("<polyline"); at != std::string::npos; at = text.find("<polyline", at + 1)) ++lines;
  CHECK(lines == 2);
  CHECK(text.find(">expected</text>") != std::string::npos);

  REQUIRE(start({"curves", other, "--csv", table}).code == 0);
  const auto without = start({"curves", run, "--output", picture, "--expected", table});
  CHECK(without.code == 0);
  CHECK(without.err.find("shown without, it has no figure of these runs' commands") != std::string::npos);
  for (const ShippedFile& file : shipped_curves()) {
    CAPTURE(file.name);
    CHECK(find_shipped(shipped_recipes(), file.name) != nullptr);
    CHECK(!curves_of_csv(file.text, file.name).empty());
  }
}

TEST_CASE("curves: mistakes are one line") {
  const TemporaryFolder root;
  const std::string run = put_run(root.path / "run", kLog), picture = root.path / "a.svg";
  const auto refused = [](std::vector<std::string> words, const std::string& message) {
    words.insert(words.begin(), "curves");
    const auto ended = start(words);
    CAPTURE(ended.err);
    CHECK(failed_with_one_line(ended));
    CHECK(ended.err.find(message) != std::string::npos);
  };
  refused({}, "say `beit curves RUN --output FILE.svg`");
  refused({run}, "set --output or --csv");
  refused({"/none", "--output", picture}, "/none: expected a run folder or a CSV file");
  refused({root.path / "run/config.toml", "--output", picture}, "config.toml: expected a head with figure");
  refused({run, "--output", "/none/a.svg"}, "/none/a.svg");
  refused({run, "--output", picture, "--figure", "los"}, "got 'los'; the nearest is 'loss'");
  refused({run, "--output", picture, "--log-scale", "lrr"}, "got 'lrr'; the nearest is 'lr'");
  refused({run, "--output", picture, "--expected", "none"}, "--expected: expected a CSV file");
  refused({run, "--csv", root.path / "a.csv", "--expected", "none"}, "expected --output with --expected");
  refused({run, "--output", picture, "--points", "1"}, "--points");
  fs::create_directories(root.path / "empty");
  refused({root.path / "empty", "--output", picture}, "expected a run folder, or one with runs in or below it");
  CHECK(!fs::exists(picture));
  put_run(root.path / "new", start_line(30));
  const auto nothing = start({"curves", root.path / "new", "--output", picture});
  CHECK(nothing.code == 1);
  CHECK(nothing.err.find("its log has no figures yet") != std::string::npos);
}

}  // namespace
}  // namespace beit
