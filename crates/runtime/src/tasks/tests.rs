//! What the owner of tasks may rely on.

use super::*;
use crate::clock::{ManualClock, SystemClock};

const GRACE: Duration = Duration::from_secs(5);

fn tasks() -> Tasks {
    Tasks::new(Arc::new(SystemClock::new()))
}

#[tokio::test]
async fn ends_cleanly_when_every_task_does() {
    let tasks = tasks();
    tasks.spawn("one", OnFailure::StopAll, async { Ok(()) });
    tasks.spawn_blocking("two", OnFailure::StopAll, || Ok(()));
    let outcome = tasks.join(GRACE).await;
    assert!(outcome.is_clean(), "{outcome}");
    assert!(!tasks.stop_token().is_cancelled());
}

#[tokio::test]
async fn a_failure_stops_the_others_and_names_the_task() {
    let tasks = tasks();
    let stop = tasks.stop_token();
    tasks.spawn("waits", OnFailure::StopAll, async move {
        stop.cancelled().await;
        Ok(())
    });
    tasks.spawn("fails", OnFailure::StopAll, async { Err("disk full".into()) });
    let outcome = tasks.join(GRACE).await;
    let first = outcome.first.expect("a failure");
    assert_eq!(first.to_string(), "task fails failed");
    assert_eq!(first.source().unwrap().to_string(), "disk full");
    assert!(outcome.others.is_empty() && outcome.stuck.is_empty());
}

#[tokio::test]
async fn a_panic_is_a_failure_that_names_the_task() {
    let tasks = tasks();
    tasks.spawn(String::from("shard 3"), OnFailure::StopAll, async { panic!("at {}", 7) });
    let first = tasks.join(GRACE).await.first.expect("a failure");
    assert_eq!(first.to_string(), "task shard 3 panicked: at 7");
    let tasks = self::tasks();
    tasks.spawn_blocking("parser", OnFailure::StopAll, || panic!("boom"));
    let first = tasks.join(GRACE).await.first.expect("a failure");
    assert_eq!(first.to_string(), "task parser panicked: boom");
}

#[tokio::test]
async fn a_failure_acts_before_anybody_joins() {
    let tasks = tasks();
    tasks.spawn("fails", OnFailure::StopAll, async { Err("no".into()) });
    tasks.stop_token().cancelled().await;
    assert_eq!(tasks.join(GRACE).await.first.unwrap().task(), "fails");
}

#[tokio::test]
async fn a_reported_failure_leaves_the_others_alone() {
    let tasks = tasks();
    let (done, wait) = tokio::sync::oneshot::channel();
    tasks.spawn("reports", OnFailure::Report, async { Err("small".into()) });
    tasks.spawn("works", OnFailure::StopAll, async move { wait.await.map_err(Into::into) });
    while tasks.running().len() > 1 {
        tokio::task::yield_now().await;
    }
    assert!(!tasks.stop_token().is_cancelled());
    done.send(()).unwrap();
    let outcome = tasks.join(GRACE).await;
    assert!(outcome.first.is_none());
    assert_eq!(outcome.others.first().map(Failure::task), Some("reports"));
}

#[tokio::test]
async fn the_outcome_names_who_did_not_leave_in_time() {
    let clock = ManualClock::new(0);
    let tasks = Tasks::new(Arc::new(clock.clone()));
    tasks.spawn("deaf", OnFailure::StopAll, std::future::pending());
    tasks.spawn("fails", OnFailure::StopAll, async { Err("no".into()) });
    let (outcome, ()) = tokio::join!(tasks.join(GRACE), async {
        clock.wait_for_sleepers(1).await;
        clock.advance(GRACE);
    });
    assert_eq!(outcome.stuck, ["deaf"]);
    assert_eq!(outcome.to_string(), "task fails failed; did not leave in time: deaf");
    assert!(!outcome.is_clean());
}

#[tokio::test]
async fn a_set_under_another_stops_with_it_but_not_the_other_way() {
    let parent = tasks();
    let child = Tasks::under(Arc::new(SystemClock::new()), &parent.stop_token());
    child.stop_token().cancel();
    assert!(!parent.stop_token().is_cancelled());
    let child = Tasks::under(Arc::new(SystemClock::new()), &parent.stop_token());
    parent.stop_token().cancel();
    assert!(child.stop_token().is_cancelled());
}

#[tokio::test]
async fn tasks_may_spawn_while_the_owner_joins() {
    let tasks = Arc::new(tasks());
    let inner = Arc::clone(&tasks);
    let (seen, see) = tokio::sync::oneshot::channel();
    tasks.spawn("parent", OnFailure::StopAll, async move {
        inner.spawn("child", OnFailure::StopAll, async move {
            seen.send(()).map_err(|()| "nobody listens".into())
        });
        Ok(())
    });
    assert!(tasks.join(GRACE).await.is_clean());
    see.await.unwrap();
}
