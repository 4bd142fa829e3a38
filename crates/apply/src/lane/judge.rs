//! What the replies to one batch mean. Pure.

use redis_io::{Code, Refusal};
use wire::resp::reply::Reply;

use crate::batch::{Batch, Judge, Sent};
use crate::plan::Failure;

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was executed with its checkpoint.
    Executed(Vec<Failure>),
    /// Nothing of it was executed, since the destination does not take writes now.
    Refused(Refusal),
    /// Nothing of it was executed, since it cannot take these commands, ever.
    Rejected(Vec<Failure>),
    /// It was executed, and the checkpoint that it was to replace was not there: somebody has removed data.
    Gone,
    /// Nothing of it was executed: what other lanes keep at the destination changed before it.
    Crossed,
    /// It was executed but for a change of whole databases, which is not to be passed.
    Unpassed(Failure),
    /// It was executed and the checkpoint was not written.
    Torn(String),
}

/// Judges the reply to EXEC; `refused` are the commands that were not queued.
pub(crate) fn judge(batch: &Batch, refused: &[(Option<Sent>, Refusal)], exec: &Reply) -> Verdict {
    match exec {
        Reply::Array(items) => executed(batch, items),
        Reply::Error(text) => not_executed(refused, text),
        Reply::Null => Verdict::Crossed,
        other => Verdict::Torn(format!("EXEC was answered with {other:?}")),
    }
}

fn executed(batch: &Batch, items: &[Reply]) -> Verdict {
    let commands = batch.commands();
    let (Some(last), true) = (items.last(), items.len() == commands) else {
        return Verdict::Torn(format!("{} replies to {commands} commands", items.len()));
    };
    if let Reply::Error(text) = last {
        let refusal = Refusal::read(text);
        // Old servers ask for room and role only while they execute: then every write was refused alike.
        let alike = items.iter().all(|item| matches!(item, Reply::Error(_)) || item.is_ok());
        let wrote = batch
            .answered(items)
            .any(|(item, sent)| !matches!(item, Reply::Error(_)) && *sent != Sent::OURS);
        return match alike && !wrote {
            true => Verdict::Refused(refusal),
            false => Verdict::Torn(refusal.text),
        };
    }
    let checkpoints = items.get(commands - batch.checkpoints()..).unwrap_or_default();
    if checkpoints.iter().any(|reply| matches!(reply, Reply::Null)) {
        return Verdict::Gone;
    }
    let whole = batch
        .answered(items)
        .find(|(item, sent)| matches!(item, Reply::Error(_)) && sent.judge == Judge::Wholesale);
    if let Some((item, sent)) = whole {
        return Verdict::Unpassed(Failure { sent: *sent, said: said(item) });
    }
    let ours = batch
        .answered(items)
        .find(|(item, sent)| matches!(item, Reply::Error(_)) && sent.judge == Judge::Ours);
    if let Some((Reply::Error(text), _)) = ours {
        return Verdict::Torn(String::from_utf8_lossy(text).into_owned());
    }
    let failures = batch.answered(items).filter_map(|(item, sent)| failure(item, *sent));
    Verdict::Executed(failures.collect())
}

/// What an error says.
fn said(item: &Reply) -> Option<String> {
    match item {
        Reply::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    }
}

fn failure(item: &Reply, sent: Sent) -> Option<Failure> {
    let said = match (item, sent.judge) {
        (_, Judge::Settles) => return None,
        (Reply::Error(text), Judge::Repeats) if text.starts_with(b"BUSYGROUP") => return None,
        (Reply::Error(text), Judge::Deletes) if is_no_library(text) => return None,
        (Reply::Error(text), Judge::Runs) if is_returned(text) => return None,
        (Reply::Error(text), Judge::IsThere) if text.eq_ignore_ascii_case(b"ERR no such key") => {
            Some(Failure::RENEWED_TOO_LATE.to_owned())
        }
        (Reply::Error(text), Judge::Takes) if text.eq_ignore_ascii_case(b"ERR no such key") => None,
        (Reply::Error(text), _) => Some(String::from_utf8_lossy(text).into_owned()),
        (Reply::Integer(0) | Reply::Null, Judge::Takes | Judge::Pops) => None,
        (Reply::Integer(0), Judge::Renews) => Some(Failure::RENEWED_TOO_LATE.to_owned()),
        (Reply::Array(fields), Judge::RenewsFields) if are_gone(fields) => {
            Some(Failure::RENEWED_TOO_LATE.to_owned())
        }
        _ => return None,
    };
    Some(Failure { sent, said })
}

/// Whether an error is what a script returned, as it did at the source, and not what ended it or kept it from running.
fn is_returned(text: &[u8]) -> bool {
    let refusal = Refusal::read(text);
    let ended = ["Error running script", "Error compiling script", " script: "];
    matches!(refusal.code, Code::Other | Code::WrongType)
        && !ended.iter().any(|mark| refusal.text.contains(mark))
}

/// Whether an error says that there is no such function library.
fn is_no_library(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"ERR Library not found")
}

/// Whether a hash had none of the fields whose deadlines were to change.
fn are_gone(fields: &[Reply]) -> bool {
    !fields.is_empty() && fields.iter().all(|field| *field == Reply::Integer(-2))
}

fn not_executed(refused: &[(Option<Sent>, Refusal)], text: &[u8]) -> Verdict {
    let concerns_all = |(sent, refusal): &&(Option<Sent>, Refusal)| {
        sent.is_none_or(|sent| matches!(sent.judge, Judge::Ours | Judge::Settles))
            || !is_about_the_command(refusal.code)
    };
    if let Some((_, refusal)) = refused.iter().find(concerns_all) {
        return Verdict::Refused(refusal.clone());
    }
    let rejected = refused.iter().filter_map(|(sent, refusal)| {
        Some(Failure { sent: (*sent)?, said: Some(refusal.text.clone()) })
    });
    let rejected: Vec<Failure> = rejected.collect();
    if !rejected.is_empty() {
        return Verdict::Rejected(rejected);
    }
    // `EXECABORT Transaction discarded because of: OOM …`: the reason is what matters.
    const BECAUSE: &[u8] = b"because of: ";
    let at = text.windows(BECAUSE.len()).position(|window| window == BECAUSE);
    let reason = at.and_then(|at| text.get(at + BECAUSE.len()..)).unwrap_or(text);
    Verdict::Refused(Refusal::read(reason))
}

/// Whether a command that sets several keys was refused for what it is: single ones may be taken.
pub(crate) fn refuses_joined(refused: &[(Option<Sent>, Refusal)]) -> bool {
    refused.iter().any(|(sent, refusal)| {
        sent.is_some_and(|sent| sent.joined)
            && (is_about_the_command(refusal.code) || refusal.code == Code::NoPermission)
    })
}

/// Whether a refusal to queue a command says something about the command, and nothing about the destination's state.
fn is_about_the_command(code: Code) -> bool {
    matches!(code, Code::UnknownCommand | Code::Other | Code::CrossSlot)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const DATA: Sent = Sent::data(0, 0);
    const TAKES: Sent = Sent { judge: Judge::Takes, ..Sent::data(1, 0) };
    const POPS: Sent = Sent { judge: Judge::Pops, ..Sent::data(2, 0) };

    fn batch() -> Batch {
        let mut batch = Batch::new(0);
        batch.command(0, DATA, ["INCR", "a"]);
        batch.command(0, TAKES, ["RENAME", "a", "b"]);
        batch.command(0, POPS, ["LMOVE", "a", "b", "LEFT", "LEFT"]);
        batch.checkpoint(b"ck", b"v", true);
        batch.finish();
        batch
    }

    fn error(text: &'static str) -> Reply {
        Reply::Error(Bytes::from_static(text.as_bytes()))
    }

    fn ok() -> Reply {
        Reply::Simple(Bytes::from_static(b"OK"))
    }

    fn judged(items: Vec<Reply>) -> Verdict {
        judge(&batch(), &[], &Reply::Array(items))
    }

    #[test]
    fn good_replies_leave_nothing_to_do() {
        let items = vec![Reply::Integer(1), ok(), Reply::Bulk(Bytes::new()), ok()];
        assert_eq!(judged(items), Verdict::Executed(Vec::new()));
    }

    #[test]
    fn errors_and_what_found_nothing_to_take_are_named() {
        let items = vec![error("WRONGTYPE x"), error("ERR no such key"), Reply::Null, ok()];
        let expected = vec![
            Failure { sent: DATA, said: Some("WRONGTYPE x".into()) },
            Failure { sent: TAKES, said: None },
            Failure { sent: POPS, said: None },
        ];
        assert_eq!(judged(items), Verdict::Executed(expected));
    }

    #[test]
    fn a_refused_checkpoint_is_a_tear_unless_everything_was_refused() {
        let read_only = || error("READONLY You can't write against a read only replica.");
        let all = vec![read_only(), read_only(), read_only(), read_only()];
        assert!(matches!(judged(all), Verdict::Refused(refusal) if refusal.code == Code::ReadOnly));
        let some = vec![Reply::Integer(1), read_only(), read_only(), read_only()];
        assert!(matches!(judged(some), Verdict::Torn(_)));
        assert!(matches!(judged(vec![ok()]), Verdict::Torn(_)));
    }

    #[test]
    fn a_batch_that_met_another_process_was_not_executed() {
        assert_eq!(judge(&batch(), &[], &Reply::Null), Verdict::Crossed);
    }

    #[test]
    fn a_flush_that_failed_is_never_passed() {
        let whole = Sent { judge: Judge::Wholesale, ..DATA };
        let mut batch = Batch::new(0);
        batch.flush(3, DATA);
        batch.checkpoint(b"ck", b"v", true);
        batch.finish();
        let items = vec![ok(), error("NOPERM no"), ok(), ok()];
        let expected = Failure { sent: whole, said: Some("NOPERM no".into()) };
        assert_eq!(judge(&batch, &[], &Reply::Array(items)), Verdict::Unpassed(expected));
    }

    #[test]
    fn a_command_that_is_not_known_is_rejected_alone() {
        let abort = error("EXECABORT Transaction discarded because of previous errors.");
        let refused = [(Some(DATA), Refusal::read(b"ERR unknown command 'NOPE'"))];
        let expected = Failure { sent: DATA, said: Some("ERR unknown command 'NOPE'".into()) };
        assert_eq!(judge(&batch(), &refused, &abort), Verdict::Rejected(vec![expected]));
        let oom = (Some(DATA), Refusal::read(b"OOM command not allowed"));
        let both = [refused[0].clone(), oom.clone()];
        assert_eq!(judge(&batch(), &both, &abort), Verdict::Refused(oom.1));
        let ours = [(Some(Sent::OURS), Refusal::read(b"ERR unknown command 'SELECT'"))];
        assert!(matches!(judge(&batch(), &ours, &abort), Verdict::Refused(_)));
    }

    #[test]
    fn a_renewal_of_what_is_gone_is_a_failure_and_settling_never_is() {
        let judged = |judge, reply| {
            let mut batch = Batch::new(0);
            batch.command(0, Sent { judge, ..DATA }, ["PEXPIREAT", "a", "9"]);
            batch.checkpoint(b"ck", b"v", true);
            batch.finish();
            match super::judge(&batch, &[], &Reply::Array(vec![reply, ok()])) {
                Verdict::Executed(failures) => failures.len(),
                verdict => panic!("{verdict:?}"),
            }
        };
        let fields =
            |codes: &[i64]| Reply::Array(codes.iter().copied().map(Reply::Integer).collect());
        for (judge, reply, failures) in [
            (Judge::Renews, Reply::Integer(0), 1),
            (Judge::Renews, Reply::Integer(1), 0),
            (Judge::RenewsFields, fields(&[-2, -2]), 1),
            (Judge::RenewsFields, fields(&[-2, 1]), 0),
            (Judge::RenewsFields, fields(&[0]), 0),
            (Judge::RenewsFields, fields(&[-1]), 0),
            (Judge::RenewsFields, error("WRONGTYPE x"), 1),
            (Judge::IsThere, ok(), 0),
            (Judge::IsThere, error("ERR no such key"), 1),
            (Judge::Deletes, error("ERR Library not found"), 0),
            (Judge::Deletes, error("NOPERM x"), 1),
            (Judge::Data, error("ERR Library not found"), 1),
            (Judge::Settles, Reply::Integer(0), 0),
            (Judge::Settles, error("WRONGTYPE x"), 0),
        ] {
            assert_eq!(judged(judge, reply.clone()), failures, "{judge:?} {reply:?}");
        }
    }

    #[test]
    fn the_reason_of_an_abort_is_taken_out_of_it() {
        let abort = error("EXECABORT Transaction discarded because of: OOM command not allowed");
        let verdict = judge(&batch(), &[], &abort);
        assert!(matches!(verdict, Verdict::Refused(refusal) if refusal.code == Code::OutOfMemory));
    }
}
