#!/usr/bin/env python3
"""The Python module beside the program, and a tokenizer beside PyTorch's statement of the method.

    python tests/python/module_test.py PROGRAM MODULE [unittest's options]

PROGRAM is `beit`, MODULE the library beit/_beit.*.so of the same build. Networks are tiny, trained by one step.
"""
import ast
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from exchange import beit as run_program
from exchange import off_trivial

PROGRAM, MODULE = pathlib.Path(sys.argv.pop(1)).resolve(), pathlib.Path(sys.argv.pop(1)).resolve()
ROOT = pathlib.Path(__file__).resolve().parents[2]
ORACLE = ROOT.parent / "shared/oracle"
DEMO = ROOT / "demo/data/cifar10-small-test.tar"
NETWORK = "--width 16 --depth 2 --heads 2 --image-size 32 --patch-size 8 --device cpu --threads 1 --quiet".split()
TIE = 1e-5  # two codes this equally near may change places: kernels of other sizes differ by as much

sys.path.insert(0, str(MODULE.parents[1]))
import beit  # noqa: E402


class Files:
    """What the program makes for all tests to read."""

    def __init__(self, folder):
        self.folder = folder
        self.images = folder / "images"
        with tarfile.open(DEMO) as archive:
            for place, member in enumerate(archive.getmembers()[::160]):
                target = self.images / f"{place:02}.jpg"
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(archive.extractfile(member).read())
        self.paths = sorted(self.images.iterdir())
        self.tokenizer = self.trained("vqkd", "tokenizer", "--data", DEMO, "--teacher", "pixels", "--codes", 16,
                                      "--code-dim", 4, "--decoder-depth", 1, "--batch-size", 500)
        self.classifier = self.trained("finetune", "classifier", "--data", DEMO, "--layer-decay", 1,
                                       "--batch-size", 50)
        self.write_scenes()
        self.segmenter = self.trained("segment", "segmenter", "--data", folder / "scenes", "--labels",
                                      folder / "labels", "--classes", 2, "--channels", 8, "--auxiliary-channels", 4,
                                      "--long-side", 64, "--short-side", 40, "--stride", 16, "--batch-size", 4)

    def trained(self, command, name, *words):
        run_program(PROGRAM, command, *words, *NETWORK, "--steps", 1, "--warmup-steps", 0, "--output",
                    self.folder / name)
        return self.folder / name

    def write_scenes(self):
        generator = torch.Generator().manual_seed(3)
        (self.folder / "scenes").mkdir()
        (self.folder / "labels").mkdir()
        for place in range(4):
            pixels = torch.randint(0, 90, (40, 64, 3), dtype=torch.uint8, generator=generator)
            labels = torch.zeros(40, 64, dtype=torch.uint8)
            pixels[8:30, 10 + 5 * place:40] += 120
            labels[8:30, 10 + 5 * place:40] = 1
            Image.fromarray(pixels.numpy()).save(self.folder / f"scenes/{place}.png")
            Image.fromarray(labels.numpy()).save(self.folder / f"labels/{place}.png")


def pixels_of(image):
    """uint8 as it is stored: [H, W, 3], or [H, W] of a palette's indices."""
    return torch.from_numpy(np.array(image))


def tensors_of(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


class ModuleTest(unittest.TestCase):
    def assertClose(self, got, expected, tolerance=1e-5):
        self.assertEqual(got.shape, expected.shape)
        self.assertLess((got - expected).abs().max().item(), tolerance)

    def assertCodes(self, codes, expected, similarity):
        """Equal, but for codes that are equally near: `similarity` [B, N, K] of each patch and code."""
        lost = similarity.gather(-1, expected[..., None]) - similarity.gather(-1, codes[..., None])
        self.assertLess(lost.abs().max().item(), TIE)
        self.assertLess((codes != expected).float().mean().item(), 0.01)

    def assertRefuses(self, part, call, kind=None):
        """With one line that has this in it."""
        with self.assertRaises(kind or beit.Error) as refused:
            call()
        self.assertIn(part, str(refused.exception))
        self.assertNotIn("\n", str(refused.exception))


class BesideTheProgram(ModuleTest):
    def setUp(self):
        self.images = beit.read_images(FILES.paths, 32)

    def test_images_are_what_pillow_reads(self):
        # Images of exactly the size are taken as they are; a larger one is scaled and cut.
        self.assertEqual((self.images.shape, self.images.dtype), ((len(FILES.paths), 3, 32, 32), torch.float32))
        for path, image in zip(FILES.paths, self.images):
            pixels = pixels_of(Image.open(path).convert("RGB"))
            self.assertTrue(torch.equal((image * 255).round().long(), pixels.permute(2, 0, 1).long()))
        scene = FILES.folder / "scenes/0.png"
        pixels = pixels_of(Image.open(scene).resize((57, 36), Image.Resampling.BICUBIC).crop((12, 2, 44, 34)))
        found = (beit.read_images([scene], 32)[0] * 255).round().long()
        self.assertTrue(torch.equal(found, pixels.permute(2, 0, 1).long()))

    def test_images_of_bytes_and_of_paths_in_the_order_given(self):
        mixed = [FILES.paths[1].read_bytes(), str(FILES.paths[0])]
        self.assertTrue(torch.equal(beit.read_images(mixed, 32, workers=1), self.images[[1, 0]]))

    def test_codes_are_those_of_beit_tokenize(self):
        run_program(PROGRAM, "tokenize", "--tokenizer", FILES.tokenizer, "--data", FILES.images, "--device", "cpu",
                    "--output", FILES.folder / "codes.safetensors")
        tensors, metadata = tensors_of(FILES.folder / "codes.safetensors")
        self.assertEqual(json.loads(metadata["paths"]), [str(path) for path in FILES.paths])
        tokenizer = beit.Tokenizer.load(FILES.tokenizer)
        codes = tokenizer.codes(self.images)
        self.assertEqual((codes.dtype, codes.shape), (torch.int64, (len(FILES.paths), 16)))
        self.assertEqual((tokenizer.grid, tokenizer.image_size, tokenizer.patch_size), ((4, 4), 32, 8))
        self.assertGreater(len(codes.unique()), 3)
        similarity = tokenizer.vectors(self.images) @ tokenizer.codebook.t()
        self.assertCodes(codes, tensors["codes"].long(), similarity)
        self.assertCodes(codes, similarity.argmax(-1), similarity)
        nearest, cosines = tokenizer.nearest(self.images)
        self.assertTrue(torch.equal(nearest, codes))
        self.assertClose(cosines, similarity.gather(-1, codes.unsqueeze(-1)).squeeze(-1), 1e-5)

    def test_features_are_those_of_beit_features(self):
        for weights in (FILES.tokenizer, FILES.classifier):
            run_program(PROGRAM, "features", "--weights", weights, "--data", FILES.images, "--device", "cpu", "--layer",
                        "all", "--pooling", "both", "--pooling", "tokens", "--output",
                        FILES.folder / "features.safetensors")
            tensors, _ = tensors_of(FILES.folder / "features.safetensors")
            backbone = beit.Backbone.load(weights)
            self.assertEqual((backbone.depth, backbone.width), (2, 16))
            for pooling in ("both", "tokens"):
                first, last = backbone.features(self.images, layers=[1, 2], pooling=pooling)
                self.assertClose(first, tensors[f"layer1.{pooling}"])
                self.assertClose(last, tensors[f"layer2.{pooling}"])
                self.assertClose(backbone.features(self.images, pooling=pooling), tensors[f"layer2.{pooling}"])
            mean = backbone.features(self.images, layers=2)
            self.assertClose(mean, tensors["layer2.both"][:, 16:])
            self.assertGreater((backbone.features(self.images, final_norm=True) - mean).abs().max().item(), 1e-3)

    def test_classes_are_those_of_beit_classify(self):
        run_program(PROGRAM, "classify", "--weights", FILES.classifier, "--data", FILES.images, "--device", "cpu",
                    "--top", 10, "--format", "json", "--output", FILES.folder / "classes.json")
        classifier = beit.Classifier.load(FILES.classifier)
        self.assertEqual((classifier.classes, len(classifier.class_names)), (10, 10))
        self.assertEqual(classifier.class_names[0], "airplane")
        found = json.loads((FILES.folder / "classes.json").read_text())
        self.assertEqual([image["path"] for image in found], [str(path) for path in FILES.paths])
        for row, image in zip(classifier(self.images).softmax(1), found):
            for guess in image["classes"]:
                self.assertAlmostEqual(row[guess["output"]].item(), guess["probability"], delta=1e-5)
                self.assertEqual(classifier.class_names[guess["output"]], guess["class"])

    def test_segmentations_are_those_of_beit_segment_test(self):
        # Images that fit exactly are not scaled, so that the program's windows are ours.
        maps = FILES.folder / "maps"
        run_program(PROGRAM, "segment", "test", "--weights", FILES.segmenter, "--data", FILES.folder / "scenes",
                    "--device", "cpu", "--output", maps)
        segmenter = beit.Segmenter.load(FILES.segmenter)
        self.assertEqual(segmenter.classes, 2)
        scenes = [pixels_of(Image.open(path))
                  for path in sorted((FILES.folder / "scenes").iterdir())]
        scenes = torch.stack(scenes).permute(0, 3, 1, 2).float() / 255
        logits = segmenter(scenes, stride=16)
        self.assertEqual(logits.shape, (4, 2, 40, 64))
        expected = [pixels_of(Image.open(path)) for path in sorted(maps.iterdir())]
        self.assertGreater((logits.argmax(1) == torch.stack(expected)).float().mean().item(), 0.999)
        self.assertEqual(segmenter(scenes).shape, logits.shape)
        self.assertGreater((segmenter(scenes) - logits).abs().max().item(), 1e-6)


class Tensors(ModuleTest):
    def setUp(self):
        self.tokenizer = beit.Tokenizer.load(FILES.tokenizer)
        self.images = beit.read_images(FILES.paths, 32)

    def test_the_codebook_is_the_tokenizers_own_memory(self):
        codebook, codes = self.tokenizer.codebook, self.tokenizer.codes(self.images)
        self.assertEqual(codebook.data_ptr(), self.tokenizer.codebook.data_ptr())
        self.assertEqual(codebook.shape, (16, 4))
        codebook.copy_(codebook.flip(0))
        self.assertTrue(torch.equal(self.tokenizer.codes(self.images), 15 - codes))

    def test_strides_do_not_matter_and_images_stay_as_they_are(self):
        strided = self.images.to(memory_format=torch.channels_last)
        before, pointer = strided.clone(), strided.data_ptr()
        self.assertClose(self.tokenizer.vectors(strided), self.tokenizer.vectors(self.images), 1e-6)
        self.assertEqual(strided.data_ptr(), pointer)
        self.assertTrue(torch.equal(strided, before))

    def test_nothing_has_a_gradient(self):
        images = self.images.clone().requires_grad_()
        self.assertFalse(self.tokenizer.vectors(images).requires_grad)
        self.assertFalse(self.tokenizer.codebook.requires_grad)
        self.assertFalse(beit.Backbone.load(FILES.tokenizer).features(images).requires_grad)
        with torch.inference_mode():
            self.tokenizer.codes(self.images)
        self.tokenizer.codes(self.images)  # what inference mode left behind is of use outside of it

    def test_decoded_codes_are_the_teachers_features(self):
        codes = self.tokenizer.codes(self.images)
        decoded = self.tokenizer.decode(codes)
        self.assertEqual(decoded.shape[:2], codes.shape)
        self.assertTrue(torch.equal(decoded, self.tokenizer.decode(codes, grid=(4, 4))))
        self.assertEqual(self.tokenizer.decode(codes[:, :8], grid=(2, 4)).shape[1], 8)
        self.assertRefuses("expected code vectors [B, 16, C]", lambda: self.tokenizer.decode(codes[:, :8]))
        self.assertRefuses("expected codes from 0 to 15, got 16", lambda: self.tokenizer.decode(codes * 0 + 16))
        self.assertTrue(torch.equal(decoded, self.tokenizer.decode(codes.int())))
        self.assertRefuses("int64 or int32", lambda: self.tokenizer.decode(codes.float()))

    def test_images_of_other_sizes_serve(self):
        self.assertEqual(self.tokenizer.codes(torch.rand(2, 3, 16, 48)).shape, (2, 12))
        resized = beit.Backbone.load(FILES.tokenizer, image_size=64)
        self.assertEqual((resized.grid, resized.features(torch.rand(1, 3, 64, 64), pooling="patches").shape),
                         ((8, 8), (1, 64, 16)))

    def test_other_threads_go_on_while_it_computes(self):
        images, seen, done = torch.rand(2, 3, 512, 512), [], threading.Event()

        def tick():
            while not done.is_set():
                seen.append(time.perf_counter())
                time.sleep(0.001)

        threads = torch.get_num_threads()
        self.addCleanup(torch.set_num_threads, threads)
        torch.set_num_threads(1)
        thread = threading.Thread(target=tick)
        thread.start()
        start = time.perf_counter()
        self.tokenizer.vectors(images)
        end = time.perf_counter()
        done.set()
        thread.join()
        within = [moment for moment in seen if start + 0.01 < moment < end - 0.01]
        self.assertGreater(end - start, 0.03, "too quick to tell")
        self.assertGreater(len(within), 2)

    def test_calls_from_many_threads_give_what_one_gives(self):
        sizes = [(32, 32), (16, 16), (16, 48), (64, 32)] * 4
        images = [torch.rand(3, 3, *size) for size in sizes]
        expected = [self.tokenizer.vectors(given) for given in images]
        found = [None] * len(images)

        def work(place):
            found[place] = self.tokenizer.vectors(images[place])

        threads = [threading.Thread(target=work, args=[place]) for place in range(len(images))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for got, wanted in zip(found, expected):
            self.assertClose(got, wanted, 1e-6)


class Refusals(ModuleTest):
    def setUp(self):
        self.tokenizer = beit.Tokenizer.load(FILES.tokenizer)

    def test_errors_are_values_errors_of_one_line(self):
        self.assertTrue(issubclass(beit.Error, ValueError))
        self.assertEqual((beit.Error.__module__, beit.Tokenizer.__module__), ("beit", "beit"))

    def test_images_that_are_none(self):
        codes, images = self.tokenizer.codes, torch.rand(1, 3, 32, 32)
        self.assertRefuses("expected images [B, 3, height, width], got [3, 32, 32]", lambda: codes(images[0]))
        self.assertRefuses("got [0, 3, 32, 32]", lambda: codes(images[:0]))
        self.assertRefuses("got [1, 4, 32, 32]", lambda: codes(torch.rand(1, 4, 32, 32)))
        self.assertRefuses("multiples of 8", lambda: codes(torch.rand(1, 3, 33, 32)))
        self.assertRefuses("of float32 in [0, 1], got Byte", lambda: codes(images.byte()))
        self.assertRefuses("on cpu, where the network is, got meta", lambda: codes(images.to("meta")))
        with self.assertRaises(TypeError):
            codes(images.numpy())

    def test_layers_poolings_and_strides(self):
        backbone, images = beit.Backbone.load(FILES.tokenizer), torch.rand(1, 3, 32, 32)
        self.assertRefuses("from 1 to 2, or 0 for the last, got 3", lambda: backbone.features(images, layers=3))
        self.assertRefuses("got -1", lambda: backbone.features(images, layers=[1, -1]))
        self.assertRefuses("expected layers, got none", lambda: backbone.features(images, layers=[]))
        self.assertRefuses("got 'max'", lambda: backbone.features(images, pooling="max"))
        self.assertRefuses("stride", lambda: beit.Segmenter.load(FILES.segmenter)(images, stride=33))

    def test_files(self):
        self.assertRefuses("nowhere", lambda: beit.Tokenizer.load("nowhere"))
        self.assertRefuses("expected a tokenizer, got a classifier", lambda: beit.Tokenizer.load(FILES.classifier))
        self.assertRefuses("input_form", lambda: beit.Tokenizer.load(FILES.tokenizer, input_form="sepia"))
        self.assertRefuses("image-size", lambda: beit.Tokenizer.load(FILES.tokenizer, image_size=-8))
        self.assertRefuses("expected cpu or cuda", lambda: beit.Tokenizer.load(FILES.tokenizer, "meta"))
        if not torch.cuda.is_available():
            self.assertRefuses("found none", lambda: beit.Tokenizer.load(FILES.tokenizer, "cuda"))

    def test_image_files(self):
        damaged = FILES.paths[0].read_bytes()[:-400]
        self.assertRefuses("image 1", lambda: beit.read_images([FILES.paths[0], damaged], 32))
        self.assertRefuses("nowhere.png", lambda: beit.read_images(["nowhere.png"], 32))
        self.assertRefuses("put a single one into a list", lambda: beit.read_images(str(FILES.paths[0]), 32))
        self.assertRefuses("got none", lambda: beit.read_images([], 32))
        self.assertRefuses("got int at place 1", lambda: beit.read_images([FILES.paths[0], 7], 32))
        self.assertRefuses("image_size", lambda: beit.read_images(FILES.paths, 0))
        self.assertRefuses("workers", lambda: beit.read_images(FILES.paths, 32, workers=0))

    def test_what_is_assumed_goes_to_pythons_log(self):
        with self.assertLogs("beit", "INFO") as said:
            beit.Backbone.load(FILES.segmenter)
        self.assertIn("assumed a final norm at its initial values", "".join(said.output))


class Package(ModuleTest):
    def test_the_stub_names_what_the_module_has(self):
        stub = ast.parse((MODULE.parent / "_beit.pyi").read_text())
        public = [item for item in stub.body if isinstance(item, (ast.ClassDef, ast.FunctionDef))]
        self.assertEqual({item.name for item in public if not item.name.startswith("_")},
                         set(beit.__all__) - {"__version__"})
        members = {item.name: {entry.name for entry in item.body if isinstance(entry, ast.FunctionDef)}
                   for item in public if isinstance(item, ast.ClassDef)}
        for name, stated in members.items():
            if name.startswith("_") or name == "Error":
                continue
            there = {entry for entry in vars(getattr(beit, name))
                     if not entry.startswith("_") or entry == "__call__"}
            self.assertEqual(stated | members["_Network"], there, name)

    def test_other_libraries_see_nothing_of_it_but_its_beginning(self):
        listed = subprocess.run(["nm", "-D", "--defined-only", MODULE], capture_output=True, text=True, check=True)
        self.assertEqual([line.split()[-1] for line in listed.stdout.splitlines()], ["PyInit__beit"])

    def test_another_torch_than_it_was_built_with_is_refused_in_one_line(self):
        with tempfile.TemporaryDirectory() as folder:
            package = pathlib.Path(folder) / "beit"
            shutil.copytree(MODULE.parent, package)
            (package / "_built.py").write_text('VERSION = "0"\nTORCH_VERSION = "2.10.1"\n')
            ended = subprocess.run([sys.executable, "-c", "import beit"], cwd=folder, capture_output=True, text=True)
        self.assertEqual(ended.returncode, 1)
        last = ended.stderr.splitlines()[-1]
        self.assertIn("ImportError: beit: expected torch 2.10, with which it was built, got 2.", last)

    def test_the_wheel_is_for_this_torch_and_no_other_is_taken(self):
        sys.path.insert(0, str(ROOT / "python"))
        import wheel_build
        self.assertEqual(wheel_build.require_supported("2.11.0"), (2, 11))
        self.assertEqual(wheel_build.require_supported("2.13.1+cu130"), (2, 13))
        for other in ("2.10.2", "2.14.0", "3.0.0"):
            with self.assertRaises(SystemExit) as refused:
                wheel_build.require_supported(other)
            self.assertEqual(str(refused.exception), "beit: error: torch: expected version 2.11 to 2.13, "
                                                     f"got {other}; install one of those")
        folder, minor = wheel_build.installed_torch()
        self.assertEqual(pathlib.Path(folder), pathlib.Path(torch.__file__).parent)
        with tempfile.TemporaryDirectory() as folder:
            info = wheel_build.prepare_metadata_for_build_wheel(folder)
            stated = (pathlib.Path(folder) / info / "METADATA").read_text()
        self.assertEqual(info, f"beit-{beit.__version__}.dist-info")
        self.assertIn("Requires-Dist: torch=={}.{}.*\n".format(*minor), stated)


@unittest.skipUnless(ORACLE.exists(), "the statement of the method is absent")
class BesideTheOracle(ModuleTest):
    def test_codes_vectors_and_decoded_features_are_pytorchs(self):
        sys.path.insert(0, str(ORACLE))
        import beit2_oracle as oracle
        torch.manual_seed(5)
        encoder = oracle.ViTConfig(image_size=64, dim=128, depth=3, heads=2)
        decoder = oracle.ViTConfig(image_size=4, patch_size=1, in_channels=8, dim=128, depth=1, heads=2)
        model = oracle.VQKD(encoder, decoder, codes=64, code_dim=8, target_dim=24).eval()
        off_trivial(model)
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()},
                  FILES.folder / "oracle.safetensors")
        tokenizer = beit.Tokenizer.load(FILES.folder / "oracle.safetensors")
        images = torch.rand(5, 3, 64, 64)
        with torch.no_grad():
            tokens = model.encoder.patch_tokens(images * 2 - 1)
            vectors = torch.nn.functional.normalize(model.encode_task_layer(tokens), dim=-1)
            codes = model.codes(images)
            quantized = model.quantize.embedding.weight[codes]
            map_of_codes = quantized.transpose(1, 2).unflatten(2, (4, 4))
            decoded = model.decode_task_layer(model.decoder.patch_tokens(map_of_codes))
        self.assertGreater(len(codes.unique()), 8)
        self.assertClose(tokenizer.vectors(images), vectors, 1e-5)
        self.assertCodes(tokenizer.codes(images), codes, vectors @ tokenizer.codebook.t())
        self.assertClose(tokenizer.decode(codes), decoded, 1e-4)


if __name__ == "__main__":
    if not ORACLE.exists():
        print("skipped: the module beside the oracle, for want of the statement of the method")
    with tempfile.TemporaryDirectory() as place:
        FILES = Files(pathlib.Path(place))
        unittest.main()
