"""Zero-shot, linear-probe and few-shot classification of real texts with the real teacher."""

import numpy as np
import pytest

from asterisk.core.errors import UserError
from asterisk.data.labelled_sets import ClassificationSet, local_sets, read_set
from asterisk.evaluation.few_shot import classification_table, mean_results, measure_classification
from asterisk.evaluation.zero_shot import class_embeddings, label_text
from asterisk.models.encoder import TextEncoder
from asterisk.models.load import load_encoder
from tests.support.paths import REPOSITORY, TEACHER

EVALUATION = REPOSITORY.parent / "shared" / "data" / "eval" / "classification"
needs_sets = pytest.mark.skipif(not EVALUATION.exists(), reason="the evaluation sets are not here")

TOPICS = {
    "football": [
        "The goalkeeper saved a penalty in the last minute.",
        "Their striker scored twice before half time.",
        "The referee showed the defender a red card.",
        "The league title goes to the team from Turin.",
    ],
    "cooking_recipes": [
        "Simmer the tomatoes with garlic for ten minutes.",
        "Fold the egg whites into the batter.",
        "Season the soup with salt and pepper.",
        "Bake the bread until the crust is golden.",
    ],
    "SpaceTravel": [
        "The rocket reached orbit after nine minutes.",
        "Two astronauts repaired the station's solar panel.",
        "The probe sent pictures of the moons of Jupiter.",
        "The capsule returned to Earth under parachutes.",
    ],
}


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return load_encoder(TEACHER)


@pytest.fixture(scope="module")
def shorter() -> TextEncoder:
    found = load_encoder(TEACHER, truncate_dim=16)
    found.name = "local/shorter"
    return found


@pytest.fixture
def topics() -> ClassificationSet:
    """Two texts of each topic to train on, and two to test."""
    rows = [(text, topic) for topic, texts in TOPICS.items() for text in texts]
    train, test = rows[::2], rows[1::2]
    return ClassificationSet(
        name="Topics",
        classes=sorted(TOPICS),
        test_texts=[text for text, _ in test],
        test_labels=[topic for _, topic in test],
        train_texts=[text for text, _ in train],
        train_labels=[topic for _, topic in train],
    )


class Counting:
    """An encoder that records the texts it embeds."""

    def __init__(self, encoder: TextEncoder):
        self.name, self.revision, self.prompts = encoder.name, encoder.revision, encoder.prompts
        self.dimension, self.num_parameters, self.num_bytes = encoder.dimension, 0, 0
        self.max_length = encoder.max_length
        self.encoder = encoder
        self.texts: list[str] = []

    def encode(self, texts: list[str], batch_size: int = 64, prompt: str | None = None) -> np.ndarray:
        self.texts += texts
        return self.encoder.encode(texts, batch_size, prompt)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("card_payment_fee_charged", "card payment fee charged"),
        ("not-counterfactual", "not counterfactual"),
        ("AddToPlaylist", "Add To Playlist"),
        ("ATMSupport", "ATM Support"),
        ("comp.sys.mac", "comp sys mac"),
        ("atis_airfare#atis_flight", "atis airfare atis flight"),
        ("Sci/Tech", "Sci/Tech"),
        ("_", "_"),
    ],
)
def test_labels_become_words(label: str, words: str) -> None:
    assert label_text(label) == words


def test_zero_shot_recognises_obvious_topics_by_their_names(encoder: TextEncoder, topics: ClassificationSet) -> None:
    topics.train_texts, topics.train_labels = [], []
    results = measure_classification([encoder], [topics])
    # Without training texts there is only zero-shot.
    assert [result.setting for result in results] == ["zero-shot"]
    assert results[0].accuracy == results[0].macro_f1 == 100
    assert results[0].accuracy_sd is None


def test_a_class_is_the_normalised_mean_of_its_prompts(encoder: TextEncoder) -> None:
    found = class_embeddings(encoder, ["AtHome"], ["{}", "This is about {}."])
    mean = encoder.encode(["At Home", "This is about At Home."]).mean(axis=0)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_descriptions_replace_names_without_meaning(encoder: TextEncoder, topics: ClassificationSet) -> None:
    number = {topic: str(index) for index, topic in enumerate(sorted(TOPICS))}
    topics.classes = list(number.values())
    topics.test_labels = [number[label] for label in topics.test_labels]
    topics.train_texts, topics.train_labels = [], []
    with pytest.raises(UserError, match="needs classes in words, not 0, 1, 2; give each a description"):
        measure_classification([encoder], [topics])
    topics.descriptions = {index: topic for topic, index in number.items()}
    assert measure_classification([encoder], [topics])[0].accuracy > 80


@pytest.mark.parametrize(
    ("templates", "descriptions", "message"),
    [
        (["about"], {}, "not 'about'"),
        ([], {}, "Templates must hold {}"),
        (["{}"], {"no": "nothing"}, "There is no class 'no' to describe; the classes are football"),
    ],
)
def test_wrong_zero_shot_arguments_are_refused(
    encoder: TextEncoder, templates: list[str], descriptions: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        class_embeddings(encoder, ["football"], templates, descriptions)


@pytest.mark.slow
def test_settings_encoders_and_sets_make_one_table(
    encoder: TextEncoder, shorter: TextEncoder, topics: ClassificationSet
) -> None:
    results = measure_classification([encoder, shorter], [topics], few_shot=(1, 2))
    assert [(result.setting, result.model) for result in results] == [
        (setting, model.name)
        for setting in ("zero-shot", "linear probe", "few-shot 1", "few-shot 2")
        for model in (encoder, shorter)
    ]
    assert all(result.retention == 1 for result in results[::2])
    assert results[1].retention == pytest.approx(results[1].accuracy / results[0].accuracy)
    one = results[4]
    assert len(one.accuracies) == 10
    assert one.accuracy == pytest.approx(np.mean(one.accuracies))
    assert one.accuracy_sd == pytest.approx(np.std(one.accuracies, ddof=1))
    # Each class has two training texts instead of MTEB's eight: both are used, and all draws are the same.
    probe = results[2]
    assert (probe.short_classes, probe.accuracy_sd) == (3, 0)
    table = classification_table([*results, *mean_results(results)]).splitlines()
    assert len(table) == 2 + 8 + 8
    assert f"| {probe.accuracy:.2f} ± 0.00 |" in table[4]
    assert table[4].endswith("| 33.33 | 6 | 3 (3 short) |")


def test_each_text_is_embedded_once_for_all_settings(encoder: TextEncoder, topics: ClassificationSet) -> None:
    counting = Counting(encoder)
    measure_classification([counting], [topics], zero_shot=False)  # type: ignore[list-item]
    assert sorted(counting.texts) == sorted(topics.test_texts + topics.train_texts)


def test_invalid_measurements_are_refused(encoder: TextEncoder, topics: ClassificationSet) -> None:
    with pytest.raises(UserError, match="2 models share the name"):
        measure_classification([encoder, encoder], [topics])
    with pytest.raises(UserError, match="at least 1 text per label, not 0"):
        measure_classification([encoder], [topics], few_shot=(0,))
    topics.train_labels = ["football"] * len(topics.train_labels)
    with pytest.raises(UserError, match="training texts of a single class, football"):
        measure_classification([encoder], [topics])


@needs_sets
@pytest.mark.slow
def test_the_linear_probe_equals_mtebs_task(encoder: TextEncoder) -> None:
    import mteb
    from datasets import Dataset, DatasetDict
    from sentence_transformers import SentenceTransformer

    from asterisk.models.resolve import resolve_model

    data = read_set(local_sets(EVALUATION)["Emotion"], max_test_texts=100)
    data.train_texts, data.train_labels = data.train_texts[::40], data.train_labels[::40]
    [ours] = measure_classification([encoder], [data], zero_shot=False, few_shot=())

    task = mteb.get_task("EmotionClassification")
    task.dataset = DatasetDict(
        {
            split: Dataset.from_dict({"text": texts, "label": [data.classes.index(label) for label in labels]})
            for split, texts, labels in (
                ("train", data.train_texts, data.train_labels),
                ("test", data.test_texts, data.test_labels),
            )
        }
    )
    task.data_loaded = True
    model = SentenceTransformer(resolve_model(TEACHER))
    [result] = mteb.evaluate(model, task, cache=None).task_results
    theirs = result.scores["test"][0]
    assert ours.accuracies == pytest.approx([100 * one["accuracy"] for one in theirs["scores_per_experiment"]])
    assert ours.macro_f1 == pytest.approx(100 * theirs["f1"])
