"""Rebuilds a data set from a topic of keyferry's alone: with a Kafka client, protobuf, and no code of keyferry's.

    rebuild.py PROTO_DIR BROKERS TOPIC HOST:PORT [NAME=VALUE...]

PROTO_DIR is the folder `proto` of keyferry, NAME=VALUE further properties of the Kafka client. What the topic says
up to its end becomes, side by side,

- the data of the empty server at HOST:PORT, a Valkey from 8.1 on. It is in import mode meanwhile: what has expired
  since it was written stays until all is read, for a later event may have renewed it;
- Python's own values, of those keys that need no more than this file knows. They are printed, a JSON object each:
  db, key, type, value, expires_at_ms; bytes as hexadecimal digits. A key that needs more is of type "other".
"""

import json
import socket
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import topic
import values
from read_events import generate


class Server:
    """A data set in a server, by its own commands."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.replies = self.socket.makefile("rb")
        self.db = 0
        self.run([[b"CONFIG", b"SET", b"import-mode", b"yes"], [b"CLIENT", b"IMPORT-SOURCE", b"ON"]])

    def run(self, commands):
        """Runs commands, and answers the replies; an error ends the program."""
        encoded = bytearray()
        for command in commands:
            words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
            encoded += b"*%d\r\n" % len(words)
            for word in words:
                encoded += b"$%d\r\n%b\r\n" % (len(word), word)
        self.socket.sendall(encoded)
        return [self.reply() for _ in commands]

    def reply(self):
        line = self.replies.readline()
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+" | b":":
                return rest
            case b"$":
                return self.replies.read(int(rest) + 2)[:-2] if int(rest) >= 0 else None
            case b"*":
                return [self.reply() for _ in range(int(rest))]
        raise RuntimeError(f"the server answered {line!r}")

    def at_once(self, changes):
        """Changes that appear together: (db, command)."""
        commands = []
        for db, command in changes:
            if db != self.db:
                commands.append([b"SELECT", db])
                self.db = db
            commands.append(command)
        if len(changes) > 1:
            commands = [[b"MULTI"], *commands, [b"EXEC"]]
        self.run(commands)

    def clear(self):
        self.run([[b"FLUSHALL"], [b"FUNCTION", b"FLUSH"]])

    def flush(self, db, is_all):
        self.at_once([(db, [b"FLUSHALL"] if is_all else [b"FLUSHDB"])])

    def swap(self, first, second):
        self.run([[b"SWAPDB", first, second]])

    def function(self, args):
        self.run([args])

    def finish(self):
        self.run([[b"CONFIG", b"SET", b"import-mode", b"no"]])


class Values:
    """Strings, lists, sets, hashes and sorted sets in Python's own."""

    def __init__(self):
        self.dbs, self.deadlines = defaultdict(dict), defaultdict(dict)

    def image(self, db, key, commands):
        """What an image or its parts came to. RESTORE is beyond this file."""
        self.delete(db, key)
        for command in commands:
            if command[0] != b"DEL":
                self.command(db, command, [key], None)

    def command(self, db, command, written, effect):
        if effect == "EFFECT_DELETE" and command[0].upper() in (b"DEL", b"UNLINK"):
            for key in written:
                self.delete(db, key)
            return
        verb, key, *args = command
        words = [word.upper() for word in args if isinstance(word, bytes)]
        if verb.upper() == b"MOVE":
            self.forget(int(args[0]), key)
        elif verb.upper() == b"COPY" and b"DB" in words[1:]:
            self.forget(int(args[words.index(b"DB", 1) + 1]), args[0])
        known = getattr(self, verb.decode().lower(), None) if verb in KNOWN else None
        if known is None or known(db, key, args) is False:
            for key in written:
                self.forget(db, key)

    def forget(self, db, key):
        """What it is from now on, this file cannot tell."""
        self.delete(db, key)
        self.dbs[db][key] = ("other", None)

    def delete(self, db, key):
        self.dbs[db].pop(key, None)
        self.deadlines[db].pop(key, None)

    def of(self, db, key, kind, empty):
        """The value of a key to work on; None where the key is not known, or of another type."""
        found = self.dbs[db].setdefault(key, (kind, empty))
        return found[1] if found[0] == kind else None

    def set(self, db, key, args):
        value, *options = args
        if options and options[0] not in (b"PXAT", b"KEEPTTL"):
            return False
        if options[:1] != [b"KEEPTTL"]:
            self.deadlines[db].pop(key, None)
        if options[:1] == [b"PXAT"]:
            self.deadlines[db][key] = int(options[1])
        if self.is_other(db, key) and options[:1] == [b"KEEPTTL"]:
            return False
        self.dbs[db][key] = ("string", bytearray(value))
        return True

    def is_other(self, db, key):
        return self.dbs[db].get(key, ("",))[0] == "other"

    def append(self, db, key, args):
        value = self.of(db, key, "string", bytearray())
        if value is None:
            return False
        value += args[0]
        return True

    def incrby(self, db, key, args):
        value = self.of(db, key, "string", bytearray(b"0"))
        if value is None:
            return False
        value[:] = str(int(value) + int(args[0])).encode()
        return True

    def incr(self, db, key, args):
        return self.incrby(db, key, [b"1"])

    def rpush(self, db, key, args):
        value = self.of(db, key, "list", [])
        if value is None:
            return False
        value.extend(args)
        return True

    def sadd(self, db, key, args):
        value = self.of(db, key, "set", set())
        if value is None:
            return False
        value.update(args)
        return True

    def hset(self, db, key, args):
        value = self.of(db, key, "hash", {})
        if value is None:
            return False
        value.update(zip(args[::2], args[1::2]))
        return True

    def zadd(self, db, key, args):
        if isinstance(args[0], bytes) and args[0].upper() in CONDITIONS:
            return False
        value = self.of(db, key, "zset", {})
        if value is None:
            return False
        value.update((member, float(score)) for score, member in zip(args[::2], args[1::2]))
        return True

    def pexpireat(self, db, key, args):
        if len(args) > 1 or self.is_other(db, key):
            return False
        if key in self.dbs[db]:
            self.deadlines[db][key] = int(args[0])
        return True

    def persist(self, db, key, _):
        if self.is_other(db, key):
            return False
        self.deadlines[db].pop(key, None)
        return True

    def clear(self):
        self.dbs.clear()
        self.deadlines.clear()

    def flush(self, db, is_all):
        for number in list(self.dbs) if is_all else [db]:
            self.dbs.pop(number, None)
            self.deadlines.pop(number, None)

    def swap(self, first, second):
        for of in (self.dbs, self.deadlines):
            of[first], of[second] = of[second], of[first]

    def lines(self, now_ms):
        for db, keys in sorted(self.dbs.items()):
            for key, (kind, value) in sorted(keys.items()):
                at = self.deadlines[db].get(key)
                if at is None or at > now_ms:
                    yield {"db": db, "key": key.hex(), "type": kind, "value": SHOWN[kind](value), "expires_at_ms": at}


KNOWN = {b"SET", b"APPEND", b"INCR", b"INCRBY", b"RPUSH", b"SADD", b"HSET", b"ZADD", b"PEXPIREAT", b"PERSIST"}
CONDITIONS = {b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"}
SHOWN = {
    "string": lambda value: value.hex(),
    "list": lambda value: [item.hex() for item in value],
    "set": lambda value: sorted(item.hex() for item in value),
    "hash": lambda value: {field.hex(): item.hex() for field, item in value.items()},
    "zset": lambda value: {member.hex(): repr(score) for member, score in value.items()},
    "other": lambda value: None,
}


class Rebuilding:
    """Takes events in order into both."""

    def __init__(self, change, server):
        self.change, self.server, self.values = change, server, Values()
        self.parts, self.groups = values.Parts(), {}
        self.epoch, self.done = None, None

    def event(self, position, partition, event):
        db, key = event.db, event.key
        match event.WhichOneof("body"):
            case "control":
                self.control(position, event)
            case _ if self.epoch is None:
                pass  # of a history whose beginning is not in the topic any more
            case "command":
                self.changes([(db, key, event.command)])
            case "image":
                self.whole(db, key, values.of_image(key, event.image))
            case "image_part":
                commands = self.parts.take((db, key), key, event.image_part)
                if commands is not None:
                    self.whole(db, key, commands)
            case "group":
                group = event.group
                if group.number == 0:
                    self.groups[partition] = []
                self.groups[partition].extend(group.changes)
                if group.last:
                    self.group(self.groups.pop(partition))

    def control(self, position, event):
        control = event.control
        kind = control.WhichOneof("kind")
        if kind is None:
            raise ValueError("a control event that this schema does not have: not to be skipped")
        if kind == "snapshot_begin" and event.position.epoch != self.epoch:
            # What it does not name is not at the source any more.
            self.epoch = event.position.epoch
            self.parts.under_way.clear()
            for of in (self.server, self.values):
                of.clear()
        # In every partition, and done once: in the merged order all of one come together.
        elif kind in ("flush", "swap_db", "function") and self.epoch is not None and position != self.done:
            self.done = position
            self.database(event.db, kind, getattr(control, kind))
        elif kind == "slot_handover":
            raise ValueError("slots move: this reader knows sources of one shard")

    def database(self, db, kind, what):
        if kind == "function":
            self.server.function(list(what.args))
            return
        for of in (self.server, self.values):
            of.flush(db, what.all) if kind == "flush" else of.swap(what.first, what.second)

    def whole(self, db, key, commands):
        self.server.at_once([(db, command) for command in commands])
        self.values.image(db, key, commands)

    def changes(self, changes):
        self.server.at_once([(db, list(command.args)) for db, _, command in changes])
        for db, key, command in changes:
            args = list(command.args)
            written = [args[index] for index in command.written]
            if not written and not command.read:
                written = [args[1]]
            self.values.command(db, args, written, self.change.Effect.Name(command.effect))

    def group(self, changes):
        if all(change.WhichOneof("body") == "command" for change in changes):
            self.changes([(change.db, change.key, change.command) for change in changes])
            return
        for change in changes:  # FLUSHALL and its like in a transaction: one after the other
            kind = change.WhichOneof("body")
            if kind is None:
                raise ValueError("a change of a kind that this schema does not have: not to be skipped")
            if kind == "command":
                self.changes([(change.db, change.key, change.command)])
            else:
                self.database(change.db, kind, getattr(change, kind))


def main():
    protos, brokers, name, address, *properties = sys.argv[1:]
    settings = {"bootstrap.servers": brokers} | dict(line.split("=", 1) for line in properties)
    with tempfile.TemporaryDirectory() as out:
        change = generate(Path(protos).absolute(), out)
        rebuilding = Rebuilding(change, Server(address))
        for position, partition, event in topic.events(change, settings, name):
            rebuilding.event(position, partition, event)
    if rebuilding.epoch is None:
        sys.exit(f"{name} holds no beginning of a snapshot any more: read a copy of it, or have a new one made")
    rebuilding.server.finish()
    for line in rebuilding.values.lines(time.time() * 1000):
        print(json.dumps(line))


if __name__ == "__main__":
    main()
