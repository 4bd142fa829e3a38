//! Looking at the destination for which of the keys in doubt nothing is wrong.
//!
//! Guarantees: nothing after the changes in doubt has been executed when it looks; where it may not look, or finds
//! anything else than what is expected, the key stays a suspect.

use bytes::BytesMut;
use wire::resp::reply::Reply;

use super::pump::Pump;
use crate::doubt::evidence::Evidence;
use crate::error::Error;
use crate::existing::select;
use crate::quarantine::set::Spot;
use crate::quarantine::suspects::Suspected;

/// So many keys are asked about before their answers are read.
const KEYS_AT_ONCE: usize = 256;

// === impl Pump ===

impl Pump<'_> {
    /// Takes back the suspicion of keys that show that their changes were executed. Nothing is under way.
    pub(super) async fn clear_of_suspicion(&mut self) -> Result<(), Error> {
        let suspected = std::mem::take(&mut self.planner.suspects);
        if suspected.iter().all(|suspected| suspected.evidence.is_none()) {
            self.planner.suspects = suspected;
            return Ok(());
        }
        let of = suspected.len();
        // What became of a library is not looked for.
        let (libraries, suspected): (Vec<_>, Vec<_>) =
            suspected.into_iter().partition(|suspected| suspected.spot.is_library());
        self.planner.suspects.extend(libraries);
        for of_one_db in suspected.chunk_by(|one, other| one.spot.db == other.spot.db) {
            let Some(first) = of_one_db.first() else { continue };
            select(&mut self.connection, first.spot.db).await?;
            for some in of_one_db.chunks(KEYS_AT_ONCE) {
                let doubtful = self.doubtful_of(some).await?;
                self.planner.suspects.extend(doubtful);
            }
        }
        select(&mut self.connection, self.tools.config.checkpoint_db).await?;
        tracing::debug!(
            keys = of,
            suspects = self.planner.suspects.len(),
            "looked at keys whose last changes were executed without their replies being read"
        );
        Ok(())
    }

    /// Those of the keys, all of the selected database, that do not show what is expected.
    async fn doubtful_of(&mut self, suspected: &[Suspected]) -> Result<Vec<Suspected>, Error> {
        let mut out = BytesMut::new();
        let asked: Vec<usize> = suspected
            .iter()
            .map(|Suspected { spot, evidence }| {
                evidence.as_ref().map_or(0, |evidence| evidence.ask(&spot.key, &mut out))
            })
            .collect();
        self.connection.send(&out).await?;
        self.connection.flush().await?;
        let mut doubtful = Vec::new();
        for (suspected, commands) in suspected.iter().zip(asked) {
            let mut answers = Vec::with_capacity(commands);
            for _ in 0..commands {
                answers.push(self.connection.recv().await?);
            }
            if !shows(&suspected.spot, suspected.evidence.as_ref(), &answers) {
                doubtful.push(suspected.clone());
            }
        }
        Ok(doubtful)
    }
}

fn shows(spot: &Spot, evidence: Option<&Evidence>, answers: &[Reply]) -> bool {
    let shown = evidence.is_some_and(|evidence| evidence.is_in(answers));
    if !shown {
        tracing::debug!(key = %spot, ?answers, "nothing shows that its changes were executed");
    }
    shown
}
