//! The link against a source that a test plays, in a time that a test moves.

use redis_io::{Endpoint, connector};
use runtime::{ManualClock, StatusNode, Throttle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use wire::resp::scan::{ScanLimits, StreamScanner};

use event::Shard;

use super::*;
use crate::limits::{EAGER_ACK_INTERVAL, LINK_SILENCE};
use crate::looks::Looks;
use crate::orders::{TransferOrder, transfer_orders};
use crate::owned::Owned;
use crate::spool::{SpoolConfig, SpoolReader, spool};

const SECOND: Duration = Duration::from_secs(1);
const BEGIN_MS: i64 = 1_700_000_000_000;
const PLAIN: &str = "redis_version:7.0.0\r\nrole:master\r\n";

const REFUSED_WINDOW: Duration = Duration::from_secs(600);

/// The intake under test and what is around it.
struct Stage {
    listener: TcpListener,
    info: String,
    clock: ManualClock,
    durable: watch::Sender<Durable>,
    ack_wanted: Arc<Notify>,
    order: TransferOrder,
    spool: SpoolReader,
    stop: CancellationToken,
    task: JoinHandle<Result<(), TaskError>>,
    around: (StatusNode, tempfile::TempDir),
}

/// One connection, from the source's side.
struct Wire {
    stream: TcpStream,
    scanner: StreamScanner,
}

impl Stage {
    #[expect(clippy::disallowed_methods, reason = "a test owns its task by the handle")]
    async fn start(place: Option<Place>, held_offset: u64, info: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("redis://{}", listener.local_addr().unwrap());
        let clock = ManualClock::new(BEGIN_MS);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let endpoint = Endpoint::parse(&uri).unwrap();
        let settings = connector::Settings::default();
        let connector = Connector::new(endpoint, settings, Arc::clone(&shared)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config =
            SpoolConfig { dir: dir.path().join("spool"), memory_bytes: 1 << 20, disk_bytes: 0 };
        let (writer, reader) = spool(config, shared.as_ref(), Looks::default()).await.unwrap();
        let status = StatusNode::root();
        let progress = Arc::new(Progress::new(&status, writer.gauge()));
        let (durable, durable_out) = watch::channel(Durable::default());
        let (order, orders) = transfer_orders();
        let ack_wanted = Arc::new(Notify::new());
        let intake = Intake {
            owned: Owned::all(Shard(0)),
            connector,
            reading: Reading::new(Throttle::default().gate(Arc::clone(&shared))),
            clock: shared,
            random: Random::from_seed(1),
            spool: writer,
            place,
            held_offset,
            history: History::default(),
            windows: (Duration::from_secs(3600), REFUSED_WINDOW),
            was_linked: false,
            down: Trouble::default(),
            durable: durable_out,
            ack_wanted: Arc::clone(&ack_wanted),
            orders,
            progress,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(intake.run(stop.clone()));
        let info = info.to_owned();
        let spool = reader;
        let around = (status, dir);
        Self { listener, info, clock, durable, ack_wanted, order, spool, stop, task, around }
    }

    /// Lets a second pass once somebody waits for it.
    async fn pass_a_second(&self) {
        self.clock.wait_for_sleepers(1).await;
        self.clock.advance(SECOND);
        tokio::task::yield_now().await;
    }

    /// The next connection, after as much time as it takes.
    async fn connected(&self) -> Wire {
        loop {
            tokio::select! {
                biased;
                accepted = self.listener.accept() => {
                    let scanner = StreamScanner::new(ScanLimits::default());
                    return Wire { stream: accepted.unwrap().0, scanner };
                }
                () = self.pass_a_second() => {}
            }
        }
    }

    /// The next connection, answered up to its PSYNC.
    async fn accept(&self) -> (Wire, Vec<String>) {
        let mut wire = self.connected().await;
        loop {
            let command = wire.next().await.expect("a command");
            let reply = match command[0].as_str() {
                "PSYNC" => return (wire, command),
                "PING" => "+PONG\r\n".to_owned(),
                "INFO" => format!("${}\r\n{}\r\n", self.info.len(), self.info),
                _ => "+OK\r\n".to_owned(),
            };
            wire.say(&reply).await;
        }
    }

    fn phase(&self) -> serde_json::Value {
        self.around.0.snapshot().get("phase").cloned().unwrap_or_default()
    }

    async fn piece(&mut self) -> Piece {
        self.spool.pop().await.unwrap().expect("a piece")
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

impl Wire {
    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next command; none when the connection is closed.
    async fn next(&mut self) -> Option<Vec<String>> {
        loop {
            if let Some(command) = self.scanner.next_command().unwrap() {
                let words = command.iter().map(|word| String::from_utf8_lossy(word).into_owned());
                return Some(words.collect());
            }
            let mut bytes = bytes::BytesMut::with_capacity(4096);
            match self.stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => self.scanner.feed(bytes.freeze()),
            }
        }
    }

    /// The offset of the next acknowledgement.
    async fn ack(&mut self) -> u64 {
        let words = self.next().await.expect("an acknowledgement");
        assert_eq!(words[..2], ["REPLCONF", "ACK"]);
        words[2].parse().unwrap()
    }
}

fn place(digit: char, offset: u64) -> Option<Place> {
    Some(Place { replication_id: id(digit), offset })
}

fn durable(history: u64, offset: u64) -> Durable {
    Durable { history: History(history), offset }
}

fn bytes_of(piece: Piece) -> bytes::Bytes {
    match piece {
        Piece::Stream { bytes, .. } => bytes,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_lost_link_is_set_up_again_from_the_byte_that_is_missing() {
    let mut stage = Stage::start(place('a', 100), 0, PLAIN).await;
    let (mut wire, asked) = stage.accept().await;
    assert_eq!(asked, ["PSYNC", id('a').as_str(), "101"]);
    wire.say("+CONTINUE\r\n").await;
    assert!(matches!(stage.piece().await, Piece::Continued { branch: None, .. }), "no branch");
    wire.say("*1\r\n$4\r\nPI").await;
    assert_eq!(bytes_of(stage.piece().await), "*1\r\n$4\r\nPI");
    drop(wire);
    let (mut wire, asked) = stage.accept().await;
    assert_eq!(asked, ["PSYNC", id('a').as_str(), "111"]);
    wire.say(&format!("+CONTINUE {}\r\nNG\r\n", id('a'))).await;
    assert!(matches!(stage.piece().await, Piece::Continued { branch: None, .. }), "no branch");
    assert_eq!(bytes_of(stage.piece().await), "NG\r\n");
    stage.stop().await;
}

/// A source without a disk ignores what comes before it has noticed that its snapshot has gone out, and sends nothing
/// before something comes after.
#[tokio::test]
async fn the_end_of_a_snapshot_is_acknowledged_again_and_again_until_the_stream_flows() {
    let mut stage = Stage::start(None, 0, PLAIN).await;
    let (mut wire, _) = stage.accept().await;
    let empty = "REDIS0011\u{0}";
    wire.say(&format!("+FULLRESYNC {} 7\r\n${}\r\n{empty}", id('a'), empty.len())).await;
    while !matches!(stage.piece().await, Piece::SnapshotEnd) {}
    let began = stage.clock.now_ms();
    for _ in 0..5 {
        wire.ack().await;
        stage.clock.wait_for_sleepers(1).await;
        stage.clock.advance(EAGER_ACK_INTERVAL);
    }
    wire.ack().await;
    assert!(stage.clock.now_ms() - began < 1_000);
    wire.say("*1\r\n$4\r\nPING\r\n").await;
    assert_eq!(bytes_of(stage.piece().await), "*1\r\n$4\r\nPING\r\n");
    stage.pass_a_second().await;
    wire.ack().await;
    stage.stop().await;
}

#[tokio::test]
async fn a_silent_link_is_given_up_although_acknowledgements_go_on() {
    let stage = Stage::start(place('a', 100), 0, PLAIN).await;
    let (mut wire, _) = stage.accept().await;
    wire.say("+CONTINUE\r\n").await;
    wire.ack().await;
    let mut acknowledged = 0;
    loop {
        stage.pass_a_second().await;
        match wire.next().await {
            Some(_) => acknowledged += 1,
            None => break,
        }
        assert!(acknowledged < 100, "nobody notices");
    }
    assert!(acknowledged >= LINK_SILENCE.as_secs(), "given up after {acknowledged} s");
    stage.accept().await;
    stage.stop().await;
}

#[tokio::test]
async fn before_the_stream_silence_means_nothing() {
    let mut stage = Stage::start(None, 0, PLAIN).await;
    let (mut wire, asked) = stage.accept().await;
    assert_eq!(asked, ["PSYNC", "?", "-1"]);
    assert_eq!(
        stage.phase(),
        "waiting",
        "for an answer, as long as the source delays its snapshot"
    );
    wire.say(&format!("+FULLRESYNC {} 7\r\n$6\r\nRDB", id('a'))).await;
    assert!(matches!(stage.piece().await, Piece::FullResync(_)), "it begins");
    for _ in 0..300 {
        stage.pass_a_second().await;
    }
    wire.say("RDB").await;
    assert_eq!(wire.ack().await, 0, "over the same link");
    stage.stop().await;
}

#[tokio::test]
async fn nothing_of_another_history_and_nothing_beyond_what_came_is_acknowledged() {
    let mut stage = Stage::start(None, 0, PLAIN).await;
    // As if the session were still busy with what was before.
    stage.durable.send_replace(durable(0, 1_000_000));
    let (mut wire, _) = stage.accept().await;
    wire.say(&format!("+FULLRESYNC {} 7\r\n$3\r\nRDB", id('a'))).await;
    assert_eq!(wire.ack().await, 0);
    let Piece::FullResync(begin) = stage.piece().await else { panic!() };
    assert_eq!((begin.history, begin.lineage.offset, begin.bytes_expected), (History(1), 7, 3));
    for (now, expected, why) in [
        (durable(0, 1_000_000), 0, "of another history"),
        (durable(1, 5), 5, "what is durable"),
        (durable(1, 500), 7, "not even the journal can have more than came"),
    ] {
        stage.durable.send_replace(now);
        stage.pass_a_second().await;
        assert_eq!(wire.ack().await, expected, "{why}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn a_source_that_asks_is_told_at_once_and_again_when_more_is_durable() {
    let stage = Stage::start(place('a', 100), 0, PLAIN).await;
    let (mut wire, _) = stage.accept().await;
    wire.say("+CONTINUE\r\n").await;
    assert_eq!(wire.ack().await, 0);
    stage.durable.send_replace(durable(0, 50));
    stage.ack_wanted.notify_one();
    assert_eq!(wire.ack().await, 50);
    stage.durable.send_replace(durable(0, 60));
    assert_eq!(wire.ack().await, 60, "before the next second");
    stage.pass_a_second().await;
    assert_eq!(wire.ack().await, 60);
    stage.durable.send_replace(durable(0, 70));
    stage.pass_a_second().await;
    assert_eq!(wire.ack().await, 70, "nobody asked in between");
    stage.stop().await;
}

fn promoted(second: u64) -> String {
    let (new, old) = (id('b'), id('a'));
    format!(
        "{PLAIN}master_replid:{new}\r\nmaster_replid2:{old}\r\nmaster_repl_offset:500\r\n\
         second_repl_offset:{second}\r\n"
    )
}

#[tokio::test]
async fn another_replication_id_is_taken_with_the_place_where_the_histories_part() {
    let mut stage = Stage::start(place('a', 100), 180, &promoted(201)).await;
    let (mut wire, _) = stage.accept().await;
    wire.say(&format!("+CONTINUE {}\r\n", id('b'))).await;
    let Piece::Continued { branch, .. } = stage.piece().await else { panic!() };
    let expected = Lineage { replication_id: id('b').to_string(), offset: 200 };
    assert_eq!(branch, Some(expected));
    drop(wire);
    let (_, asked) = stage.accept().await;
    assert_eq!(asked, ["PSYNC", id('b').as_str(), "101"]);
    stage.stop().await;
}

#[tokio::test]
async fn a_history_without_what_the_journal_holds_is_left_for_a_full_transfer() {
    let stage = Stage::start(place('a', 100), 201, &promoted(201)).await;
    let (mut wire, _) = stage.accept().await;
    wire.say(&format!("+CONTINUE {}\r\n", id('b'))).await;
    let (_, asked) = stage.accept().await;
    assert_eq!(asked, ["PSYNC", "?", "-1"]);
    stage.stop().await;
}

#[tokio::test]
async fn a_promotion_between_question_and_answer_is_asked_about_again() {
    let old = format!("{PLAIN}master_replid:{}\r\nmaster_repl_offset:500\r\n", id('a'));
    let mut stage = Stage::start(place('a', 100), 0, &old).await;
    let (mut wire, _) = stage.accept().await;
    wire.say(&format!("+CONTINUE {}\r\n", id('b'))).await;
    stage.info = promoted(201);
    let (mut wire, asked) = stage.accept().await;
    assert_eq!(asked, ["PSYNC", id('a').as_str(), "101"], "the place is kept");
    wire.say(&format!("+CONTINUE {}\r\n", id('b'))).await;
    assert!(matches!(stage.piece().await, Piece::Continued { branch: Some(_), .. }), "a branch");
    stage.stop().await;
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_ends_the_link_for_good() {
    let stage = Stage::start(None, 0, PLAIN).await;
    let (mut wire, _) = stage.accept().await;
    wire.say("+CONTINUE\r\n").await;
    let error = stage.task.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("was not asked for"), "{error}");
}

#[tokio::test]
async fn a_server_that_has_become_a_sentinel_ends_the_link_for_good() {
    let info = "redis_version:7.0.0\r\nredis_mode:sentinel\r\n";
    let stage = Stage::start(place('a', 100), 0, info).await;
    let mut wire = stage.connected().await;
    while let Some(command) = wire.next().await {
        let info = format!("${}\r\n{info}\r\n", info.len());
        wire.say(if command[0] == "INFO" { &info } else { "+PONG\r\n" }).await;
    }
    let error = stage.task.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("name a server that it watches"), "{error}");
}

fn id(digit: char) -> ReplicationId {
    digit.to_string().repeat(ReplicationId::LENGTH).parse().unwrap()
}

fn facts(replid: char, replid2: Option<char>, second_offset: Option<u64>) -> ReplicationFacts {
    ReplicationFacts {
        replid: id(replid).to_string(),
        replid2: replid2.map(|digit| id(digit).to_string()),
        offset: 500,
        second_offset,
        backlog_bytes: None,
        backlog_first_offset: None,
        backlog_used_bytes: None,
    }
}

#[test]
fn the_branch_is_the_last_offset_that_both_histories_have() {
    let place = Place { replication_id: id('a'), offset: 100 };
    let branch = |facts: Option<&ReplicationFacts>| branch_of(facts, &place, id('b'));
    assert_eq!(branch(Some(&facts('b', Some('a'), Some(201)))), Some(200));
    assert_eq!(branch(Some(&facts('b', Some('a'), None))), Some(100));
    assert_eq!(branch(None), Some(100));
}

#[test]
fn what_was_said_of_other_histories_does_not_count() {
    let place = Place { replication_id: id('a'), offset: 100 };
    for facts in [facts('a', None, None), facts('b', Some('c'), Some(201)), facts('b', None, None)]
    {
        assert_eq!(branch_of(Some(&facts), &place, id('b')), None, "{facts:?}");
    }
}

#[tokio::test]
async fn an_order_asks_for_everything_once_more() {
    let mut stage = Stage::start(place('a', 100), 0, PLAIN).await;
    let (mut wire, _) = stage.accept().await;
    wire.say("+CONTINUE\r\n").await;
    assert!(matches!(stage.piece().await, Piece::Continued { .. }), "it goes on");
    stage.order.give();
    while wire.next().await.is_some() {}
    let (mut wire, asked) = stage.accept().await;
    assert_eq!(asked, ["PSYNC", "?", "-1"]);
    assert_eq!(
        stage.phase(),
        "waiting",
        "for an answer, as long as the source delays its snapshot"
    );
    // What is under way is not begun again.
    stage.order.give();
    wire.say(&format!("+FULLRESYNC {} 7\r\n$1\r\nx", id('a'))).await;
    assert!(matches!(stage.piece().await, Piece::FullResync(_)), "a transfer");
    assert!(matches!(stage.piece().await, Piece::Snapshot(_)), "its bytes");
    stage.stop().await;
}

const WRONG_PASSWORD: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

/// Refuses whoever comes, and tells how often it was asked until the intake gives up or that often.
async fn refuse(stage: &Stage, times: u32) -> u32 {
    for refused in 0..times {
        if stage.task.is_finished() {
            return refused;
        }
        let mut wire = tokio::select! {
            wire = stage.connected() => wire,
            () = until_finished(stage) => return refused,
        };
        while wire.next().await.is_some() {
            wire.say(WRONG_PASSWORD).await;
        }
    }
    times
}

async fn until_finished(stage: &Stage) {
    while !stage.task.is_finished() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_password_that_is_changed_under_way_is_waited_for_and_not_for_ever() {
    let mut stage = Stage::start(place('a', 100), 0, PLAIN).await;
    let (mut wire, _) = stage.accept().await;
    wire.say("+CONTINUE\r\n").await;
    assert!(matches!(stage.piece().await, Piece::Continued { .. }), "it goes on");
    drop(wire);
    assert_eq!(refuse(&stage, 5).await, 5);
    let (mut wire, asked) = stage.accept().await;
    assert_eq!(asked, ["PSYNC", id('a').as_str(), "101"], "let in again");
    wire.say("+CONTINUE\r\n*1\r\n$4\r\nPING\r\n").await;
    assert!(matches!(stage.piece().await, Piece::Continued { .. }), "it goes on");
    stage.piece().await;
    drop(wire);
    let begun = stage.clock.monotonic();
    let refused = refuse(&stage, 10_000).await;
    let took = stage.clock.monotonic() - begun;
    assert!(refused > 5 && took >= REFUSED_WINDOW, "given up after {refused} times, {took:?}");
    assert!(took < REFUSED_WINDOW * 2, "given up after {took:?} only");
    assert!(stage.task.await.unwrap().is_err());
}

#[tokio::test]
async fn a_source_that_never_let_us_in_is_not_waited_for() {
    let stage = Stage::start(place('a', 100), 0, PLAIN).await;
    assert_eq!(refuse(&stage, 100).await, 1);
    assert!(stage.task.await.unwrap().is_err());
}
