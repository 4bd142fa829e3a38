//! What every process of ours shares: named tasks, time, chance, status, error policy.
//!
//! Guarantees: nothing here knows Redis, Kafka or an event; real time is read in [`clock`] only
//! and tasks are started in [`tasks`] only, so tests own both; every wait is bounded by what the
//! caller gives.

pub mod backoff;
pub mod clock;
pub mod policy;
pub mod random;
pub mod rate;
pub mod secret;
pub mod signal;
pub mod status;
pub mod tasks;
pub mod throttle;
pub mod trouble;
pub mod units;

pub use backoff::Backoff;
pub use clock::{Clock, ManualClock, SystemClock};
pub use policy::{Class, Classified, chain};
pub use random::Random;
pub use rate::RateMeter;
pub use secret::Secret;
pub use status::StatusNode;
pub use tasks::{OnFailure, TaskError, Tasks};
pub use throttle::{Flow, Gate, Hold, Limits, Rate, Throttle};
pub use trouble::Trouble;
pub use units::ByteSize;
