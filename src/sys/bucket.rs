//! Token buckets: how many bytes a second something may take.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Longest sleep between two looks whether there is still a reason to wait.
const LOOK: Duration = Duration::from_millis(100);

/// A bucket: `rate` bytes flow into it each second, and it holds those of one second. Pure; the time is given.
///
/// Taking never fails: whoever takes more than is there leaves a debt, and waits until it is paid off. So a request larger than the
/// bucket goes through, and in the long run no more is taken than flows in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    /// Bytes a second.
    rate: u64,
    /// When the bucket would be full again, if nothing more were taken; since some beginning.
    full_at: Duration,
}

impl Bucket {
    /// A full bucket.
    fn new(rate: u64, now: Duration) -> Bucket {
        Bucket { rate, full_at: now }
    }

    /// Takes `bytes`, and says how long to wait before they are used.
    fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.rate.max(1) as f64);
        self.full_at = self.full_at.max(now).saturating_add(cost);
        // A full bucket is worth one second.
        self.full_at.saturating_sub(now).saturating_sub(Duration::from_secs(1))
    }
}

/// A bucket that all threads share, and that lets everything through until it is given a rate.
#[derive(Debug)]
pub struct Throttle {
    begun: Instant,
    bucket: Mutex<Option<Bucket>>,
    waited_ns: AtomicU64,
}

impl Throttle {
    /// A bucket for so many bytes a second; none: no limit.
    pub fn new(rate: Option<u64>) -> Throttle {
        let throttle = Throttle { begun: Instant::now(), bucket: Mutex::new(None), waited_ns: AtomicU64::new(0) };
        throttle.set(rate);
        throttle
    }

    /// Another rate from now on. The same rate again changes nothing: a bucket that is empty stays so.
    pub fn set(&self, rate: Option<u64>) {
        let now = self.begun.elapsed();
        let mut bucket = self.lock();
        if bucket.map(|bucket| bucket.rate) != rate {
            *bucket = rate.map(|rate| Bucket::new(rate, now));
        }
    }

    /// The rate in bytes a second, if there is one.
    pub fn rate(&self) -> Option<u64> {
        self.lock().map(|bucket| bucket.rate)
    }

    /// Takes `bytes`, and sleeps until they may be used, or until `go_on`, which is asked several times a second, says no.
    pub fn take(&self, bytes: u64, mut go_on: impl FnMut() -> bool) {
        let wait = match &mut *self.lock() {
            None => return,
            Some(bucket) => bucket.take(bytes, self.begun.elapsed()),
        };
        let until = Instant::now() + wait;
        while let Some(rest) = until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero() && go_on()) {
            let nap = rest.min(LOOK);
            std::thread::sleep(nap);
            self.waited_ns.fetch_add(u64::try_from(nap.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// How long threads have slept here, all together.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited_ns.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Bucket>> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_second_at_once_and_then_as_much_as_flows_in() {
        let mut bucket = Bucket::new(1000, MS(5000));
        assert_eq!(bucket.take(400, MS(5000)), MS(0));
        assert_eq!(bucket.take(600, MS(5000)), MS(0), "what one second brings");
        assert_eq!(bucket.take(100, MS(5000)), MS(100));
        assert_eq!(bucket.take(100, MS(5000)), MS(200), "whoever comes later waits for those before");
        assert_eq!(bucket.take(0, MS(5200)), MS(0), "the debt is paid off");
        assert_eq!(bucket.take(1000, MS(60_000)), MS(0), "it does not hold more than one second");
        assert_eq!(bucket.take(1, MS(60_000)), MS(1));
        assert_eq!(bucket.take(5000, MS(61_001)), MS(4000), "more than it holds goes through, later");
    }

    #[test]
    fn in_the_long_run_no_more_is_taken_than_flows_in() {
        let (mut bucket, mut now, mut taken) = (Bucket::new(1 << 20, MS(0)), MS(0), 0u64);
        for n in 0..10_000u64 {
            let bytes = (n * 7919) % 300_000;
            now += bucket.take(bytes, now);
            taken += bytes;
            assert!(taken <= ((now.as_secs_f64() + 1.0) * f64::from(1 << 20)) as u64 + 1, "{n}: {taken} at {now:?}");
        }
        assert!(now > Duration::from_secs(1000));
    }

    #[test]
    fn threads_share_it_and_whoever_is_stopped_does_not_wait() {
        let throttle = Throttle::new(Some(1 << 20));
        throttle.take(1 << 20, || true);
        assert_eq!(throttle.waited(), Duration::ZERO);
        let slow = Throttle::new(Some(1));
        let asked = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| slow.take(1 << 30, || asked.fetch_add(1, Ordering::Relaxed) > 100));
            }
        });
        assert_eq!(asked.into_inner(), 4, "each of them was to wait for years, and was told not to");
        throttle.take(1 << 40, || false);
        throttle.set(None);
        throttle.take(1 << 40, || panic!("nobody waits where there is no limit"));
        assert_eq!(throttle.rate(), None);
    }
}
