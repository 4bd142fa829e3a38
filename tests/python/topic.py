"""Reads a topic of keyferry's to its end with a stock Kafka client and stock protobuf.

`events` gives each event that counts once, whole, and in the order of the source: what a fenced writer
sent, what comes twice, and snapshots made for somebody else are left out; fragments are put together;
partitions are merged by position. All of it is held in memory: a reader of a large topic applies while
it reads, and waits at barriers instead.
"""

import heapq
import json

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

SCHEMA = 1
# Nothing comes for so long: something is wrong.
PATIENCE_S = 60.0


class Fences:
    """Which writer's records count, from the notes in TOPIC.meta, read in order."""

    def __init__(self):
        self.claimed, self.table = 0, []

    def note(self, key, value):
        if key == b"lease":
            self.claimed = max(self.claimed, json.loads(value)["number"])
        elif key.startswith(b"fence/"):
            note = json.loads(value)
            if note["lease"] >= self.claimed and note["lease"] > self.newest():
                self.table = note["before"] + [{"lease": note["lease"], "at": note["at"]}]

    def newest(self):
        return self.table[-1]["lease"] if self.table else 0

    def counts(self, partition, offset, lease):
        before = [fence["lease"] for fence in self.table if fence["at"][partition] < offset]
        return bool(before) and before[-1] == lease


def records(settings, topic):
    """All records of a topic from its beginning to what is its end now, those of a partition in order."""
    ours = {"group.id": "rebuild", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer(settings | ours)
    try:
        described = consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic]
        if described.error is not None:
            raise KafkaException(described.error)
        left = set(described.partitions)
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in left])
        while left:
            record = consumer.poll(PATIENCE_S)
            if record is None:
                raise TimeoutError(f"nothing of {topic} for {PATIENCE_S} s")
            if record.error() is None:
                yield record
            elif record.error().code() == KafkaError._PARTITION_EOF:
                left.discard(record.partition())
            else:
                raise KafkaException(record.error())
    finally:
        consumer.close()


def read(settings, topic):
    """The records that count, by partition: (offset, value)."""
    everything = list(records(settings, topic))
    # Read after the records: so whoever wrote one of them has noted where its time began.
    fences = Fences()
    for note in records(settings, topic + ".meta"):
        if note.value() is not None:
            fences.note(note.key() or b"", note.value())
    partitions = {}
    for record in everything:
        headers = dict(record.headers() or [])
        lease = int(headers.get("kf-lease", 0))
        if lease >> 32:
            raise RuntimeError("the source is a cluster: this reader knows one shard only")
        is_fence = headers.get("kf-kind") == b"fence"
        if not is_fence and fences.counts(record.partition(), record.offset(), lease):
            partitions.setdefault(record.partition(), []).append((record.offset(), record.value()))
    return partitions


# CRC-32C, which guards what fragments carry.
CRC32C = []
for byte in range(256):
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    CRC32C.append(byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


class Assembly:
    """Puts the fragments of one partition together."""

    def __init__(self, change):
        self.change, self.pieces = change, []

    def take(self, value):
        """The whole event that this record is, or completes; None while more is to come, and where it is not for us."""
        event = self.change.ChangeEvent.FromString(value)
        if is_for_somebody_else(event):
            return None
        if event.WhichOneof("body") != "fragment":
            self.pieces = []
            return event
        piece = event.fragment
        if piece.number == 0:
            self.pieces = []
        if piece.number != len(self.pieces):
            return None  # the rest of one that was begun anew
        self.pieces.append(piece.data)
        if len(self.pieces) < piece.count:
            return None
        data, self.pieces = b"".join(self.pieces), []
        if len(data) != piece.total_bytes or crc32c(data) != piece.crc32c:
            raise ValueError(f"a damaged event of {len(data)} bytes")
        return self.change.ChangeEvent.FromString(data)


def is_for_somebody_else(event):
    """Whether it belongs to a snapshot made on demand."""
    match event.WhichOneof("body"):
        case "image":
            return event.image.head.snapshot_id != 0
        case "image_part":
            return event.image_part.head.snapshot_id != 0
        case "fragment":
            return event.fragment.snapshot_id != 0
        case "control":
            kind = event.control.WhichOneof("kind")
            ours = ("snapshot_begin", "snapshot_end", "function")
            return kind in ours and getattr(event.control, kind).snapshot_id != 0
    return False


def once(change, partition, values):
    """The events of one partition that were not there before, in order: (position, partition, event)."""
    assembly, last = Assembly(change), None
    for _, value in values:
        event = assembly.take(value)
        if event is None:
            continue
        if event.schema > SCHEMA:
            raise ValueError(f"schema {event.schema} is newer than {SCHEMA}: fields may mean something else")
        if event.WhichOneof("body") is None:
            raise ValueError("an event of a kind that this schema does not have: not to be skipped")
        at = event.position
        if at.shard != 0:
            raise ValueError("several shards: this reader knows sources of one")
        position = (at.epoch, at.offset, at.index)
        if last is None or position > last:
            last = position
            yield position, partition, event


def events(change, settings, topic):
    """All events in the source's order. `change` is what protoc made of change.proto."""
    partitions = read(settings, topic)
    runs = [once(change, number, values) for number, values in sorted(partitions.items())]
    return heapq.merge(*runs, key=lambda entry: entry[:2])
