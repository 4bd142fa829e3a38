//! What the two servers say of themselves: whether what is written to the one comes back from the other.

use std::sync::Arc;

use redis_io::{Connector, Endpoint, ServerFacts, connector};

use super::Shared;
use crate::exit::{Exit, Failure};

// === impl Shared ===

impl Shared {
    /// What is written to a server that is the source, or that the source replicates from, comes back from the source
    /// for ever. Servers that cannot be asked are for the two sides to complain about: tells which have answered.
    pub(super) async fn refuse_a_loop(
        &self,
        source: &Endpoint,
        destination: &Endpoint,
        existing: apply::Existing,
    ) -> Result<(bool, bool), Failure> {
        let (of_source, source_answered) = self.facts(source).await;
        let (of_destination, destination_answered) = self.facts(destination).await;
        let answered = (source_answered, destination_answered);
        let (Some(of_source), Some(of_destination)) = (of_source, of_destination) else {
            return Ok(answered);
        };
        if let Some(said) = of_destination.refusal_of("INFO") {
            // A server that has to be empty is at least not one whose data is copied.
            if existing != apply::Existing::Fail {
                return Err(untold_loop(source, destination, said));
            }
            tracing::warn!(
                said,
                "the destination does not answer INFO: whether it is the source, or replicates with it, is not known"
            );
        }
        let run_id = |facts: &ServerFacts| facts.run_id.clone();
        let history = |facts: &ServerFacts| Some(facts.replication.as_ref()?.replid.clone());
        let same = |what: &dyn Fn(&ServerFacts) -> Option<String>| {
            what(&of_source).is_some_and(|one| Some(one) == what(&of_destination))
        };
        let refused = |what: &str, advice: &str| {
            let what = format!("{source} and {destination} {what}");
            Err(Failure { exit: Exit::Usage, what, advice: advice.to_owned() })
        };
        if same(&run_id) {
            let advice =
                "name two servers: one that is copied to itself would hear its own writes for ever";
            return refused("are the same server", advice);
        }
        if same(&history) {
            let advice = "end the replication between them (REPLICAOF NO ONE at the replica) first: what is written \
                          to the one would come back from the other for ever";
            return refused(
                "have one replication history: one is a replica of the other, or both of a third",
                advice,
            );
        }
        Ok(answered)
    }

    /// What a server says of itself, where it can be asked, and whether it has answered at all.
    async fn facts(&self, endpoint: &Endpoint) -> (Option<ServerFacts>, bool) {
        let connector = Connector::new(
            endpoint.clone(),
            connector::Settings::default(),
            Arc::clone(&self.clock),
        );
        let Ok(connector) = connector else { return (None, false) };
        let facts = async {
            let mut connection = connector.connect().await.ok()?;
            ServerFacts::gather(&mut connection).await.ok()
        };
        (facts.await, connector.has_answered())
    }
}

/// Whether what is written comes back is not known, and nothing else would show it before data is overwritten.
fn untold_loop(source: &Endpoint, destination: &Endpoint, said: &str) -> Failure {
    let what = format!(
        "{destination} does not tell whether it is {source} itself, or replicates with it: INFO was answered with {said}"
    );
    let user = redis_io::refusal::user_of(&destination.to_string()).to_owned();
    Failure {
        exit: Exit::Destination,
        what,
        advice: format!("Allow it to be asked: ACL SETUSER {user} +info."),
    }
}
