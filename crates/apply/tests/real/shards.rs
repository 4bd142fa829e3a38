//! What one shard of several does to its slots.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use apply::{Config, Error, Inexact};
use event::checkpoint::Checkpoint;
use event::control::Control;
use testkit::{Kind, Server};
use wire::slot::Slots;

use crate::harness::{Bench, LIMIT};
use crate::neighbours::comes_to_the_crowd;

/// What a server executes from now on, line by line.
struct Seen(BufReader<TcpStream>);

// === impl Seen ===

impl Seen {
    fn of(server: &Server) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"MONITOR\r\n")?;
        let mut seen = Self(BufReader::new(stream));
        ensure!(seen.next()?.starts_with("+OK"), "it is not shown");
        Ok(seen)
    }

    fn next(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.0.read_line(&mut line)? > 0, "the server has gone");
        Ok(line)
    }
}

/// The words of a line, each in quotes there.
fn words(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut word, mut chars) = (Vec::new(), None::<Vec<u8>>, line.chars());
    while let Some(next) = chars.next() {
        match (next, &mut word) {
            ('"', Some(_)) => words.extend(word.take()),
            ('"', None) => word = Some(Vec::new()),
            ('\\', Some(word)) => word.push(match chars.next() {
                Some('x') => {
                    let digits: String = chars.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).expect("two digits")
                }
                Some('n') => b'\n',
                Some('r') => b'\r',
                Some('t') => b'\t',
                Some('a') => 7,
                Some('b') => 8,
                other => u8::try_from(other.expect("it ends")).expect("a byte"),
            }),
            (other, Some(word)) => word.push(u8::try_from(other).expect("a byte")),
            (_, None) => {}
        }
    }
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_said_to_be_judged_before_the_keys_of_a_flush_go() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    for number in 0..100 {
        bench.feed.command(&format!("INCR n{}", number % 20)).await?;
    }
    bench.feed.control(Control::FlushSlots { all: true, slots: Slots::all() }).await?;
    bench.feed.command("SET end 1").await?;
    let mut seen = Seen::of(&bench.server)?;
    let service = bench.start().await?;
    let mut last: Option<Checkpoint> = None;
    loop {
        let words = words(&seen.next()?);
        let is = |name: &str| words.first().is_some_and(|word| word == name.as_bytes());
        if is("UNLINK") {
            break;
        }
        if is("SET") {
            let written = words.get(2).and_then(|word| event::codec::checkpoint::decode(word).ok());
            last = written.filter(|of| !of.applied.is_empty()).or(last);
        }
    }
    let [applied] = last.context("no checkpoint")?.applied[..] else { panic!("one shard") };
    assert_eq!(applied.judged, applied.position, "a crash from here on leaves it in doubt");
    testkit::eventually(LIMIT, "the flush is done", || Ok(bench.get("end")?.map(drop)))?;
    assert_eq!(bench.client.cmd(&["EXISTS", "n1"])?.int()?, 0);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_flush_of_slots_has_left_when_it_was_stopped_goes_after_the_next_start() -> Result<()>
{
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET ours 1").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    bench.crowd()?;
    bench.feed.control(Control::FlushSlots { all: true, slots: Slots::all() }).await?;
    bench.feed.command("SET end 1").await?;
    let service = bench.start().await?;
    bench.stopped_in_the_middle(service).await?;
    assert_eq!(bench.get("end")?, None, "it is behind the flush");
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(bench.client.cmd(&["KEYS", "crowd:*"])?.array()?.len(), 0);
    assert_eq!(bench.get("ours")?, None);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_begins_while_slots_are_emptied_loses_nothing() -> Result<()> {
    for inexact in [Inexact::Refuse, Inexact::Skip] {
        let mut bench = Bench::streaming(Kind::Redis7_0).await?;
        bench.feed.command("SET ours 1").await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        service.stop().await?;
        bench.feed.control(Control::FlushSlots { all: true, slots: Slots::all() }).await?;
        bench.feed.command("SET end 1").await?;
        let config = Config { inexact, ..bench.config() };
        let ended = comes_to_the_crowd(&mut bench, config).await?;
        let refused = matches!(ended, Some(Error::Inexact { command: "FLUSHALL", .. }));
        assert_eq!(refused, inexact == Inexact::Refuse, "{ended:?}");
    }
    Ok(())
}
