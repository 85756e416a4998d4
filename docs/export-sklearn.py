"""Write a scikit-learn RandomForestClassifier as JSON for `holdfastctl model import`.

    from export_sklearn import export
    export(classifier, feature_names, "rf.json")
    golden(classifier, feature_names, rows, "rows.csv", "proba.csv")

Feature names are a column of the data and _mean, _std or _slope, in the order of the columns that the
classifier was fitted on. Fit on float32: rows.astype(numpy.float32).
"""
import csv
import json


def export(classifier, feature_names, path):
    trees = []
    for estimator in classifier.estimators_:
        t = estimator.tree_
        values = []
        for node in range(t.node_count):
            if t.children_left[node] >= 0:
                values.append([])
                continue
            v = t.value[node][0]
            values.append([float(x) for x in v / v.sum()])
        trees.append({
            "f": t.feature.tolist(),
            "t": t.threshold.tolist(),
            "l": t.children_left.tolist(),
            "r": t.children_right.tolist(),
            "v": values,
        })
    with open(path, "w") as f:
        json.dump({"format": "sk-forest/1", "classes": [str(c) for c in classifier.classes_],
                   "features": list(feature_names), "n_train": 0, "trees": trees}, f)


def golden(classifier, feature_names, rows, rows_path, proba_path):
    for path, head, body in ((rows_path, feature_names, rows.astype("float32")),
                             (proba_path, classifier.classes_, classifier.predict_proba(rows))):
        with open(path, "w", newline="") as f:
            csv.writer(f).writerows([list(head)] + [[repr(float(x)) for x in row] for row in body])
