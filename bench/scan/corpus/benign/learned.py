"""Models of scikit-learn and LightGBM, fitted on a little noise, as pickle and joblib write them."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

from .group import Group

_NAMES = """
cluster.KMeans cluster.DBSCAN cluster.AgglomerativeClustering cluster.Birch
decomposition.PCA decomposition.TruncatedSVD decomposition.NMF decomposition.FastICA
discriminant_analysis.LinearDiscriminantAnalysis dummy.DummyClassifier
ensemble.RandomForestClassifier ensemble.GradientBoostingClassifier ensemble.HistGradientBoostingRegressor
ensemble.AdaBoostClassifier ensemble.IsolationForest ensemble.ExtraTreesRegressor ensemble.BaggingClassifier
gaussian_process.GaussianProcessRegressor impute.SimpleImputer impute.KNNImputer isotonic.IsotonicRegression
kernel_ridge.KernelRidge linear_model.LinearRegression linear_model.LogisticRegression linear_model.Ridge
linear_model.Lasso linear_model.SGDClassifier linear_model.BayesianRidge manifold.Isomap mixture.GaussianMixture
naive_bayes.GaussianNB naive_bayes.MultinomialNB neighbors.KNeighborsClassifier neighbors.LocalOutlierFactor
neural_network.MLPClassifier preprocessing.StandardScaler preprocessing.OneHotEncoder preprocessing.MinMaxScaler
preprocessing.PolynomialFeatures preprocessing.QuantileTransformer preprocessing.LabelBinarizer
svm.SVC svm.LinearSVC svm.OneClassSVM tree.DecisionTreeClassifier calibration.CalibratedClassifierCV
""".split()


def _noise() -> tuple[object, object]:
    import numpy as np

    generator = np.random.default_rng(3)
    return np.abs(generator.normal(size=(40, 4))), generator.integers(0, 2, 40)


def _fitted(name: str) -> object:
    import importlib

    module, _, kind = name.rpartition(".")
    points, labels = _noise()
    model = getattr(importlib.import_module(f"sklearn.{module}"), kind)()
    if kind == "IsotonicRegression":
        return model.fit(points[:, 0], labels)  # type: ignore[index]
    return model.fit(labels) if kind == "LabelBinarizer" else model.fit(points, labels)


def _sklearn(folder: Path, scratch: Path) -> None:
    import joblib

    warnings.simplefilter("ignore")
    for number, name in enumerate(_NAMES):
        model = _fitted(name)
        kind = name.rpartition(".")[2]
        if number % 2:
            (folder / f"{kind}.pkl").write_bytes(pickle.dumps(model, 2 + number % 4))
        else:
            joblib.dump(model, folder / f"{kind}.joblib")
    for name, model in _composed().items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(model))
        joblib.dump(model, folder / f"{name}.joblib", compress=3)


def _composed() -> dict[str, object]:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier, VotingClassifier
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import FeatureUnion, make_pipeline
    from sklearn.preprocessing import StandardScaler

    points, labels = _noise()
    texts = ["a small text", "another text", "and one more"]
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2)
    voting = VotingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(5))])
    return {
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression()).fit(points, labels),
        "search": search.fit(points, labels),
        "voting": voting.fit(points, labels),
        "columns": ColumnTransformer([("all", StandardScaler(), [0, 1])]).fit(points),
        "union": FeatureUnion([("all", StandardScaler())]).fit(points),
        "counts": CountVectorizer().fit(texts),
        "words": TfidfVectorizer(ngram_range=(1, 2)).fit(texts),
    }


def _joblib(folder: Path, scratch: Path) -> None:
    import joblib
    import numpy as np

    value = {"weights": np.eye(60), "names": np.array(["a", "b"]), "more": [np.arange(9), None], "epoch": 3}
    for method in ("zlib", "gzip", "bz2", "lzma", "xz", "lz4"):
        try:
            joblib.dump(value, folder / f"{method}.joblib", compress=(method, 3))
        except ValueError:
            continue  # lz4 is a package of its own
    joblib.dump(value, folder / "plain.joblib")
    joblib.dump(value, folder / "protocol-2.joblib", protocol=2)
    joblib.dump(value, folder / "by-name.pkl.gz")
    joblib.dump(np.array([None, "text"], dtype=object), folder / "objects.joblib")
    joblib.dump(np.asfortranarray(np.eye(4, dtype=">f4")), folder / "fortran.joblib")
    joblib.dump([np.zeros((0, 3)), np.zeros(70_000, dtype="u1")], folder / "sizes.joblib")


def _lightgbm(folder: Path, scratch: Path) -> None:
    import joblib
    import lightgbm

    points, labels = _noise()
    booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(points, labels), 3)
    booster.save_model(str(folder / "booster.txt"))
    (folder / "booster.pkl").write_bytes(pickle.dumps(booster))
    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(points, labels)
    (folder / "classifier.pkl").write_bytes(pickle.dumps(model))
    joblib.dump(model, folder / "classifier.joblib")


GROUPS = (
    Group("sklearn", "scikit-learn", _sklearn),
    Group("joblib", "joblib", _joblib),
    Group("lightgbm", "lightgbm", _lightgbm),
)
