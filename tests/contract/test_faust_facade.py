"""What the engine's `faust`, `group_consumer` and `batches` rely on in Faust, mode and aiokafka.

Two kinds of check: names and signatures that are overridden or reached into, and the source of
functions whose behaviour is built upon. Where one fails, read again what the message names, see
whether the façade still does what it says, and only then write down the new signature or digest.
"""

import hashlib
import importlib
import inspect
from typing import Any

import pytest

SIGNATURES = {
    # overridden
    "faust.app.base:App._new_transport": "(self)",
    "faust.app.base:App._create_directories": "(self)",
    "faust.app.base:BootStrategy.kafka_consumer": "(self)",
    "faust.serializers.schemas:Schema.compile": (
        "(self, app, *, on_key_decode_error, on_value_decode_error, default_propagate)"
    ),
    "faust.tables.manager:TableManager.on_start": "(self)",
    "faust.tables.recovery:Recovery._resume_streams": "(self, generation_id)",
    "faust.transport.consumer:Consumer._drain_messages": "(self, fetcher)",
    "faust.transport.consumer:Consumer._new_offset": "(self, tp)",
    "faust.transport.consumer:Consumer.on_buffer_drop": "(self, tp)",
    "faust.transport.consumer:Consumer.on_partitions_assigned": "(self, assigned, generation_id)",
    "faust.transport.consumer:Consumer.on_partitions_revoked": "(self, revoked)",
    "faust.transport.consumer:Consumer.verify_all_partitions_active": "(self)",
    "faust.transport.consumer:ThreadDelegateConsumer.seek_to_committed": "(self)",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_worker_consumer": (
        "(self, transport)"
    ),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.close": "(self)",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_thread_stop": "(self)",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.verify_event_path": "(self, now, tp)",
    "faust.transport.drivers.aiokafka:Consumer._new_consumer_thread": "(self)",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_start": "(self)",
    "mode.threads:ServiceThread.on_crash": "(self, msg, *fmt, **kwargs)",
    "mode.threads:WorkerThread.__init__": "(self, service, **kwargs)",
    "mode.threads:WorkerThread.run": "(self)",
    # called
    "aiokafka.client:AIOKafkaClient.close": "(self)",
    "aiokafka.consumer.consumer:AIOKafkaConsumer.beginning_offsets": "(self, partitions)",
    "aiokafka.consumer.consumer:AIOKafkaConsumer.commit": "(self, offsets)",
    "aiokafka.consumer.consumer:AIOKafkaConsumer.end_offsets": "(self, partitions)",
    "aiokafka.consumer.consumer:AIOKafkaConsumer.seek": "(self, partition, offset)",
    "aiokafka.consumer.consumer:AIOKafkaConsumer.stop": "(self)",
    "aiokafka.consumer.fetcher:FetchResult._update_position": "(self)",
    "aiokafka.consumer.fetcher:FetchResult.check_assignment": "(self, tp)",
    "aiokafka.consumer.fetcher:Fetcher._create_fetch_waiter": "(self)",
    "aiokafka.consumer.fetcher:Fetcher._notify": "(self, future)",
    "aiokafka.consumer.fetcher:PartitionRecords._consume_aborted_up_to": "(self, batch_offset)",
    "aiokafka.consumer.fetcher:PartitionRecords._contains_abort_marker": "(self, next_batch)",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.check_errors": "(self)",
    "faust.app.base:App.create_event": "(self, key, value, headers, message)",
    "faust.app.base:App.on_rebalance_end": "(self)",
    "faust.streams:Stream.events": "(self)",
    "faust.streams:Stream.noack": "(self)",
    "faust.transport.consumer:Consumer.resume_flow": "(self)",
    "faust.transport.consumer:Consumer.resume_partitions": "(self, tps)",
    "faust.transport.consumer:Consumer.stop_flow": "(self)",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._ensure_consumer": "(self)",
    "faust.types.tuples:Message.__init__": (
        "(self, topic, partition, offset, timestamp, timestamp_type, headers, key, value, checksum,"
        " serialized_key_size, serialized_value_size, tp, time_in, time_out, time_total,"
        " generation_id)"
    ),
    "mode.services:Service.wait_first": "(self, *coros, timeout)",
}

DIGESTS = {
    # target: (digest of its source, what is built upon it)
    "faust.tables.recovery:Recovery._restart_recovery": (
        "ce498dea3665",
        "without tables it calls _resume_streams once per signal, and waits for the next signal",
    ),
    "faust.tables.recovery:Recovery._resume_streams": (
        "a480d89a3366",
        "replaced: _Recovery does all of it, in a safe order",
    ),
    "faust.tables.recovery:Recovery.on_rebalance": (
        "5d2415ebb7a0",
        "it signals a recovery for the generation that is current, for no other",
    ),
    "faust.tables.manager:TableManager.on_start": (
        "c39281f83579",
        "replaced, without its sleep",
    ),
    "faust.tables.manager:TableManager._update_channels": (
        "f1159fe206cd",
        "it lets the conductor subscribe",
    ),
    "faust.tables.manager:TableManager.on_rebalance": (
        "150b25e1597c",
        "it ends with the recovery's on_rebalance",
    ),
    "faust.tables.manager:TableManager.recovery": (
        "8df097817963",
        "replaced, to make our own Recovery",
    ),
    "faust.app.base:App.agent": (
        "f188265b7c8f",
        "replaced by add_agent: without sinks, and without attaching it to a module",
    ),
    "faust.app.base:App._on_partitions_revoked": (
        "9cfc05cff3a1",
        "it stops the flow, clears the agents' queues and waits for no agent",
    ),
    "faust.app.base:App._on_partitions_assigned": (
        "bc7efe5aaee0",
        "it pauses what is assigned and ends with the tables' on_rebalance",
    ),
    "faust.app.base:App._stop_consumer": (
        "f07a854b2b9c",
        "it stops without waiting for agents when stream_wait_empty is off",
    ),
    "faust.app.base:App.on_init_dependencies": (
        "5e671cf9214f",
        "it starts what the boot strategy lists",
    ),
    "faust.app.base:App.on_started": (
        "3a6e78458e5d",
        "it waits for the recovery; run() judges its end",
    ),
    "faust.app.base:BootStrategy.server": (
        "a61017d85503",
        "_Boot leaves out producer, web server, sensors and leader election",
    ),
    "faust.transport.consumer:Consumer._drain_messages": (
        "3f1b608ae610",
        "replaced: its comparison with the last read offset loses records after a seek",
    ),
    "faust.transport.consumer:Consumer.on_partitions_revoked": (
        "91da4e208b27",
        "it is called on our loop before App._on_partitions_revoked",
    ),
    "faust.transport.consumer:Consumer.on_partitions_assigned": (
        "405c7394beca",
        "it makes the assigned partitions active before the app hears of them",
    ),
    "faust.transport.consumer:Consumer.stop_flow": (
        "f4632467bb48",
        "it sets suspend_flow and clears can_resume_flow",
    ),
    "faust.transport.consumer:Consumer.resume_flow": (
        "198c020d0920",
        "it clears suspend_flow and sets can_resume_flow",
    ),
    "faust.transport.consumer:Consumer.on_buffer_full": (
        "d5416a52585a",
        "a full agent's partition leaves the active set",
    ),
    "faust.transport.consumer:Consumer.on_buffer_drop": (
        "fb14fc302d93",
        "and comes back",
    ),
    "faust.transport.consumer:Consumer.resume_partitions": (
        "b7541502594e",
        "what it adds to the active set is fetched",
    ),
    "faust.transport.consumer:Consumer.on_stop": (
        "edcda9684a7f",
        "it commits nothing: nothing is acknowledged",
    ),
    "faust.transport.consumer:ConsumerThread.on_partitions_revoked": (
        "a459c6266a4f",
        "the group waits until our loop has dealt with it",
    ),
    "faust.transport.consumer:ConsumerThread.on_partitions_assigned": (
        "b099e82659ae",
        "the group waits until our loop has dealt with it",
    ),
    "faust.transport.consumer:Fetcher._fetcher": (
        "91417a3445e7",
        "it runs _drain_messages until it ends",
    ),
    "faust.transport.drivers.aiokafka:ConsumerRebalanceListener.on_partitions_assigned": (
        "527221f84425",
        "it sets app.consumer_generation_id before our loop hears of it",
    ),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_consumer": (
        "841b788a9700",
        "it calls _create_worker_consumer",
    ),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_start": (
        "62a726b8a143",
        "it creates and starts the consumer",
    ),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_thread_stop": (
        "c0c5be8526f4",
        "replaced, with time-outs",
    ),
    "faust.transport.conductor:Conductor._compile_message_handler": (
        "df43338edac5",
        "it looks up a partition's callback; one that is not assigned is a KeyError",
    ),
    "faust.transport.conductor:Conductor.on_partitions_assigned": (
        "b0cc708496c1",
        "it renews those callbacks",
    ),
    "faust.transport.conductor:ConductorCompiler.build": (
        "7c9de054072d",
        "it waits for the flow, decodes by the topic's schema and queues",
    ),
    "faust.streams:Stream.noack": (
        "a87d49297ac6",
        "it leaves the acknowledgement to us",
    ),
    "faust.agents.agent:Agent._execute_actor": (
        "1bbf41eb19bc",
        "a crashed actor is started anew: nothing may be raised into it",
    ),
    "mode.services:Service.crash": (
        "7eb94b122c00",
        "it reaches the app, whose crash_reason run() looks at",
    ),
    "mode.services:Service._execute_task": (
        "60f539a1611c",
        "a task that raises crashes its service",
    ),
    "mode.threads:ServiceThread._serve": (
        "c57faf6f78af",
        "a consumer that fails to start crashes the app",
    ),
    "aiokafka.consumer.fetcher:PartitionRecords.__init__": (
        "1ead40d4d86b",
        "what batches.unpack reads",
    ),
    "aiokafka.consumer.fetcher:PartitionRecords._unpack_records": (
        "c3fd1ef2c6b4",
        "replaced by batches.unpack",
    ),
    "aiokafka.consumer.fetcher:FetchResult.check_assignment": (
        "afe5a56c313b",
        "it refuses what was fetched for another position",
    ),
    "aiokafka.consumer.fetcher:FetchResult._update_position": (
        "f089e23860e2",
        "it moves the position to next_fetch_offset",
    ),
    "aiokafka.consumer.fetcher:Fetcher.fetched_records": (
        "14a61876338b",
        "replaced by batches.drain and group_consumer.fetch",
    ),
    "aiokafka.consumer.fetcher:Fetcher._fetch_requests_routine": (
        "dc858e512a80",
        "it fetches on when _wait_consume_future is notified",
    ),
    "aiokafka.consumer.fetcher:Fetcher._get_actions_per_node": (
        "838e25a11291",
        "a partition with something in _records is not fetched",
    ),
    "aiokafka.consumer.fetcher:Fetcher._proc_fetch_request": (
        "4ecd0c76ab78",
        "it drops answers for another position; without a reset strategy it sets an error",
    ),
    "aiokafka.consumer.fetcher:Fetcher._update_fetch_positions": (
        "590f14eaec25",
        "it does not touch a position that was sought to",
    ),
    "aiokafka.consumer.subscription_state:SubscriptionState.fetch_context": (
        "3093a3447eea",
        "a fetch counts as a poll",
    ),
    "aiokafka.consumer.group_coordinator:GroupCoordinator._push_error_to_user": (
        "cc740081b9ee",
        "coordination stands still until check_errors is called",
    ),
    "aiokafka.consumer.group_coordinator:GroupCoordinator.check_errors": (
        "6dd2dfe9d307",
        "it raises what stopped the coordination",
    ),
    "aiokafka.consumer.group_coordinator:GroupCoordinator._on_join_prepare": (
        "313a71c1f68a",
        "it waits for the revocation to be dealt with",
    ),
    "aiokafka.consumer.group_coordinator:GroupCoordinator._maybe_leave_group": (
        "ca66504c7be5",
        "a static member does not leave",
    ),
    "aiokafka.consumer.group_coordinator:GroupCoordinator.ensure_active_group": (
        "7a91342c8e8a",
        "it does not join again while nothing polls",
    ),
}

ATTRIBUTES = {
    "aiokafka.consumer.consumer:AIOKafkaConsumer": (
        "_client",
        "_closed",
        "_coordinator",
        "_fetcher",
        "_subscription",
    ),
    "aiokafka.consumer.fetcher:FetchError": ("_error",),
    "aiokafka.consumer.fetcher:FetchResult": ("_partition_records",),
    "aiokafka.consumer.fetcher:Fetcher": (
        "_closed",
        "_fetch_waiters",
        "_records",
        "_subscriptions",
        "_wait_consume_future",
    ),
    "aiokafka.consumer.fetcher:PartitionRecords": (
        "_aborted_producers",
        "_check_crcs",
        "_isolation_level",
        "_records",
        "_tp",
        "next_fetch_offset",
    ),
    "aiokafka.consumer.group_coordinator:GroupCoordinator": (
        "_coordination_task",
        "_pending_exception",
    ),
    "aiokafka.consumer.subscription_state:TopicPartitionState": ("highwater", "lso"),
    "faust.app.base:App": ("consumer_generation_id", "flow_control"),
    "faust.tables.recovery:Recovery": ("completed",),
    "faust.transport.consumer:Consumer": (
        "_active_partitions",
        "can_resume_flow",
        "flow_active",
        "suspend_flow",
    ),
    "mode.services:Service": ("_futures", "crash_reason"),
    "mode.threads:QueueServiceThread": ("_method_queue",),
    "mode.threads:ServiceThread": ("thread_loop",),
}


def find(target: str) -> Any:
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return getattr(found, "fun", found)  # a task of a mode service wraps its function


def shape(function: Any) -> str:
    """Parameter names, without types and defaults."""
    parts, starred = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred |= parameter.kind in {parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL}
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        parts.append(
            next((s for kind, s in stars.items() if kind is parameter.kind), "") + parameter.name
        )
    return f"({', '.join(parts)})"


def digest(function: Any) -> str:
    source = inspect.getsource(getattr(function, "fget", function))
    return hashlib.sha256("".join(source.split()).encode()).hexdigest()[:12]


@pytest.mark.parametrize("target", SIGNATURES)
def test_signature(target: str) -> None:
    try:
        found = shape(find(target))
    except AttributeError:
        pytest.fail(f"{target} is gone: see who calls or overrides it in stream/engine")
    assert found == SIGNATURES[target], f"{target}: see who calls or overrides it in stream/engine"


@pytest.mark.parametrize("target", DIGESTS)
def test_source(target: str) -> None:
    expected, why = DIGESTS[target]
    assert digest(find(target)) == expected, f"{target} has changed. Read it again for this: {why}"


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in ATTRIBUTES.items() for name in names]
)
def test_attribute(owner: str, name: str) -> None:
    bases = [base for base in find(owner).__mro__ if base is not object]
    held = any(name in vars(base) or name in base.__annotations__ for base in bases)
    set_by_itself = any(f"self.{name}" in inspect.getsource(base) for base in bases)
    assert held or set_by_itself, f"{owner}.{name} is gone: see who reads it in stream/engine"
