"""No client of Kafka or Redis is made without its credentials, in whatever part of the code."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "stream"
AIOKAFKA = {"AIOKafkaProducer", "AIOKafkaConsumer", "AIOKafkaAdminClient", "AIOKafkaClient"}
SOURCES = {str(path.relative_to(PACKAGE)): path.read_text() for path in PACKAGE.rglob("*.py")}
TREES = {name: ast.parse(text) for name, text in SOURCES.items()}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call: the file, the name that is called, and the call."""
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func
                name = getattr(called, "attr", None) or getattr(called, "id", "")
                yield file, str(name), node


def takers() -> set[str]:
    """Classes that are given credentials, by a parameter or a field."""
    found = set()
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names = {
                    each.arg
                    for part in node.body
                    if isinstance(part, ast.FunctionDef) and part.name == "__init__"
                    for each in (*part.args.args, *part.args.kwonlyargs)
                }
                names |= {
                    part.target.id
                    for part in node.body
                    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
                }
                if "credentials" in names:
                    found.add(node.name)
    return found


def test_whoever_takes_credentials_is_given_them() -> None:
    wanted = takers()
    assert wanted >= {"KafkaAdmin", "KafkaLog", "DeadLetters", "ConsumerConfig", "Producer"}
    without = [
        f"{file}:{call.lineno} {name}"
        for file, name, call in calls()
        if name in wanted and "credentials" not in {keyword.arg for keyword in call.keywords}
    ]
    assert without == []


def test_clients_of_kafka_are_made_of_their_options_only() -> None:
    for file, name, call in calls():
        if name in AIOKAFKA:
            unpacked = [ast.unparse(k.value) for k in call.keywords if k.arg is None]
            assert unpacked, f"{file}:{call.lineno}"
            for text in unpacked:
                made = text.startswith("client_options(")
                kept = text.startswith("self.") and "**client_options(" in SOURCES[file]
                assert made or kept, f"{file}:{call.lineno} {text}"


def test_clients_of_redis_are_made_in_one_place() -> None:
    links = {file for file, name, _ in calls() if name == "Link"}
    clients = {file for file, name, _ in calls() if name in ("from_url", "Redis", "RedisCluster")}
    assert links == {"redis_access.py"}
    assert clients == {"live/link.py"}
