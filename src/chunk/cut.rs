//! Cutting by content: FastCDC (Xia et al., USENIX ATC 2016; normalised chunking at level 1 to 2) with a secret gear table.

/// The sizes of chunks in bytes, as they stand in `bygone.toml`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// No chunk is shorter, except the last of a run of data.
    pub min: usize,
    /// What chunks measure about; a power of two.
    pub avg: usize,
    /// No chunk is longer.
    pub max: usize,
}

impl Sizes {
    /// What a new repository gets: 64 KiB, 256 KiB, 1 MiB.
    pub const DEFAULT: Sizes = Sizes { min: 64 << 10, avg: 256 << 10, max: 1 << 20 };
    /// The longest chunk that any repository may have: what a reader must be ready to hold.
    pub const LIMIT: usize = 64 << 20;

    /// Whether the sizes are in order and inside what a reader accepts.
    pub fn is_valid(&self) -> bool {
        let ordered = 64 <= self.min && self.min < self.avg && self.avg < self.max;
        ordered && self.max <= Self::LIMIT && self.avg.is_power_of_two()
    }
}

/// Finds cut points.
pub struct Cutter {
    sizes: Sizes,
    gear: Box<[u64; 256]>,
    strict: u64,
    loose: u64,
}

impl Cutter {
    /// A cutter for these sizes, with the repository's gear table.
    pub fn new(sizes: Sizes, gear: Box<[u64; 256]>) -> Cutter {
        let bits = sizes.avg.trailing_zeros();
        let mask = |n: u32| !0u64 << (64 - n);
        Cutter { sizes, gear, strict: mask(bits + 1), loose: mask(bits - 1) }
    }

    /// The sizes it cuts to.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The length of the first chunk of `data`, which must hold at least `max` bytes or the rest of its run.
    ///
    /// Deterministic in `data` and the gear table: the same bytes after a cut are cut the same way again.
    pub fn cut(&self, data: &[u8]) -> usize {
        let Sizes { min, avg, max } = self.sizes;
        if data.len() <= min {
            return data.len();
        }
        let end = data.len().min(max);
        let middle = end.min(avg);
        // The hash looks back over 64 bytes: start it early enough to be full at the first possible cut.
        let mut h = 0u64;
        for &b in &data[min - 64..min] {
            h = (h << 1).wrapping_add(self.gear[b as usize]);
        }
        for (mask, range) in [(self.strict, min..middle), (self.loose, middle.max(min)..end)] {
            let start = range.start;
            for (i, &b) in data[range].iter().enumerate() {
                h = (h << 1).wrapping_add(self.gear[b as usize]);
                if h & mask == 0 {
                    return start + i + 1;
                }
            }
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cutter() -> Cutter {
        let sizes = Sizes { min: 64, avg: 256, max: 1024 };
        let mut gear = Box::new([0; 256]);
        let mut x = 1u64;
        for g in gear.iter_mut() {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *g = x ^ x >> 29;
        }
        Cutter::new(sizes, gear)
    }

    fn cuts(c: &Cutter, mut data: &[u8]) -> Vec<usize> {
        let mut out = Vec::new();
        while !data.is_empty() {
            let n = c.cut(data);
            out.push(n);
            data = &data[n..];
        }
        out
    }

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut x = seed | 1;
        std::iter::repeat_with(|| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        })
        .take(len)
        .collect()
    }

    #[test]
    fn average_is_near_what_was_asked() {
        let data = noise(1 << 20, 5);
        let n = cuts(&cutter(), &data).len();
        let average = data.len() / n;
        assert!((180..400).contains(&average), "average {average}");
    }

    #[test]
    fn an_insertion_moves_few_cuts() {
        let c = cutter();
        let a = noise(200_000, 9);
        let mut b = a.clone();
        b.splice(50_000..50_000, *b"inserted");
        let ends = |data: &[u8]| {
            let mut at = 0;
            cuts(&c, data)
                .iter()
                .map(|n| {
                    at += n;
                    data.len() - at
                })
                .collect::<std::collections::BTreeSet<_>>()
        };
        let (ea, eb) = (ends(&a), ends(&b));
        let behind = |e: &std::collections::BTreeSet<usize>| e.range(..140_000).copied().collect::<Vec<_>>();
        assert_eq!(behind(&ea), behind(&eb), "cuts far behind the insertion are the same");
    }

    proptest! {
        #[test]
        fn chunks_keep_to_their_sizes(len in 0usize..20_000, seed: u64) {
            let c = cutter();
            let data = noise(len, seed);
            let all = cuts(&c, &data);
            prop_assert_eq!(all.iter().sum::<usize>(), len);
            for (i, n) in all.iter().enumerate() {
                prop_assert!(*n <= 1024);
                prop_assert!(*n >= 64 || i + 1 == all.len());
            }
        }
    }
}
