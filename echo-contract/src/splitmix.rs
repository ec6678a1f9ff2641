//! SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): a number from a seed and a place,
//! the same on every machine. Payloads, sizes and random arrivals are drawn with it: a seed gives the same ones for ever.

/// By how much the state grows from one number to the next.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The first number that follows this seed.
#[inline]
#[must_use]
pub const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number at a place, from 0, of the sequence that follows this seed.
#[inline]
#[must_use]
pub const fn at(seed: u64, place: u64) -> u64 {
    mix(seed.wrapping_add(place.wrapping_mul(STEP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_reference_implementation() {
        assert_eq!(
            [0, 1, 2, 3, 4].map(|place| at(1_234_567, place)),
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
        assert_eq!(mix(1_234_567), at(1_234_567, 0));
    }
}
