//! The HTTP side of a run.

use std::sync::Arc;

use ::admin::{Admin, Control, Parts};
use runtime::chain;
use serde_json::Value;

use super::Shared;
use crate::exit::{Exit, Failure};
use crate::options::typed::AdminSettings;
use crate::role::Role;

// === impl Shared ===

impl Shared {
    /// Takes the address. Where nobody has asked for just that one, a run goes on without.
    pub(super) async fn admin(
        &self,
        settings: AdminSettings,
        controls: Vec<Control>,
    ) -> Result<Option<Admin>, Failure> {
        controls.iter().for_each(|control| control.show(&self.status.child("throttle")));
        let Some(listen) = settings.listen else { return Ok(None) };
        let status = self.status.clone();
        let parts = Parts {
            status: self.status.clone(),
            clock: Arc::clone(&self.clock),
            version: env!("CARGO_PKG_VERSION"),
            controls,
            token: settings.token,
            readiness: Arc::new(move || readiness(&status.snapshot())),
        };
        match Admin::bind(&listen, parts).await {
            Ok(admin) => {
                let address = admin.address();
                self.status.child("admin").set("address", address.to_string());
                tracing::info!(address = format!("http://{address}"), "metrics and status");
                if !address.ip().is_loopback() {
                    tracing::warn!(
                        %address,
                        "others can reach metrics and status here, and HTTP hides no token on its way: let a proxy with TLS stand before it"
                    );
                }
                Ok(Some(admin))
            }
            Err(error) if settings.is_asked_for => Err(Failure {
                exit: Exit::Usage,
                what: chain(&error),
                advice: "name another address by --admin-listen (port 0: any that is free), or off"
                    .to_owned(),
            }),
            Err(error) => {
                tracing::warn!(
                    error = %chain(&error),
                    "going on without metrics and status by HTTP: --admin-listen names another address, or off"
                );
                Ok(None)
            }
        }
    }
}

/// What apply says while others have all partitions.
const WITHOUT_PARTITIONS: &str = "waiting for partitions";

/// Whether the sides that there are work; if not, why. Waiting for others to end is work, too.
fn readiness(status: &Value) -> Result<(), String> {
    let text = |path: &str| status.pointer(path).and_then(Value::as_str).unwrap_or_default();
    match (text("/state"), text("/step")) {
        ("running", _) => {}
        (state, "") => return Err(state.to_owned()),
        (state, step) => return Err(format!("{state}: {step}")),
    }
    let role = Role::named(text("/role"));
    if role.is_none_or(Role::captures) {
        capture_is_ready(status)?;
    }
    if role.is_none_or(Role::applies) { apply_is_ready(status) } else { Ok(()) }
}

fn capture_is_ready(status: &Value) -> Result<(), String> {
    let text = |path: &str| status.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let troubles = [text("/capture/trouble"), text("/capture/journal")];
    let trouble = troubles.iter().find(|trouble| !matches!(**trouble, "" | "accepting"));
    if let Some(trouble) = trouble {
        return Err(format!("capture: {trouble}"));
    }
    match text("/capture/phase") {
        "snapshot" | "stream" | "standby" => Ok(()),
        phase => Err(format!("capture: {phase}")),
    }
}

fn apply_is_ready(status: &Value) -> Result<(), String> {
    for path in ["/apply/journal", "/apply/letters"] {
        if let Some(trouble) = status.pointer(path).and_then(Value::as_str) {
            return Err(format!("apply: {trouble}"));
        }
    }
    let lanes = status.get("apply").and_then(Value::as_object).into_iter().flatten();
    let mut lanes = lanes.filter(|(_, lane)| lane.get("phase").is_some()).peekable();
    if status.pointer("/apply/phase").is_some_and(|phase| phase == WITHOUT_PARTITIONS) {
        return Ok(());
    }
    if lanes.peek().is_none() {
        return Err("apply: nothing has begun".to_owned());
    }
    for (name, lane) in lanes {
        let text = |name: &str| lane.get(name).and_then(Value::as_str).unwrap_or_default();
        match (text("phase"), text("waiting_for")) {
            ("snapshot" | "sweep" | "stream", _) => {}
            (phase, "") => return Err(format!("apply {name}: {phase}")),
            (_, error) => return Err(format!("apply {name}: {error}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use runtime::{StatusNode, SystemClock};
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::command::run::Asked;
    use crate::show::StatusFile;

    #[tokio::test]
    async fn a_port_that_is_taken_ends_a_run_only_where_it_was_asked_for() {
        let shared = || Shared {
            clock: Arc::new(SystemClock::new()),
            status: StatusNode::root(),
            stop: CancellationToken::new(),
            asked: Asked::default(),
            file: StatusFile::new("status.json".into()),
        };
        let settings = |listen: &str, is_asked_for| AdminSettings {
            listen: Some(listen.to_owned()),
            is_asked_for,
            token: None,
        };
        let first = shared().admin(settings("127.0.0.1:0", true), Vec::new()).await.unwrap();
        let first = first.unwrap();
        let taken = first.address().to_string();
        let went_on = shared().admin(settings(&taken, false), Vec::new()).await;
        assert!(went_on.unwrap().is_none());
        let refused = shared().admin(settings(&taken, true), Vec::new()).await.unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.what.contains(&taken) && refused.advice.contains("--admin-listen"));
        let off = AdminSettings { listen: None, ..settings("", true) };
        assert!(shared().admin(off, Vec::new()).await.unwrap().is_none());
    }

    #[test]
    fn it_is_ready_when_both_sides_work_and_says_else_which_does_not() {
        let mut status = json!({ "state": "starting", "step": "opening the journal" });
        let ready = |status: &Value| readiness(status).err().unwrap_or_default();
        assert_eq!(ready(&status), "starting: opening the journal");
        status = json!({ "state": "running", "capture": { "phase": "connecting" } });
        assert_eq!(ready(&status), "capture: connecting");
        status["capture"] = json!({ "phase": "stream", "trouble": "no route" });
        assert_eq!(ready(&status), "capture: no route");
        status["capture"] = json!({ "phase": "stream", "journal": "the disk is full" });
        assert_eq!(ready(&status), "capture: the disk is full");
        status["capture"] = json!({ "phase": "stream", "journal": "accepting" });
        assert_eq!(ready(&status), "apply: nothing has begun");
        status["apply"] = json!({ "stream": "main", "partitions-0-15": { "phase": "starting" } });
        assert_eq!(ready(&status), "apply partitions-0-15: starting");
        status["apply"]["partitions-0-15"] = json!({ "phase": "waiting", "waiting_for": "OOM" });
        assert_eq!(ready(&status), "apply partitions-0-15: OOM");
        status["apply"]["partitions-0-15"] = json!({ "phase": "snapshot", "held_by": "pause" });
        assert_eq!(ready(&status), "");
    }

    #[test]
    fn a_process_of_one_side_is_asked_for_that_alone() {
        let ready = |status: Value| readiness(&status).err().unwrap_or_default();
        let capture =
            |phase| json!({ "state": "running", "role": "capture", "capture": { "phase": phase } });
        assert_eq!(ready(capture("standby")), "");
        assert_eq!(ready(capture("connecting")), "capture: connecting");
        let apply = |phase| json!({ "state": "running", "role": "apply", "apply": { "a": { "phase": phase } } });
        assert_eq!(ready(apply("stream")), "");
        assert_eq!(ready(apply("starting")), "apply a: starting");
        // Without an answer nobody knows whether others have the partitions.
        let mut waiting = json!({ "state": "running", "role": "apply" });
        waiting["apply"] = json!({ "phase": WITHOUT_PARTITIONS });
        assert_eq!(ready(waiting.clone()), "");
        waiting["apply"]["letters"] = json!("nobody reads");
        assert_eq!(ready(waiting.clone()), "apply: nobody reads");
        waiting["apply"]["journal"] = json!("no answer");
        assert_eq!(ready(waiting), "apply: no answer");
    }
}
