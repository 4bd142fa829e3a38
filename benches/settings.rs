//! How long is measured: all benchmarks together stay below three minutes.

use std::time::Duration;

use criterion::Criterion;

/// Long enough that frequency and caches have settled.
const WARM_UP: Duration = Duration::from_millis(300);

/// Shorter, the noise of a shared machine shows; longer, nobody waits for the result.
const MEASURE: Duration = Duration::from_millis(1_500);

/// Enough samples for a median that stays.
const SAMPLES: usize = 40;

/// For the intervals around the median; the default takes as long as measuring does.
const RESAMPLES: usize = 5_000;

/// What every benchmark is measured with, unless the command line says otherwise.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(WARM_UP)
        .measurement_time(MEASURE)
        .sample_size(SAMPLES)
        .nresamples(RESAMPLES)
        .configure_from_args()
}
