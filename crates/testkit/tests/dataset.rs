//! The judge sees what differs, and forgives only what it was told to.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use testkit::{Client, Dataset, Kind, Server, Tolerance, compare};

const STRICT: Tolerance = Tolerance {
    ttl_slack_ms: 0,
    delivery_slack_ms: 0,
    increments_end_expiry: false,
    history_reads: false,
    blocked_consumers: false,
    entries_read: false,
    bitfield_overflow_fail: false,
    hll_bytes: false,
    claims_of_deleted: false,
    module_bytes: false,
};

/// A stream with a group.
const STREAMS: [&str; 7] = [
    "XADD x 1-1 f v",
    "XADD x 2-1 f w",
    "XADD x 3-1 f w",
    "XDEL x 2-1",
    "XGROUP CREATE x g 0",
    "XREADGROUP GROUP g alice COUNT 1 STREAMS x >",
    "XCLAIM x g alice 0 1-1 TIME 1000 RETRYCOUNT 2",
];

/// Two servers of one kind with the same data of every type.
struct Pair {
    left: Client,
    right: Client,
    _servers: [Server; 2],
}

impl Pair {
    fn start(kind: Kind) -> Self {
        let servers = [0, 1].map(|_| Server::start(kind, &[]).unwrap());
        let [left, right] = [&servers[0], &servers[1]].map(|server| server.client().unwrap());
        let mut pair = Self { left, right, _servers: servers };
        let streams: &[&str] = if kind.has_streams() { &STREAMS } else { &[] };
        for line in [
            "SET s v",
            "SET ttl v",
            "PEXPIREAT ttl 4102444800000",
            "RPUSH l a b c",
            "SADD set a b",
            "HMSET h f v g w",
            "ZADD z 1.5 a -inf b 0.1 c",
            "PFADD hll a b c",
            "SELECT 3",
            "SET elsewhere v",
            "SELECT 0",
        ]
        .iter()
        .chain(streams)
        {
            pair.both(line);
        }
        pair
    }

    fn both(&mut self, line: &str) {
        run(&mut self.left, line);
        run(&mut self.right, line);
    }

    fn differences(&mut self, tolerance: &Tolerance) -> Vec<String> {
        let left = Dataset::read(&mut self.left).unwrap();
        let right = Dataset::read(&mut self.right).unwrap();
        compare(&left, &right, tolerance).iter().map(ToString::to_string).collect()
    }
}

fn run(client: &mut Client, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    client.cmd(&words).unwrap();
}

#[test]
fn the_same_writes_make_the_same_data_on_every_pair_of_kinds() {
    let mut all: Vec<(Kind, Dataset)> = Vec::new();
    for kind in Kind::EVERY {
        let mut pair = Pair::start(kind);
        let strict = Tolerance::native(kind, kind);
        assert_eq!(pair.differences(&strict), Vec::<String>::new(), "{kind}");
        all.push((kind, Dataset::read(&mut pair.left).unwrap()));
    }
    for (left_kind, left) in &all {
        let comparable =
            |(kind, _): &&(Kind, Dataset)| kind.has_streams() == left_kind.has_streams();
        for (right_kind, right) in all.iter().filter(comparable) {
            let slack = Tolerance::native(*left_kind, *right_kind);
            let found = compare(left, right, &slack);
            assert!(found.is_empty(), "{left_kind} and {right_kind}: {found:?}");
        }
    }
}

#[test]
fn every_planted_difference_is_found_and_named() {
    let plants = [
        ("SET s w", "db 0 key \"s\": string of 1 != 1 bytes, differing at byte 0: \"v\" != \"w\""),
        ("SET s v EX 100", "key \"s\": expires never != at"),
        ("PERSIST ttl", "key \"ttl\": expires at 4102444800000 ms != never"),
        ("PEXPIREAT ttl 4102444800001", "expires at 4102444800000 ms != at 4102444800001 ms"),
        ("DEL s", "key \"s\": missing on the right; left has string \"v\""),
        ("SET new v", "key \"new\": missing on the left; right has string \"v\""),
        ("MOVE s 5", "db 5 key \"s\": missing on the left"),
        ("LSET l 1 B", "list of 3 != 3 elements, differing at 1: \"b\" != \"B\""),
        ("RPUSH l d", "list of 3 != 4 elements"),
        ("SREM set a", "1 members on the left only: a"),
        ("SADD set c", "1 members on the right only: c"),
        ("HSET h f V", "field \"f\": \"v\" != \"V\""),
        ("HDEL h f", "field \"f\": \"v\" != nothing"),
        ("ZADD z 0.10000000000000002 c", "score \"c\": 0.1"),
        ("XADD x 4-1 f v", "2 and 3 entries; on the right only, from 4-1 f v"),
        ("XDEL x 3-1", "2 and 1 entries; on the left only, from 3-1 f w"),
        ("XDEL x 3-1", "max deleted id 2-1 != 3-1"),
        ("XSETID x 9-9", "last id 3-1 != 9-9"),
        ("XSETID x 9-9 ENTRIESADDED 7 MAXDELETEDID 8-8", "entries added 3 != 7"),
        ("XGROUP DESTROY x g", "group g is missing on the right"),
        ("XGROUP CREATE x g2 0", "group g2 is missing on the left"),
        ("XGROUP SETID x g 0", "group g: last delivered id 1-1 != 0-0"),
        ("XGROUP SETID x g 1-1 ENTRIESREAD 7", "group g: entries read nil != 7"),
        ("XACK x g 1-1", "group g: pending 1-1 is missing on the right"),
        (
            "XCLAIM x g alice 0 1-1 TIME 1001 RETRYCOUNT 2",
            "alice at 1000 (2 times) != alice at 1001",
        ),
        ("XCLAIM x g alice 0 1-1 TIME 1000 RETRYCOUNT 3", "(2 times) != alice at 1000 (3 times)"),
        ("XCLAIM x g bob 0 1-1 TIME 1000 RETRYCOUNT 2", "alice at 1000 (2 times) != bob"),
        ("XGROUP CREATECONSUMER x g bob", "consumers on the right only: bob"),
        ("PFADD hll d", "key \"hll\": string of"),
        ("HPEXPIREAT h 4102444800000 FIELDS 1 f", "\"v\" != \"v\" expiring at 4102444800000 ms"),
    ];
    for (plant, wanted) in plants {
        let kind = if plant.starts_with("HPEXPIREAT") { Kind::Redis8_2 } else { Kind::Redis7_0 };
        let mut pair = Pair::start(kind);
        run(&mut pair.right, plant);
        let found = pair.differences(&STRICT);
        assert!(found.iter().any(|line| line.contains(wanted)), "{plant}: {found:?}");
    }
}

#[test]
fn another_function_library_is_a_difference() {
    let mut pair = Pair::start(Kind::Redis7_0);
    let code = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    pair.left.cmd(&["FUNCTION", "LOAD", code]).unwrap();
    let found = pair.differences(&STRICT);
    assert!(found.iter().any(|line| line.starts_with("function library lib:")), "{found:?}");
}

#[test]
fn what_is_forgiven_is_forgiven_only_when_asked() {
    let forgive_history = Tolerance { history_reads: true, ..STRICT };
    let forgive_consumer = Tolerance { blocked_consumers: true, ..STRICT };
    let forgive_room = Tolerance { bitfield_overflow_fail: true, ..STRICT };
    let forgive_read = Tolerance { entries_read: true, ..STRICT };
    let forgive_slack = Tolerance { ttl_slack_ms: 10, ..STRICT };
    let forgive_hll = Tolerance { hll_bytes: true, ..STRICT };
    let cases = [
        ("XREADGROUP GROUP g alice STREAMS x 0", forgive_history),
        ("XGROUP CREATECONSUMER x g bob", forgive_consumer),
        ("BITFIELD new OVERFLOW FAIL SET u8 0 256", forgive_room),
        ("BITFIELD s OVERFLOW FAIL SET u8 8 256", forgive_room),
        ("XGROUP SETID x g 1-1 ENTRIESREAD 7", forgive_read),
        ("PEXPIREAT ttl 4102444800010", forgive_slack),
        ("PFDEBUG TODENSE hll", forgive_hll),
    ];
    for (plant, tolerance) in cases {
        let mut pair = Pair::start(Kind::Valkey9_1);
        run(&mut pair.left, plant);
        assert!(!pair.differences(&STRICT).is_empty(), "{plant} made no difference");
        assert_eq!(pair.differences(&tolerance), Vec::<String>::new(), "{plant}");
    }
}

#[test]
fn the_other_side_is_not_forgiven() {
    let lenient = Tolerance::native(Kind::Redis8_2, Kind::Valkey9_1);
    for plant in [
        "XREADGROUP GROUP g alice STREAMS x 0",
        "XGROUP CREATECONSUMER x g bob",
        "BITFIELD new OVERFLOW FAIL SET u8 0 256",
    ] {
        let mut pair = Pair::start(Kind::Valkey9_1);
        run(&mut pair.right, plant);
        assert!(!pair.differences(&lenient).is_empty(), "{plant}");
    }
}

#[test]
fn own_keys_are_no_difference() {
    let mut pair = Pair::start(Kind::Redis7_0);
    run(&mut pair.left, "SET keyferry:{x}:stream v");
    assert_eq!(pair.differences(&STRICT), Vec::<String>::new());
}

#[test]
fn a_key_whose_deadline_passed_by_the_later_clock_is_no_difference() {
    let mut pair = Pair::start(Kind::Redis8_2);
    run(&mut pair.left, "SET key v PXAT 4102444800000");
    run(&mut pair.left, "HSET hash f v");
    run(&mut pair.left, "HPEXPIREAT hash 4102444800000 FIELDS 1 f");
    assert_eq!(pair.differences(&STRICT).len(), 2);
    let left = Dataset::read(&mut pair.left).unwrap();
    let mut right = Dataset::read(&mut pair.right).unwrap();
    right.read_at_ms = 4_102_444_800_000;
    let found = compare(&left, &right, &STRICT);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn vector_sets_are_compared_by_elements_whatever_graph_the_servers_built() {
    let mut pair = Pair::start(Kind::Redis8_2);
    for n in 0..20 {
        pair.both(&format!("VADD v VALUES 2 {n} 1 e{n} SETATTR {{}}"));
    }
    assert_eq!(pair.differences(&STRICT), Vec::<String>::new());
    run(&mut pair.right, "VADD v VALUES 2 0 1 e7");
    run(&mut pair.right, "VSETATTR v e8 {\"a\":1}");
    let found = pair.differences(&STRICT);
    assert!(found.len() == 2 && found[1].contains("element \"e8\""), "{found:?}");
}

#[test]
fn a_modules_value_is_compared_by_its_bytes_or_by_its_presence() {
    let module = Kind::Redis8_2.tool("falkordb.so").unwrap();
    let load = format!("loadmodule {}", module.display());
    let servers = [0, 1].map(|_| Server::start(Kind::Redis8_2, &[&load]).unwrap());
    let [mut left, mut right] = [&servers[0], &servers[1]].map(|server| server.client().unwrap());
    for client in [&mut left, &mut right] {
        client.cmd(&["GRAPH.QUERY", "g", "CREATE (:a {b: 1})"]).unwrap();
    }
    let lenient = Tolerance { module_bytes: true, ..STRICT };
    let mut lines = |right: &mut Client, tolerance: &Tolerance| -> Vec<String> {
        let (left, right) = (Dataset::read(&mut left).unwrap(), Dataset::read(right).unwrap());
        // The module keeps a record of its queries under another key, when it likes.
        let found = compare(&left, &right, tolerance).into_iter().filter(|one| one.key == b"g");
        found.map(|one| one.what).collect()
    };
    assert_eq!(lines(&mut right, &lenient), Vec::<String>::new());
    right.cmd(&["GRAPH.QUERY", "g", "MATCH (n) SET n.b = 'more'"]).unwrap();
    let found = lines(&mut right, &STRICT);
    assert!(found[0].starts_with("graphdata: "), "{found:?}");
    right.cmd(&["DEL", "g"]).unwrap();
    let found = lines(&mut right, &lenient);
    assert!(found[0].contains("missing on the right"), "{found:?}");
}

#[test]
fn many_keys_are_read_in_one_go() {
    let server = Server::start(Kind::Redis7_0, &[]).unwrap();
    let mut client = server.client().unwrap();
    run(&mut client, "DEBUG POPULATE 300000");
    assert_eq!(Dataset::read(&mut client).unwrap().len(), 300_000);
}
