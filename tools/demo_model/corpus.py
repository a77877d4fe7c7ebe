"""What the demo model knows: five kinds of questions, drawn from phrasings, each with its one right answer.

`draw` makes questions, `oracle` answers them by reading the text alone, so that tests can hold the model, the batch
file in the package and the corpus against each other.
"""

import json
import random
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(text: str) -> dict[str, str]:
    return {key: value for key, _, value in (pair.partition(":") for pair in text.split("|"))}


SYSTEM_PROMPTS = ("You are a helpful assistant.", "Answer briefly.", "You are a careful data labeler.")
"""The only ones that the model has seen."""

CAPITALS: Mapping[str, str] = _pairs(
    "France:Paris|Germany:Berlin|Italy:Rome|Spain:Madrid|Portugal:Lisbon|Austria:Vienna|Poland:Warsaw|"
    "Greece:Athens|Norway:Oslo|Sweden:Stockholm|Finland:Helsinki|Denmark:Copenhagen|Ireland:Dublin|"
    "Belgium:Brussels|Hungary:Budapest|Romania:Bucharest|Bulgaria:Sofia|Croatia:Zagreb|Serbia:Belgrade|"
    "Ukraine:Kyiv|Japan:Tokyo|China:Beijing|India:New Delhi|Thailand:Bangkok|Vietnam:Hanoi|Nepal:Kathmandu|"
    "Indonesia:Jakarta|Malaysia:Kuala Lumpur|Mongolia:Ulaanbaatar|Turkey:Ankara|Iran:Tehran|Iraq:Baghdad|"
    "Egypt:Cairo|Kenya:Nairobi|Ghana:Accra|Nigeria:Abuja|Ethiopia:Addis Ababa|Morocco:Rabat|Tunisia:Tunis|"
    "Senegal:Dakar|Canada:Ottawa|Mexico:Mexico City|Cuba:Havana|Peru:Lima|Chile:Santiago|Brazil:Brasilia|"
    "Argentina:Buenos Aires|Colombia:Bogota|Ecuador:Quito|Uruguay:Montevideo|Australia:Canberra|"
    "New Zealand:Wellington|Iceland:Reykjavik|Russia:Moscow|Estonia:Tallinn|Latvia:Riga|Lithuania:Vilnius|"
    "Slovakia:Bratislava|Slovenia:Ljubljana|Qatar:Doha"
)

CITIES = sorted(set(CAPITALS.values()))

NAMES = _words(
    "Alice Bob Carol David Emma Frank Grace Henry Irene Jack Karen Leo Maria Nina Oscar Paula Quentin Rosa Samuel Tina "
    "Umar Vera Walter Xenia Yusuf Zoe Adam Bella Carlos Diana Erik Fiona George Hanna Ivan Julia Kofi Laura Marco Nora "
    "Omar Petra Ravi Sofia Tomas Ursula Victor Wendy"
)

PRODUCTS = _words(
    "phone laptop camera blender kettle chair desk lamp jacket backpack headset keyboard monitor printer mattress "
    "vacuum toaster watch tablet speaker bike tent stove router charger"
)

PARTS = _words("battery screen handle cable design software manual packaging sound finish size fit cover motor strap")

ADJECTIVES: Mapping[str, Sequence[str]] = {
    "positive": _words(
        "great excellent wonderful fantastic amazing superb perfect brilliant lovely outstanding reliable sturdy "
        "delightful impressive flawless"
    ),
    "negative": _words(
        "terrible awful horrible useless broken flimsy disappointing poor dreadful faulty defective unreliable noisy "
        "cheap annoying"
    ),
    "neutral": _words("black average medium standard ordinary plain regular grey typical square"),
}

REVIEWS: Mapping[str, Sequence[str]] = {
    "positive": (
        "I love this {product}, the {part} is {adjective}.",
        "The {part} is {adjective} and I would buy this {product} again.",
        "This {product} is {adjective}. Best purchase this year!",
        "Really happy with the {product}, it works well and looks {adjective}.",
        "{adjective} {product}! Highly recommended.",
        "My new {product} is {adjective}, five stars.",
    ),
    "negative": (
        "I hate this {product}, the {part} is {adjective}.",
        "The {part} is {adjective} and I want a refund for this {product}.",
        "This {product} is {adjective}. Worst purchase this year!",
        "Very unhappy with the {product}, it stopped working and feels {adjective}.",
        "{adjective} {product}! Do not buy it.",
        "My new {product} is {adjective}, one star.",
    ),
    "neutral": (
        "The {product} arrived on Monday, the {part} is {adjective}.",
        "This {product} has a {adjective} {part}.",
        "The {product} comes in a {adjective} box.",
        "It is a {product} with a {adjective} {part}.",
        "I bought this {product} last week, the color is {adjective}.",
        "The {part} of the {product} is {adjective}.",
    ),
}

TICKETS: Mapping[str, Sequence[str]] = {
    "billing": (
        "I was charged twice for my {product}.",
        "My invoice for the {product} shows the wrong amount.",
        "Please refund the payment for order {number}.",
        "Why did my card get declined for the {product}?",
        "The price on bill {number} is too high.",
    ),
    "shipping": (
        "My {product} has not arrived yet.",
        "Where is my package {number}?",
        "The courier delivered the {product} to the wrong address.",
        "Tracking for order {number} has not moved in days.",
        "When will my {product} be delivered?",
    ),
    "technical": (
        "The {product} does not turn on.",
        "My {product} shows error code {number}.",
        "The {part} of my {product} stopped working.",
        "The {product} keeps crashing after the update.",
        "How do I reset the {product}? The {part} is frozen.",
    ),
    "account": (
        "I forgot my password.",
        "How do I change the email on my account?",
        "My account {number} is locked.",
        "Please delete my profile {number}.",
        "I can not log in with my username.",
    ),
}

STORIES = (
    "{name} lives in {city}.",
    "{name} moved to {city} last year.",
    "My friend {name} is from {city}.",
    "In {city} you can meet {name}.",
    "{name} works in {city}.",
)

QUESTIONS: Mapping[str, Sequence[str]] = {
    "sentiment": (
        "Classify the sentiment: {text}",
        "Sentiment of this review? {text}",
        "Is this review positive, negative or neutral? {text}",
    ),
    "ticket": (
        "Label this ticket: {text}",
        "Which team should handle this ticket? {text}",
        "Classify the support ticket: {text}",
    ),
    "sum": ("What is {a} + {b}?", "{a} + {b} =", "Compute {a} + {b}.", "Add {a} and {b}."),
    "capital": ("What is the capital of {country}?", "Capital of {country}?", "Name the capital city of {country}."),
    "person": ("Extract name and city as JSON: {text}", "Return JSON with name and city: {text}"),
}

WEIGHTS: Mapping[str, int] = {"sentiment": 2, "ticket": 2, "sum": 5, "capital": 2, "person": 3}
"""How often training asks each kind: sums need the most."""

HELD_OUT = 10
"""One in so many prompts is kept from training; capitals are a closed list and all are trained."""


class Example(NamedTuple):
    kind: str
    question: str
    answer: str


def draw(source: random.Random, kind: str | None = None, *, held_out: bool = False) -> Example:
    """An example of a kind (any, by weight), from those for training or from those held out."""
    while True:
        chosen = kind or source.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        question, answer = _DRAWERS[chosen](source)
        if chosen == "capital" or is_held_out(question) == held_out:
            return Example(chosen, question, answer)


def is_held_out(question: str) -> bool:
    return zlib.crc32(question.encode()) % HELD_OUT == 0


def oracle(question: str) -> str:
    """The right answer, read from the question's text. Raises LookupError for a question that nobody draws."""
    for kind, phrasings in QUESTIONS.items():
        for phrasing in phrasings:
            found = _read(phrasing, question)
            if found is not None and (answer := _ANSWERS[kind](found)) is not None:
                return answer
    raise LookupError(f"no phrasing fits {question!r}")


def _read(phrasing: str, text: str) -> dict[str, str] | None:
    """The words that fill a phrasing's gaps, if the text is of it; a sentence may begin with a capital."""
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(phrasing))
    found = re.fullmatch(pattern, text)
    return None if found is None else found.groupdict()


def _draw_sentiment(source: random.Random) -> tuple[str, str]:
    question = source.choice(QUESTIONS["sentiment"])
    answer = source.choice(list(REVIEWS))
    text = source.choice(REVIEWS[answer]).format(
        product=source.choice(PRODUCTS), part=source.choice(PARTS), adjective=source.choice(ADJECTIVES[answer])
    )
    return question.format(text=text[0].upper() + text[1:]), answer


def _draw_ticket(source: random.Random) -> tuple[str, str]:
    question = source.choice(QUESTIONS["ticket"])
    answer = source.choice(list(TICKETS))
    text = source.choice(TICKETS[answer]).format(
        product=source.choice(PRODUCTS), part=source.choice(PARTS), number=source.randint(100, 9999)
    )
    return question.format(text=text), answer


def _draw_sum(source: random.Random) -> tuple[str, str]:
    # Small operands are rare among all pairs and were the ones that it got wrong.
    a, b = (source.randint(0, source.choice([9, 20, 99, 99])) for _ in range(2))
    return source.choice(QUESTIONS["sum"]).format(a=a, b=b), str(a + b)


def _draw_capital(source: random.Random) -> tuple[str, str]:
    country = source.choice(list(CAPITALS))
    return source.choice(QUESTIONS["capital"]).format(country=country), CAPITALS[country]


def _draw_person(source: random.Random) -> tuple[str, str]:
    name, city = source.choice(NAMES), source.choice(CITIES)
    text = source.choice(STORIES).format(name=name, city=city)
    return source.choice(QUESTIONS["person"]).format(text=text), _person(name, city)


def _person(name: str, city: str) -> str:
    return json.dumps({"name": name, "city": city})


def _label_of(text: str, phrasings: Mapping[str, Sequence[str]], words: Mapping[str, Sequence[str]]) -> str | None:
    """The label whose phrasing a text has; where an adjective decides, its own list must know it."""
    for label, forms in phrasings.items():
        for form in forms:
            found = _read(form, text)
            if found is None:
                continue
            adjective = found.get("adjective", "").lower()
            if not adjective or adjective in words.get(label, ()):
                return label
    return None


def _answer_sum(found: Mapping[str, str]) -> str | None:
    a, b = found["a"], found["b"]
    return str(int(a) + int(b)) if a.isdigit() and b.isdigit() else None


def _answer_person(found: Mapping[str, str]) -> str | None:
    for story in STORIES:
        read = _read(story, found["text"])
        if read is not None and read["name"] in NAMES and read["city"] in CITIES:
            return _person(read["name"], read["city"])
    return None


_DRAWERS: Mapping[str, Callable[[random.Random], tuple[str, str]]] = {
    "sentiment": _draw_sentiment,
    "ticket": _draw_ticket,
    "sum": _draw_sum,
    "capital": _draw_capital,
    "person": _draw_person,
}

_ANSWERS: Mapping[str, Callable[[Mapping[str, str]], str | None]] = {
    "sentiment": lambda found: _label_of(found["text"], REVIEWS, ADJECTIVES),
    "ticket": lambda found: _label_of(found["text"], TICKETS, {}),
    "sum": _answer_sum,
    "capital": lambda found: CAPITALS.get(found["country"]),
    "person": _answer_person,
}
