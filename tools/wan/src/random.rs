//! Random numbers that are the same for ever.

/// A stream of numbers: splitmix64, which is small and good enough for coin tosses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream `number` of those that `seed` gives; they have nothing to do with each other.
    pub(crate) fn stream(seed: u64, number: u64) -> Self {
        let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mix(mix(seed ^ 0x5851_f42d_4c95_7f2d).wrapping_add(number)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Between 0 and 1, without 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether that happens which has `probability`. What never happens takes no number.
    pub(crate) fn hits(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// With an exponential distribution.
    pub(crate) fn exponential(&mut self, mean: u64) -> u64 {
        (-(1.0 - self.unit()).ln() * mean as f64) as u64
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
