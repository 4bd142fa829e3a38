//! Every kind of command, alone and in transactions, in one and in several partitions.

mod excess;
mod moves;
mod scripts;

use event::KeyArgs;
use wire::command::info::from_command_info;
use wire::resp::reply::ReplyDecoder;
use wire::resp::scan::{ScanLimits, StreamScanner};

use super::*;

const BEAT: &str = "keyferry:heartbeat:test";
const NOW_MS: i64 = 1_700_000_000_000;

/// Commands as they come over the link, words with spaces between.
fn commands(lines: &[&str]) -> Vec<RawCommand> {
    let mut scanner = StreamScanner::new(ScanLimits::default());
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        scanner.feed(Bytes::from(text));
    }
    std::iter::from_fn(|| scanner.next_command().unwrap()).collect()
}

fn translator(partitions: u16) -> Translator {
    Translator::new(Era::V7_0, partitions, 0, BEAT)
}

/// What the last of the commands comes to.
fn last(translator: &mut Translator, lines: &[&str]) -> Result<Translated, TranslateError> {
    let mut outcome = Ok(Translated::Nothing);
    for command in commands(lines) {
        outcome = translator.take_whole(&command, NOW_MS);
    }
    outcome
}

/// The records that one line comes to, in one partition.
fn records(line: &str) -> Vec<Record> {
    match last(&mut translator(1), &[line]).unwrap() {
        Translated::Changes(records) => records,
        other => panic!("{line}: {other:?}"),
    }
}

fn text(args: &[Bytes]) -> String {
    let words: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
    words.join(" ")
}

fn shown(command: &Command) -> String {
    text(&command.args)
}

fn change_shown(change: &GroupedChange) -> String {
    let what = match &change.change {
        Change::Command(command) => shown(command),
        Change::Flush { all } => format!("flush all={all}"),
        Change::SwapDb { first, second } => format!("swap {first} {second}"),
        Change::Function(function) => text(&function.args),
    };
    format!("{}: {what}", change.db)
}

/// `db: command` of single changes, `db: (home) [partitions] {db: command; …}` of groups.
fn record_shown(record: &Record) -> String {
    match record {
        Record::Change { db, command, .. } => format!("{db}: {}", shown(command)),
        Record::Group { db, key, group, .. } => {
            let changes: Vec<_> = group.changes.iter().map(change_shown).collect();
            let home = String::from_utf8_lossy(key);
            let kind = if group.transaction { "transaction" } else { "command" };
            format!("{db}: {kind} ({home}) {:?} {{{}}}", group.partitions, changes.join("; "))
        }
        Record::Everywhere { db, control } => format!("{db}: {}", control.kind()),
    }
}

fn all_shown(outcome: Translated) -> Vec<String> {
    match outcome {
        Translated::Changes(records) => records.iter().map(record_shown).collect(),
        other => vec![format!("{other:?}")],
    }
}

fn only(line: &str) -> Command {
    let mut found = records(line);
    assert_eq!(found.len(), 1, "{line}");
    match found.pop() {
        Some(Record::Change { command, .. }) => command,
        other => panic!("{line}: {other:?}"),
    }
}

/// The most common commands take a shorter way, to the same change.
#[test]
fn a_command_that_stands_for_itself_is_not_taken_apart() {
    for line in ["SET k v", "INCR k", "DEL k", "RPOP k", "LPUSH k a b"] {
        let raw = commands(&[line]).remove(0);
        let taken = translator(4).take(&raw, NOW_MS).unwrap();
        assert!(matches!(taken, Translated::Itself(_)), "{line}: {taken:?}");
    }
    for line in ["DEL k l", "MSET k v", "RENAME k l", "SET k v EX 10", "MOVE k 1"] {
        let raw = commands(&[line]).remove(0);
        let taken = Translator::new(Era::V5_0, 4, 0, BEAT).take(&raw, NOW_MS).unwrap();
        assert!(matches!(taken, Translated::Changes(_)), "{line}: {taken:?}");
    }
}

fn listed(written: &[u32], read: &[u32]) -> KeyArgs {
    KeyArgs::Listed { written: written.to_vec(), read: read.to_vec() }
}

#[test]
fn a_write_of_one_key_is_one_change() {
    use event::Effect::{Delete, Expire, Merge, Overwrite};
    for (line, effect) in [
        ("SET k v", Overwrite),
        ("SET k v KEEPTTL", Merge),
        ("set k v", Overwrite),
        ("SETRANGE k 1 v", Merge),
        ("INCR k", Merge),
        ("DEL k", Delete),
        ("unlink k", Delete),
        ("PEXPIREAT k 1800000000000", Expire),
        ("PERSIST k", Expire),
        ("RPUSH k a b", Merge),
        ("HSET k f v", Merge),
        ("RESTORE k 0 payload ABSTTL REPLACE", Overwrite),
        ("ZADD k 1 a 2 b", Merge),
    ] {
        let command = only(line);
        assert_eq!((shown(&command).as_str(), command.effect), (line, effect), "{line}");
        assert_eq!(command.keys, KeyArgs::First, "{line}");
    }
}

#[test]
fn commands_of_several_keys_tell_which_are_written_and_read() {
    use event::Effect::{Merge, Overwrite};
    for (line, effect, keys, home) in [
        ("SUNIONSTORE d a b", Overwrite, listed(&[1], &[2, 3]), "d"),
        ("RENAME a b", Merge, listed(&[1, 2], &[]), "b"),
        ("COPY a b REPLACE", Overwrite, listed(&[2], &[1]), "b"),
        ("LMOVE a b LEFT RIGHT", Merge, listed(&[1, 2], &[]), "b"),
        ("SMOVE a b m", Merge, listed(&[1, 2], &[]), "b"),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", Overwrite, listed(&[1], &[3, 4]), "d"),
        ("SORT a STORE d", Overwrite, listed(&[3], &[1]), "d"),
        ("PFMERGE d a", Merge, listed(&[1], &[2]), "d"),
        ("XGROUP CREATE x g 1-1", Merge, listed(&[2], &[]), "x"),
        ("GEORADIUS g 1 2 3 km STORE d", Overwrite, listed(&[7], &[1]), "d"),
        ("MOVE k 5", Merge, KeyArgs::First, "k"),
        ("COPY a a DB 3 REPLACE", Overwrite, listed(&[2], &[1]), "a"),
    ] {
        let mut found = records(line);
        let Some(Record::Change { key, slot, command, .. }) = found.pop() else { panic!("{line}") };
        assert_eq!((command.effect, &command.keys), (effect, &keys), "{line}");
        assert_eq!((&key[..], slot), (home.as_bytes(), Slot::of_key(home.as_bytes())), "{line}");
    }
}

#[test]
fn what_splits_without_changing_its_meaning_is_split() {
    let split = |line: &str| all_shown(last(&mut translator(1), &[line]).unwrap());
    assert_eq!(split("DEL a b c"), ["0: DEL a", "0: DEL b", "0: DEL c"]);
    assert_eq!(split("unlink a b"), ["0: unlink a", "0: unlink b"]);
    assert_eq!(split("MSET a 1 b 2"), ["0: SET a 1", "0: SET b 2"]);
    assert_eq!(split("msetnx a 1 b 2"), ["0: SET a 1", "0: SET b 2"]);
    assert_eq!(
        split("MSETEX 2 a 1 b 2 PXAT 1800000000000"),
        ["0: SET a 1 PXAT 1800000000000", "0: SET b 2 PXAT 1800000000000"]
    );
    let Record::Change { command, .. } = &records("MSETEX 2 a 1 b 2 KEEPTTL")[1] else { panic!() };
    assert_eq!(
        (shown(command).as_str(), command.effect),
        ("SET b 2 KEEPTTL", event::Effect::Merge)
    );
    let Record::Change { command, .. } = &records("MSET a 1 b 2")[0] else { panic!() };
    assert_eq!((command.effect, &command.keys), (event::Effect::Overwrite, &KeyArgs::First));
}

#[test]
fn what_cannot_be_split_over_partitions_is_a_group() {
    let mut translator = translator(4);
    // Partitions of four: foo 2 (slot 12182), bar 1 (slot 5061), hello 0 (slot 866).
    let shown =
        |translator: &mut Translator, line: &str| all_shown(last(translator, &[line]).unwrap());
    let foo = translator.partitions.of(Slot::of_key(b"foo"));
    let bar = translator.partitions.of(Slot::of_key(b"bar"));
    let hello = translator.partitions.of(Slot::of_key(b"hello"));
    assert_eq!((foo, bar, hello), (2, 1, 0));
    assert_eq!(
        shown(&mut translator, "RENAME foo bar"),
        ["0: command (bar) [1, 2] {0: RENAME foo bar}"]
    );
    assert_eq!(
        shown(&mut translator, "SINTERSTORE foo bar hello"),
        ["0: command (foo) [2, 0, 1] {0: SINTERSTORE foo bar hello}"]
    );
    assert_eq!(shown(&mut translator, "RENAME {foo}1 {foo}2"), ["0: RENAME {foo}1 {foo}2"]);
    assert_eq!(shown(&mut translator, "DEL foo bar"), ["0: DEL foo", "0: DEL bar"]);
}

#[test]
fn a_transaction_appears_at_once_with_the_database_of_each_change() {
    let mut translator = translator(4);
    let lines = ["SELECT 3", "MULTI", "SET foo 1", "select 5", "rename bar hello", "DEL foo x"];
    for command in commands(&lines) {
        assert_eq!(translator.take_whole(&command, NOW_MS).unwrap(), Translated::Nothing);
    }
    assert!(translator.in_transaction());
    let outcome = last(&mut translator, &["SELECT 3", "exec"]).unwrap();
    let x = translator.partitions.of(Slot::of_key(b"x"));
    assert_eq!(x, 3);
    assert_eq!(
        all_shown(outcome),
        ["3: transaction (foo) [2, 0, 1, 3] \
          {3: SET foo 1; 5: rename bar hello; 5: DEL foo; 5: DEL x}"]
    );
    assert!(!translator.in_transaction());
    assert_eq!(translator.selected_db(), 3);
    assert_eq!(all_shown(last(&mut translator, &["INCR n"]).unwrap()), ["3: INCR n"]);
}

#[test]
fn a_transaction_in_one_partition_names_no_others() {
    let outcome = last(&mut translator(4), &["MULTI", "SET {foo}a 1", "SET {foo}b 2", "EXEC"]);
    assert_eq!(
        all_shown(outcome.unwrap()),
        ["0: transaction ({foo}a) [] {0: SET {foo}a 1; 0: SET {foo}b 2}"]
    );
}

#[test]
fn a_transaction_of_nothing_is_nothing_and_one_of_one_change_is_the_change() {
    let mut translator = translator(4);
    let mut take = |lines: &[&str]| all_shown(last(&mut translator, lines).unwrap());
    assert_eq!(take(&["MULTI", "EXEC"]), ["Nothing"]);
    assert_eq!(take(&["MULTI", "SET keyferry:heartbeat:other 1", "EXEC"]), ["Nothing"]);
    assert_eq!(take(&["MULTI", "SET foo 1", "EXEC"]), ["0: SET foo 1"]);
    assert_eq!(take(&["MULTI", "FLUSHALL", "EXEC"]), ["0: flush"]);
    let group = ["0: transaction (bar) [1, 2] {0: RENAME foo bar}"];
    assert_eq!(take(&["MULTI", "RENAME foo bar", "EXEC"]), group);
}

#[test]
fn a_flush_inside_a_transaction_concerns_every_partition() {
    let mut translator = translator(4);
    let lines =
        ["SELECT 7", "MULTI", "FLUSHDB", "SWAPDB 0 1", "flushall ASYNC", "SET bar 1", "EXEC"];
    assert_eq!(
        all_shown(last(&mut translator, &lines).unwrap()),
        ["7: transaction (bar) [1, 0, 2, 3] \
          {7: flush all=false; 7: swap 0 1; 7: flush all=true; 7: SET bar 1}"]
    );
    let without_keys = ["MULTI", "FLUSHDB", "SWAPDB 0 1", "EXEC"];
    assert_eq!(
        all_shown(last(&mut translator, &without_keys).unwrap()),
        ["7: transaction () [0, 1, 2, 3] {7: flush all=false; 7: swap 0 1}"]
    );
}

#[test]
fn what_has_no_key_goes_everywhere() {
    let mut translator = translator(4);
    let mut take = |line: &str| match last(&mut translator, &[line]).unwrap() {
        Translated::Changes(mut records) => match records.pop() {
            Some(Record::Everywhere { db, control }) if records.is_empty() => (db, control),
            other => panic!("{other:?}"),
        },
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(take("FLUSHALL SYNC"), (0, Control::Flush { all: true }));
    assert_eq!(take("flushdb"), (0, Control::Flush { all: false }));
    assert_eq!(take("SWAPDB 3 1"), (0, Control::SwapDb { first: 3, second: 1 }));
    let function = |line: &str| {
        let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        (0, Control::Function(FunctionChange { args, snapshot_id: 0 }))
    };
    assert_eq!(take("FUNCTION LOAD code"), function("FUNCTION LOAD REPLACE code"));
    assert_eq!(take("function load replace code"), function("function load replace code"));
    assert_eq!(take("FUNCTION DELETE lib"), function("FUNCTION DELETE lib"));
    assert_eq!(
        take("FUNCTION RESTORE payload REPLACE"),
        function("FUNCTION RESTORE payload REPLACE")
    );
}

#[test]
fn what_carries_no_data_is_nothing() {
    let mut translator = translator(4);
    for line in [
        "PING",
        "ping",
        "replping",
        "PUBLISH c m",
        "SPUBLISH c m",
        "PFCOUNT a",
        "SCRIPT LOAD code",
        "script flush",
        "REPLCONF listening-port 1",
        "EXEC",
        "SET keyferry:heartbeat:other 1",
        "DEL keyferry:heartbeat:test",
        "PEXPIREAT keyferry:heartbeat:test 5",
    ] {
        let outcome = last(&mut translator, &[line]);
        assert_eq!(outcome.unwrap(), Translated::Nothing, "{line}");
    }
    let blank = commands(&["x"]).len();
    assert_eq!(blank, 1);
    let mut scanner = StreamScanner::new(ScanLimits::default());
    scanner.feed(Bytes::from_static(b"\n*0\r\n"));
    while let Some(blank) = scanner.next_command().unwrap() {
        assert_eq!(translator.take_whole(&blank, NOW_MS).unwrap(), Translated::Nothing);
    }
    let outcome = last(&mut translator, &["REPLCONF GETACK *"]).unwrap();
    assert_eq!(outcome, Translated::AckWanted);
}

#[test]
fn our_own_keys_are_left_out_and_others_of_the_same_command_are_not() {
    let mut translator = translator(1);
    let mut take = |line: &str| all_shown(last(&mut translator, &[line]).unwrap());
    assert_eq!(take("MSET a 1 keyferry:heartbeat:x 2 b 3"), ["0: SET a 1", "0: SET b 3"]);
    assert_eq!(take("DEL keyferry:heartbeat:x a"), ["0: DEL a"]);
    assert_eq!(
        take("SET keyferry:data 1"),
        ["0: SET keyferry:data 1"],
        "only exact names are ours"
    );
    let line = "RENAME a keyferry:heartbeat:x";
    assert_eq!(take(line), [format!("0: {line}")], "it deletes a key that is not ours");
}

#[test]
fn the_heartbeat_tells_the_time_of_the_source_also_inside_a_transaction() {
    let mut translator = translator(4);
    let beat = format!("SET {BEAT} 1234567 PX 60000");
    assert_eq!(last(&mut translator, &[&beat]).unwrap(), Translated::Heartbeat(1_234_567));
    let beat = format!("set {BEAT} 1234568 PXAT 99");
    assert_eq!(last(&mut translator, &["MULTI", &beat]).unwrap(), Translated::Heartbeat(1_234_568));
    assert!(translator.in_transaction());
    assert_eq!(last(&mut translator, &["EXEC"]).unwrap(), Translated::Nothing);
    let strange = format!("SET {BEAT} soon");
    assert_eq!(last(&mut translator, &[&strange]).unwrap(), Translated::Nothing);
}

#[test]
fn relative_times_count_from_the_arrival() {
    let mut translator = Translator::new(Era::V5_0, 1, 0, BEAT);
    let mut take = |line: &str| all_shown(last(&mut translator, &[line]).unwrap());
    assert_eq!(take("SET k v PX 5"), [format!("0: SET k v PXAT {}", NOW_MS + 5)]);
    assert_eq!(take("EXPIRE k 5"), [format!("0: PEXPIREAT k {}", NOW_MS + 5_000)]);
    assert_eq!(take("SETEX k 5 v"), [format!("0: SET k v PXAT {}", NOW_MS + 5_000)]);
    let restore = take("RESTORE k 100 payload");
    assert_eq!(restore.len(), 1);
    assert!(restore[0].contains(&(NOW_MS + 100).to_string()), "{restore:?}");
}

#[test]
fn nested_multi_keeps_what_came_before() {
    let outcome = last(&mut translator(1), &["MULTI", "SET a 1", "MULTI", "SET b 2", "EXEC"]);
    let expected = ["0: transaction (a) [] {0: SET a 1; 0: SET b 2}"];
    assert_eq!(all_shown(outcome.unwrap()), expected);
}

#[test]
fn what_changes_data_and_is_not_carried_is_refused_by_name() {
    let mut translator = translator(4);
    for (line, name) in [
        ("TRIMSLOTS RANGES 1 0 100", "TRIMSLOTS"),
        ("CLUSTER SETSLOT 1 NODE x", "CLUSTER SETSLOT"),
        ("cluster syncslots FINISH", "CLUSTER SYNCSLOTS"),
        ("RREPLAY id *1 0 1", "RREPLAY"),
        ("SFLUSH 0 100", "SFLUSH"),
        ("CLUSTER FLUSHSLOT 5", "CLUSTER FLUSHSLOT"),
    ] {
        let error = last(&mut translator, &[line]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(&error, TranslateError::Refused { command } if command == name), "{text}");
    }
    for line in ["EVAL code 0", "evalsha abc 1 k"] {
        let error = last(&mut translator, &[line]).unwrap_err();
        assert!(matches!(error, TranslateError::Script { .. }), "{error}");
    }
}

#[test]
fn broken_arguments_are_refused_and_change_nothing() {
    let mut translator = translator(4);
    for line in [
        "SELECT x",
        "SELECT",
        "SWAPDB 1",
        "MSET a",
        "MSET a 1 b",
        "MSETEX 2 a 1",
        "MSETEX 0",
        "MSETEX 99999999999999999999 a 1",
        "SORT a",
        "SUNIONSTORE",
        "BLPOP a 0",
        "XREADGROUP GROUP g c STREAMS x >",
        "EXPIRE k soon",
    ] {
        let error = last(&mut translator, &["MULTI", line]).map(|_| line);
        assert!(error.is_err(), "{error:?}");
        assert_eq!(translator.selected_db(), 0);
        assert_eq!(last(&mut translator, &["EXEC"]).unwrap(), Translated::Nothing, "{line}");
    }
}

#[test]
fn an_unknown_command_is_asked_about_and_then_taken_with_caution() {
    let mut translator = translator(4);
    let error = last(&mut translator, &["mod.put foo v"]).unwrap_err();
    assert!(
        matches!(&error, TranslateError::Unknown { command } if command == "MOD.PUT"),
        "{error}"
    );
    let describe = |name: &str, last: i64| {
        let mut decoder = ReplyDecoder::default();
        let keys = format!("*1\r\n+write\r\n:1\r\n:{last}\r\n:1\r\n");
        let name = format!("${}\r\n{name}\r\n", name.len());
        decoder.feed(format!("*1\r\n*6\r\n{name}:-2\r\n{keys}").as_bytes());
        from_command_info(&decoder.next_reply().unwrap().unwrap()).unwrap()
    };
    translator.learn(b"MOD.PUT", describe("mod.put", 1));
    let Translated::Changes(records) = last(&mut translator, &["Mod.Put foo v"]).unwrap() else {
        panic!();
    };
    let [Record::Change { command, .. }] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((command.effect, &command.keys), (event::Effect::Merge, &KeyArgs::First));
    translator.learn(b"MOD.MIX", describe("mod.mix", -1));
    assert_eq!(
        all_shown(last(&mut translator, &["MOD.MIX foo bar"]).unwrap()),
        ["0: command (foo) [2, 1] {0: MOD.MIX foo bar}"]
    );
    let error = last(&mut translator, &["MOD.MIX"]).unwrap_err();
    assert!(matches!(error, TranslateError::NoKeys { .. } | TranslateError::Keys(_)), "{error}");
}
