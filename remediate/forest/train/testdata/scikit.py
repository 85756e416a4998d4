"""Print the macro-F1 of scikit-learn's forest for seeds 1 to 10: scikit.py TRAIN TEST, CSV of a label and features."""
import csv
import sys

import numpy
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score


def read(path):
    rows = list(csv.reader(open(path)))
    return numpy.array([r[1:] for r in rows], dtype=numpy.float32), [r[0] for r in rows]


x, y = read(sys.argv[1])
test, want = read(sys.argv[2])
for seed in range(1, 11):
    forest = RandomForestClassifier(40, max_depth=10, min_samples_leaf=2, class_weight="balanced", random_state=seed)
    print(f1_score(want, forest.fit(x, y).predict(test), average="macro"))
