"""Tests of the measures of picture_tasks.py on answers that are known; no downloads and no trainings but of a small judge."""
import pathlib
import tarfile
import tempfile
import unittest

import numpy as np

import picture_folders
import picture_mixtures
import picture_pairs

SIDE = 8


def some_pairs():
    """Pictures of random numbers, and the same with a little noise as their partners; two variants of each."""
    rng = np.random.default_rng(0)
    source = rng.normal(size=(60, 2, 1, SIDE, SIDE)).astype(np.float32)
    return source, source + 0.1 * rng.normal(size=source.shape).astype(np.float32)


class Pairs(unittest.TestCase):
    def setUp(self):
        self.source, self.target = some_pairs()
        self.pairs = picture_pairs.split(self.source, self.target)

    def test_nothing_held_out_is_learnt(self):
        learnt = {x.tobytes() for x in np.concatenate([self.pairs.source, self.pairs.target])}
        self.assertTrue(learnt.isdisjoint(x.tobytes() for x in np.concatenate([self.pairs.held_out, self.pairs.partners])))
        self.assertEqual(len(self.pairs.held_out), 2 * round(60 * picture_pairs.HELD_OUT))
        self.assertEqual(len(self.pairs.source) + len(self.pairs.held_out), 120)

    def test_the_partners_themselves_and_the_inputs(self):
        self.assertEqual(picture_pairs.judged(self.pairs, self.pairs.partners), {"error": 0, "better": 100, "first": 100, "top5": 100})
        nothing = picture_pairs.judged(self.pairs, self.pairs.held_out)
        self.assertAlmostEqual(nothing["error"], 100, 3)
        self.assertEqual((nothing["better"], nothing["first"]), (0, 100))

    def test_another_picture_is_not_first(self):
        found = picture_pairs.judged(self.pairs, np.roll(self.pairs.partners, 1, 0))
        self.assertEqual(found["first"], 0)
        self.assertGreater(found["error"], 1000)

    def test_moved_pictures(self):
        found = picture_pairs.moved(self.pairs.source)
        self.assertEqual(len(found), 9 * len(self.pairs.source))
        np.testing.assert_array_equal(found[4 * len(self.pairs.source):5 * len(self.pairs.source)], self.pairs.source)

    def test_yardsticks_use_learnt_targets_alone(self):
        once, _ = picture_pairs.transported(self.pairs, np.random.default_rng(0))
        targets = {x.tobytes() for x in self.pairs.target}
        self.assertTrue(all(x.tobytes() in targets for x in once))


class Mixtures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shares = picture_mixtures.shares("made-up", SIDE, (0, 2), epochs=2)

    def test_sides(self):
        s = self.shares
        half = len(s.target) // 2
        self.assertAlmostEqual(half / len(s.source), picture_mixtures.FREQUENT, 2)
        self.assertTrue({x.tobytes() for x in s.source}.isdisjoint(x.tobytes() for x in s.target))

    def test_the_input_keeps_its_class_and_does_not_move(self):
        found = picture_mixtures.judged_shares(self.shares, self.shares.inputs)
        self.assertGreater(found["kept"], 95)
        self.assertEqual(found["moved"], 0)

    def test_pictures_of_the_other_class(self):
        a, b = (self.shares.inputs[which] for which in (~self.shares.rare, self.shares.rare))
        made = np.concatenate([b[np.arange(len(a)) % len(b)], a[np.arange(len(b)) % len(a)]])
        found = picture_mixtures.judged_shares(self.shares, made)
        self.assertLess(found["kept"], 5)
        self.assertTrue(90 < found["moved"] < 110, found["moved"])

    def test_digits_are_a_hundredth_of_the_target_and_told_apart(self):
        problem = picture_mixtures.digits("made-up", SIDE, epochs=20)
        self.assertAlmostEqual(problem.is_digit.sum() / (~problem.is_digit).sum(), picture_mixtures.DIGITS, 3)
        ratio = np.where(problem.is_digit, 0.25, 1.0)
        found = picture_mixtures.judged_digits(problem, problem.target[problem.is_digit], ratio)
        self.assertEqual((found["auc"], found["ratios"]), (1, [1, 0.25]))
        self.assertGreater(found["digits"], 50)
        self.assertLess(picture_mixtures.judged_digits(problem, problem.garments.data.test, None)["digits"], 20)


class Folders(unittest.TestCase):
    def setUp(self):
        from PIL import Image
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.colours = {"cat": (255, 0, 0), "dog": (0, 0, 255)}
        for part, side in (("train", SIDE), ("test", 2 * SIDE)):
            for name, colour in self.colours.items():
                (self.folder / part / name).mkdir(parents=True)
                Image.new("RGB", (side, side), colour).save(self.folder / part / name / "0.png")
                (self.folder / part / name / "notes.txt").write_text("no picture")

    def test_a_folder_and_an_archive_of_it_are_the_same_pictures(self):
        whole = picture_folders.made(self.folder, SIDE)
        self.assertEqual(whole["names"].tolist(), ["cat", "dog"])
        for part in ("train", "test"):
            self.assertEqual(whole[f"{part}_classes"].tolist(), [0, 1])
            for picture, colour in zip(whole[part], self.colours.values()):
                self.assertEqual(picture.shape, (3, SIDE, SIDE))
                np.testing.assert_array_equal(picture, np.broadcast_to(np.array(colour)[:, None, None], picture.shape))
        path = self.folder.with_suffix(".tar.xz")
        with tarfile.open(path, "w:xz") as archive:
            archive.add(self.folder, ".")
        self.addCleanup(path.unlink)
        packed = picture_folders.made(path, SIDE)
        for name, values in whole.items():
            np.testing.assert_array_equal(packed[name], values)

    def test_other_files_have_another_name(self):
        names = [picture_folders.name_of(self.folder)]
        for change in (lambda file: file.write_bytes(b"more than there was"), lambda file: file.unlink()):
            change(self.folder / "test" / "cat" / "notes.txt")
            names.append(picture_folders.name_of(self.folder))
        self.assertEqual(len(set(names)), 3)

    def test_folders_without_classes_are_refused(self):
        with self.assertRaisesRegex(SystemExit, "no pictures as train/CLASS/NAME"):
            picture_folders.made(self.folder / "test", SIDE)
        for file in (self.folder / "train" / "dog").iterdir():
            file.unlink()
        with self.assertRaisesRegex(SystemExit, "class dog to test, but not to learn"):
            picture_folders.made(self.folder, SIDE)


if __name__ == "__main__":
    unittest.main()
