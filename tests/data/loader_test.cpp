#include "data/loader.h"

#include <doctest/doctest.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include "data/augment.h"
#include "data/views.h"
#include "tests/data/samples.h"
#include "tests/support.h"

using namespace beit;

namespace {

// Pictures in three classes, of which some are damaged.
class Pictures {
 public:
  explicit Pictures(const std::set<int64_t>& damaged = {}, int64_t count = 23) {
    for (int64_t i = 0; i < count; ++i) {
      auto bytes = encode_png(picture(6, 6, static_cast<uint64_t>(i)));
      if (damaged.contains(i)) bytes.resize(bytes.size() / 2);
      write_bytes(folder_.path / fmt::format("{}/{:02}.png", i % 3, i), bytes);
    }
  }

  const std::filesystem::path& path() const { return folder_.path; }
  Dataset open() const { return Dataset::open(std::vector{path()}); }

 private:
  TemporaryFolder folder_;
};

// The image with noise of (epoch, stream), and its first row.
Views noisy(EncodedImage& image, const SampleRequest& sample) {
  Random random(9, sample.epoch, static_cast<uint64_t>(sample.stream), Purpose::kAugment);
  auto image_CHW = to_float(image.decode()) + static_cast<float>(random.uniform());
  return {image_CHW, image_CHW.select(1, 0).contiguous()};
}

std::vector<Batch> rest_of_epoch(Loader& loader) {
  std::vector<Batch> batches;
  while (auto batch = loader.next()) batches.push_back(std::move(*batch));
  return batches;
}

std::vector<Batch> epoch_of(Loader& loader, int64_t epoch, int64_t first_batch = 0) {
  loader.start(epoch, first_batch);
  return rest_of_epoch(loader);
}

bool same(const Batch& a, const Batch& b) {
  return torch::equal(a.indices_B, b.indices_B) && torch::equal(a.labels_B, b.labels_B) &&
         std::equal(a.views.begin(), a.views.end(), b.views.begin(), b.views.end(), torch::equal);
}

bool same(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Batch& x, const Batch& y) { return same(x, y); });
}

std::vector<int64_t> all_indices(const std::vector<Batch>& batches) {
  std::vector<int64_t> indices;
  for (const auto& batch : batches) {
    for (int64_t i = 0; i < batch.indices_B.size(0); ++i) indices.push_back(batch.indices_B[i].item<int64_t>());
  }
  return indices;
}

}  // namespace

TEST_CASE("loader: the number of workers and of queued batches changes nothing") {
  const Pictures pictures({4, 11});
  const auto dataset = pictures.open();
  std::vector<std::vector<Batch>> epochs;
  for (const auto& [workers, queued] : {std::pair<int64_t, int64_t>{1, 4}, {2, 1}, {7, 2}, {7, 100}}) {
    Loader loader(
        dataset, noisy,
        {.batch_size = 5, .workers = workers, .drop_last = false, .max_damaged = 1, .queued_batches = queued});
    epochs.push_back(epoch_of(loader, 3));
    CHECK(loader.damaged() == 2);
  }
  REQUIRE(epochs[0].size() == 5);
  CHECK(epochs[0][0].views[0].sizes() == torch::IntArrayRef({5, 3, 6, 6}));
  CHECK(epochs[0][0].views[1].sizes() == torch::IntArrayRef({5, 3, 6}));
  CHECK(epochs[0][4].indices_B.sizes() == torch::IntArrayRef({3}));
  Loader pinned(dataset, noisy, {.batch_size = 5, .drop_last = false, .max_damaged = 1, .pin_memory = true});
  epochs.push_back(epoch_of(pinned, 3));
  CHECK(epochs.back()[0].views[0].is_pinned() == torch::cuda::is_available());
  for (const auto& epoch : epochs) CHECK(same(epoch, epochs[0]));
}

TEST_CASE("loader: a start at batch k equals running through, also out of the middle of another epoch") {
  const Pictures pictures;
  const auto dataset = pictures.open();
  Loader loader(dataset, noisy, {.batch_size = 4, .workers = 3});
  REQUIRE(loader.batches() == 5);
  const auto whole = epoch_of(loader, 1);
  for (int64_t k = 0; k <= 5; ++k) {
    loader.start(2);
    loader.next();
    CHECK(same(epoch_of(loader, 1, k), {whole.begin() + k, whole.end()}));
  }
  CHECK(!loader.next());
  CHECK_THROWS_AS(loader.start(0, 6), Error);
}

TEST_CASE("loader: each image comes once, in an order of its epoch or the dataset's") {
  const Pictures pictures;
  const auto dataset = pictures.open();
  Loader shuffled(dataset, noisy, {.batch_size = 5, .drop_last = false});
  auto first = all_indices(epoch_of(shuffled, 0)), second = all_indices(epoch_of(shuffled, 1));
  CHECK(first != second);
  std::vector<int64_t> expected(23);
  std::iota(expected.begin(), expected.end(), int64_t{0});
  std::sort(first.begin(), first.end());
  CHECK(first == expected);
  Loader sorted(dataset, noisy, {.batch_size = 5, .order = {.shuffle = Shuffle::kNone}, .drop_last = false});
  const auto batches = epoch_of(sorted, 0);
  CHECK(all_indices(batches) == expected);
  for (const auto& batch : batches) {
    for (int64_t i = 0; i < batch.indices_B.size(0); ++i) {
      CHECK(batch.labels_B[i].item<int64_t>() == dataset.label(batch.indices_B[i].item<int64_t>()));
    }
  }
}

TEST_CASE("loader: a damaged image is replaced by another, the same each time") {
  const Pictures pictures({0, 1, 2, 7, 22});
  const auto dataset = pictures.open();
  std::set<int64_t> damaged;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    if (!error_of([&] { decode_image(dataset.read(i), ""); }).empty()) damaged.insert(i);
  }
  REQUIRE(damaged.size() == 5);
  Loader loader(dataset, noisy, {.batch_size = 23, .order = {.shuffle = Shuffle::kNone}, .max_damaged = 0.25});
  const auto once = epoch_of(loader, 0), again = epoch_of(loader, 0);
  CHECK(same(once, again));
  CHECK(loader.damaged() == 5);
  const auto indices = all_indices(once);
  for (int64_t i = 0; i < 23; ++i) {
    const int64_t taken = indices[static_cast<size_t>(i)];
    CHECK(!damaged.contains(taken));
    CHECK((taken == i || damaged.contains(i)));
    CHECK(once[0].labels_B[i].item<int64_t>() == dataset.label(taken));
  }
}

TEST_CASE("loader: damaged images are left out or an Error where that is wished") {
  const Pictures pictures({0, 3, 6, 9});  // the first four of class 0
  const auto dataset = pictures.open();
  Loader skipping(
      dataset, noisy,
      {.batch_size = 2, .order = {.shuffle = Shuffle::kNone}, .drop_last = false, .on_damage = OnDamage::kSkip});
  const auto batches = epoch_of(skipping, 0);
  const auto indices = all_indices(batches);
  CHECK(indices.size() == 19);
  CHECK(indices.front() == 4);
  CHECK(batches.size() == 10);
  CHECK(skipping.damaged() == 4);
  Loader failing(dataset, noisy, {.batch_size = 2, .order = {.shuffle = Shuffle::kNone}, .on_damage = OnDamage::kFail});
  failing.start(0);
  CHECK(contains(error_of([&] { failing.next(); }), "0/00.png: expected a whole PNG image"));
}

TEST_CASE("loader: where every image is damaged, that is an Error") {
  std::set<int64_t> all;
  for (int64_t i = 0; i < 23; ++i) all.insert(i);
  const Pictures pictures(all);
  const auto dataset = pictures.open();
  Loader loader(dataset, noisy, {.batch_size = 4});
  loader.start(0);
  CHECK(contains(error_of([&] { loader.next(); }), "got 23 damaged ones in a row"));
}

TEST_CASE("loader: an image that the transform refuses is damaged too") {
  const Pictures pictures;
  const auto dataset = pictures.open();
  const Transform refusing = [](EncodedImage& image, const SampleRequest& sample) -> Views {
    require(sample.index != 3, "too small");
    return {to_float(image.decode())};
  };
  Loader skipping(
      dataset, refusing,
      {.batch_size = 4, .order = {.shuffle = Shuffle::kNone}, .drop_last = false, .on_damage = OnDamage::kSkip});
  skipping.start(0);
  CHECK(skipping.next()->indices_B.size(0) == 3);
  CHECK(skipping.damaged() == 1);
  Loader replacing(dataset, refusing, {.batch_size = 4, .order = {.shuffle = Shuffle::kNone}, .max_damaged = 1});
  replacing.start(0);
  CHECK(replacing.next()->indices_B[3].item<int64_t>() != 3);
}

TEST_CASE("loader: a worker's exception reaches the caller when its batch is due, and work can start again") {
  const Pictures pictures;
  const auto dataset = pictures.open();
  const auto at = [](int64_t bad, auto&& exception) {
    return [bad, exception](EncodedImage& image, const SampleRequest& sample) -> Views {
      if (sample.index >= bad) throw exception;
      return {to_float(image.decode())};
    };
  };
  Loader loader(dataset, at(10, Error("too small")),
                {.batch_size = 4, .workers = 7, .order = {.shuffle = Shuffle::kNone}, .on_damage = OnDamage::kFail});
  for (int i = 0; i < 3; ++i) {
    loader.start(0);
    CHECK(loader.next());
    CHECK(loader.next());
    CHECK(error_of([&] { loader.next(); }) == dataset.path(10) + ": too small");
    CHECK(contains(error_of([&] { loader.next(); }), "expected start()"));
  }
  Loader other(dataset, at(0, std::logic_error("wrong")), {.batch_size = 4});
  other.start(0);
  CHECK_THROWS_AS(other.next(), std::logic_error);
}

TEST_CASE("loader: views of unlike shapes are an Error") {
  const Pictures pictures;
  const auto dataset = pictures.open();
  const auto growing = [](EncodedImage&, const SampleRequest& sample) -> Views {
    return {torch::zeros({sample.index + 1})};
  };
  Loader loader(dataset, growing, {.batch_size = 4});
  loader.start(0);
  CHECK(contains(error_of([&] { loader.next(); }), "expected views of one shape and dtype"));
}

TEST_CASE("loader: it ends at once in the midst of work, and works no further ahead than it may") {
  const Pictures pictures;
  const auto dataset = pictures.open();
  std::atomic<int64_t> made = 0;
  const auto slow = [&](EncodedImage& image, const SampleRequest&) -> Views {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ++made;
    return {to_float(image.decode())};
  };
  for (int i = 0; i < 20; ++i) {
    Loader loader(dataset, slow, {.batch_size = 2, .workers = 3, .queued_batches = 2});
    made = 0;
    loader.start(i);
    if (i % 2 == 0) loader.next();
    if (i == 0) std::this_thread::sleep_for(std::chrono::milliseconds(60));
    CHECK(made <= 6);
  }
}

TEST_CASE("loader: ranks together have the batches that one rank has, with any number of workers, from any batch on") {
  const Pictures pictures({4, 11}, 20);
  const auto dataset = pictures.open();
  // The views go into the batch's rows, so that these are checked too.
  const Transform transform = [](EncodedImage& image, const SampleRequest& sample) -> Views {
    Random random(9, sample.epoch, static_cast<uint64_t>(sample.index), Purpose::kAugment);
    const PretrainingViewOptions options{.student_size = {8, 8}, .tokenizer_size = {4, 4}};
    const auto pair = pretraining_views(image, options, random, sample.output);
    return {pair.student_CHW, pair.tokenizer_CHW};
  };
  for (const bool drop_last : {true, false}) {
    const LoaderOptions options{.batch_size = 8, .drop_last = drop_last, .max_damaged = 1};
    Loader alone(dataset, transform, options);
    const auto whole = epoch_of(alone, 2);
    REQUIRE(whole.size() == (drop_last ? 2 : 3));
    for (const int64_t ranks : {1, 2, 4}) {
      for (const int64_t workers : {1, 3, 8}) {
        CAPTURE(ranks);
        CAPTURE(workers);
        std::vector<std::vector<Batch>> parts;
        for (int64_t rank = 0; rank < ranks; ++rank) {
          LoaderOptions part = options;
          part.rank = rank, part.ranks = ranks, part.workers = workers;
          Loader loader(dataset, transform, part);
          parts.push_back(epoch_of(loader, 2));
          CHECK(std::ssize(parts.back()) == loader.batches());
          CHECK(same(epoch_of(loader, 2, 1), {parts.back().begin() + 1, parts.back().end()}));
        }
        for (size_t b = 0; b < whole.size(); ++b) {
          for (int64_t row = 0; row < whole[b].indices_B.size(0); ++row) {
            const Batch& part = parts[static_cast<size_t>(row % ranks)].at(b);
            CHECK(torch::equal(part.indices_B[row / ranks], whole[b].indices_B[row]));
            CHECK(torch::equal(part.labels_B[row / ranks], whole[b].labels_B[row]));
            for (size_t v = 0; v < 2; ++v) CHECK(torch::equal(part.views[v][row / ranks], whole[b].views[v][row]));
          }
        }
      }
    }
  }
}

TEST_CASE("loader: an evaluation counts every image once for any number of ranks, also for more ranks than images") {
  const Pictures pictures;  // 23 of them
  const auto dataset = pictures.open();
  for (const int64_t ranks : {2, 3, 4, 24}) {
    CAPTURE(ranks);
    std::vector<int64_t> seen;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      Loader loader(dataset, noisy,
                    {.batch_size = 24,
                     .rank = rank,
                     .ranks = ranks,
                     .order = {.shuffle = Shuffle::kNone},
                     .drop_last = false,
                     .max_damaged = 1});
      for (const auto& batch : epoch_of(loader, 0)) {
        for (int64_t row = 0; row < batch.indices_B.size(0); ++row)
          seen.push_back(batch.indices_B[row].item<int64_t>());
      }
    }
    std::ranges::sort(seen);
    REQUIRE(std::ssize(seen) == dataset.size());
    for (size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == static_cast<int64_t>(i));
  }
}

TEST_CASE("loader: a batch that the caller keeps is never written to again") {
  const Pictures pictures;
  const auto dataset = pictures.open();
  Loader loader(dataset, noisy, {.batch_size = 2, .workers = 3, .queued_batches = 1});
  std::vector<Batch> kept;
  std::vector<torch::Tensor> copies, halves, half_copies;
  for (int epoch = 0; epoch < 3; ++epoch) {
    loader.start(epoch);
    while (auto batch = loader.next()) {
      copies.push_back(batch->views[0].clone());
      halves.push_back(batch->views[1].slice(0, 0, 1));  // holds the memory, not the tensor
      half_copies.push_back(halves.back().clone());
      kept.push_back(Batch{{batch->views[0]}, batch->indices_B, batch->labels_B});
    }
  }
  for (size_t i = 0; i < kept.size(); ++i) {
    CHECK(torch::equal(kept[i].views[0], copies[i]));
    CHECK(torch::equal(halves[i], half_copies[i]));
  }
}

TEST_CASE("loader: too many damaged images end the run with their names, whatever the number of workers") {
  const Pictures pictures({0, 3, 7});
  const auto dataset = pictures.open();
  for (const int64_t workers : {1, 3}) {
    LoaderOptions options{.batch_size = 4,
                          .workers = workers,
                          .order = {.shuffle = Shuffle::kNone},
                          .drop_last = false,
                          .max_damaged = 0.1};
    Loader loader(dataset, noisy, options);
    loader.start(0);
    for (int batch = 0; batch < 2; ++batch) CHECK(loader.next());  // two are allowed, and the third lies in the third
    const std::string error = error_of([&] { loader.next(); });
    CHECK(contains(error, "expected at most 10% damaged images, got 3 of an epoch's 23: "));
    for (const auto* path : {"0/00.png", "0/03.png", "1/07.png"}) CHECK(contains(error, path));
    CHECK(contains(error, "--max-damaged"));
    CHECK(contains(error_of([&] { loader.next(); }), "expected start()"));
    options.max_damaged = 0.14;
    Loader lenient(dataset, noisy, options);
    CHECK(epoch_of(lenient, 0).size() == 6);
  }
}

TEST_CASE("loader: the time of each stage is added up") {
  const Pictures pictures;
  const auto dataset = pictures.open();
  const Transform transform = [](EncodedImage& image, const SampleRequest& sample) -> Views {
    return {evaluation_view(image, {32, 32}, kUnitScale, sample.output)};
  };
  Loader loader(dataset, transform, {.batch_size = 5, .drop_last = false});
  CHECK(loader.times().images == 0);
  epoch_of(loader, 0);
  const StageTimes times = loader.times();
  CHECK(times.images == 23);
  for (const double seconds : {times.read_s, times.decode_s, times.resize_s, times.rest_s}) CHECK(seconds > 0);
}

TEST_CASE("loader: options that make no batch are refused") {
  const Pictures pictures;
  const auto dataset = pictures.open();
  CHECK(contains(error_of([] { Loader loader(Dataset(), noisy, {}); }), "got an empty dataset"));
  CHECK(contains(error_of([&] { Loader loader(dataset, noisy, {.batch_size = 24}); }),
                 "expected at least one batch of 24 images"));
  CHECK_THROWS_AS(Loader(dataset, noisy, {.batch_size = 0}), Error);
  CHECK_THROWS_AS(Loader(dataset, noisy, {.workers = 0}), Error);
  CHECK(contains(error_of([&] { Loader loader(dataset, noisy, {.batch_size = 6, .ranks = 4}); }),
                 "a batch size that is a multiple of the ranks"));
  CHECK_THROWS_AS(Loader(dataset, noisy, {.batch_size = 4, .rank = 2, .ranks = 2}), Error);
  CHECK_THROWS_AS(Loader(dataset, noisy, {.max_damaged = 1.5}), Error);
  Loader loader(dataset, noisy, {.batch_size = 23});
  CHECK(contains(error_of([&] { loader.next(); }), "expected start() before next()"));
}

TEST_CASE("loader: it follows the sampler, and an image that an epoch holds again looks another each time") {
  const Pictures few({}, 3), many({}, 9);
  const auto dataset = Dataset::open(std::vector{few.path(), many.path()});
  const SamplerOptions order{.seed = 5, .weights = {3, 1}};
  Loader loader(dataset, noisy, {.batch_size = 4, .order = order});
  const auto batches = epoch_of(loader, 2);
  CHECK(all_indices(batches) == Sampler(dataset, order).order(2));
  std::map<int64_t, std::vector<torch::Tensor>> seen;
  for (const auto& batch : batches) {
    for (int64_t row = 0; row < 4; ++row) seen[batch.indices_B[row].item<int64_t>()].push_back(batch.views[0][row]);
  }
  int64_t repeated = 0;
  for (const auto& [index, views] : seen) {
    for (size_t i = 1; i < views.size(); ++i, ++repeated) CHECK(!torch::equal(views[i], views[i - 1]));
  }
  CHECK(repeated > 0);
}
