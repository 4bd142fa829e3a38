"""Whole values of keyferry's events as commands for any Redis or Valkey."""

# The CRC-64 at the end of what RESTORE takes (Jones, reflected).
CRC64 = []
for byte in range(256):
    for _ in range(8):
        byte = (byte >> 1) ^ (0x95AC9329AC4BC9B5 if byte & 1 else 0)
    CRC64.append(byte)
assert CRC64[1] == 0x7AD870C830358979


def crc64(data):
    crc = 0
    for byte in data:
        crc = CRC64[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def deadline(key, head):
    if head.HasField("expire_at_ms"):
        yield [b"PEXPIREAT", key, head.expire_at_ms]


def of_image(key, image):
    """What makes a key what an image says."""
    head = image.head
    if image.WhichOneof("value") == "text":
        return [[b"SET", key, image.text], *deadline(key, head)]
    # Type, value, version, checksum: what DUMP answers.
    payload = bytes([head.type]) + image.rdb + head.rdb_version.to_bytes(2, "little")
    payload += crc64(payload).to_bytes(8, "little")
    expire_at_ms = head.expire_at_ms if head.HasField("expire_at_ms") else 0
    return [[b"RESTORE", key, expire_at_ms, payload, b"REPLACE", b"ABSTTL"]]


class Parts:
    """Puts large values together, a key at a time."""

    def __init__(self):
        self.under_way = {}

    def take(self, place, key, part):
        """With its last part, what makes the key; None while more is to come."""
        if part.number == 0:
            self.under_way[place] = ([[b"DEL", key]], set())
        commands, groups = self.under_way[place]
        kind = part.WhichOneof("elements")
        if kind is not None:
            commands.extend(ELEMENTS[kind](key, part, groups))
        if not part.last:
            return None
        del self.under_way[place]
        return [*commands, *deadline(key, part.head)]


def text(key, part, _):
    yield [b"APPEND", key, part.text]


def items(key, part, _):
    # The type byte of an RDB file tells sets (2, 11, 20) from lists.
    verb = b"SADD" if part.head.type in (2, 11, 20) else b"RPUSH"
    yield [verb, key, *part.items.item]


def scores(key, part, _):
    pairs = zip(part.scores.score, part.scores.member)
    # repr gives a number that reads back as the same one.
    yield [b"ZADD", key, *(word for score, member in pairs for word in (repr(score), member))]


def fields(key, part, _):
    pairs = list(zip(part.fields.field, part.fields.value))
    yield [b"HSET", key, *(word for pair in pairs for word in pair)]
    for (field, _), expire_at_ms in zip(pairs, part.fields.expire_at_ms):
        if expire_at_ms:
            yield [b"HPEXPIREAT", key, expire_at_ms, b"FIELDS", 1, field]


def identity(of):
    return f"{of.ms}-{of.seq}"


def stream(key, part, groups):
    for entry in part.stream.entry:
        yield [b"XADD", key, identity(entry.id), *entry.content]
    if part.stream.HasField("meta"):
        meta = part.stream.meta
        if meta.length == 0:
            # Without entries nothing but a group makes a stream.
            yield [b"XGROUP", b"CREATE", key, b"none", 0, b"MKSTREAM"]
            yield [b"XGROUP", b"DESTROY", key, b"none"]
        yield [b"XSETID", key, identity(meta.last_id), b"ENTRIESADDED", meta.entries_added,
               b"MAXDELETEDID", identity(meta.max_deleted_id)]
    for group in part.stream.group:
        last = identity(group.last_delivered)
        if group.name not in groups:
            read = [b"ENTRIESREAD", group.entries_read] if group.HasField("entries_read") else []
            yield [b"XGROUP", b"CREATE", key, group.name, last, *read]
            groups.add(group.name)
        for consumer in group.consumer:
            yield [b"XGROUP", b"CREATECONSUMER", key, group.name, consumer.name]
        for pending in group.pending:
            owner = group.consumer[pending.consumer].name
            yield [b"XCLAIM", key, group.name, owner, 0, identity(pending.id), b"TIME", pending.delivered_ms,
                   b"RETRYCOUNT", pending.deliveries, b"FORCE", b"JUSTID", b"LASTID", last]


def opaque(key, _part, _groups):
    raise ValueError(f"key {key!r} is of a module: its value is known to that module only")


ELEMENTS = {"text": text, "items": items, "scores": scores, "fields": fields, "stream": stream, "opaque": opaque}
