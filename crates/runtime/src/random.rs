//! Chance as a dependency: one seed decides everything drawn from it.
//!
//! Not for secrets: this generator is fast and reproducible, not unpredictable.

/// A seeded generator. Hand each component its own with [`Random::fork`].
#[derive(Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    /// The same seed gives the same draws on every machine.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// A seed from the operating system's hash randomness: different in every process.
    #[must_use]
    pub fn from_entropy() -> Self {
        Self(fastrand::Rng::new())
    }

    /// An independent generator, determined by this one's state.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.0.fork())
    }

    /// Uniform over all 64-bit numbers.
    pub fn next_u64(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.u64(..bound) }
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        self.0.f64()
    }

    /// True with the given probability; 0 and below is never, 1 and above is always.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Puts the items in a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_determines_every_draw_also_in_forks() {
        let draw = |seed| {
            let mut random = Random::from_seed(seed);
            let mut fork = random.fork();
            (random.next_u64(), fork.next_u64(), random.below(1_000))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn bounds_hold() {
        let mut random = Random::from_seed(1);
        assert_eq!(random.below(0), 0);
        assert!((0..1_000).all(|_| random.below(3) < 3));
        assert!(!random.chance(0.0));
        assert!(random.chance(1.0));
    }
}
