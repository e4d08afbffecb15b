//! Recovery points against an objective: pure arithmetic on instants.
//!
//! A source is *fresh* at the time of each snapshot, and all the time while it is watched and capture is not blind. An objective
//! holds at an instant if the source was fresh no longer ago than the objective says.

/// A closed stretch of nanoseconds.
pub type Span = (i64, i64);

/// How well an objective was met.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Coverage {
    /// The longest time in the span since the source was fresh, in nanoseconds.
    pub longest_ns: i64,
    /// When that time began.
    pub longest_from: Option<i64>,
    /// The times in which the objective did not hold.
    pub missed: Vec<Span>,
    /// The share of the span in which it did, in percent; `None` without an objective.
    pub met_percent: Option<f64>,
}

/// Compares fresh times, in any order, with an objective over a span.
pub fn cover(span: Span, fresh: &[Span], objective_ns: Option<i64>) -> Coverage {
    let fresh = merged(fresh.to_vec());
    let mut coverage = Coverage::default();
    let mut last: Option<i64> = None;
    // As if it were fresh again when the span ends.
    for (from, to) in fresh.iter().copied().filter(|f| f.0 <= span.1).chain([(span.1, span.1)]) {
        let since = last.unwrap_or(span.0);
        let until = from.min(span.1);
        if until > span.0 && until.saturating_sub(since) > coverage.longest_ns {
            coverage.longest_ns = until.saturating_sub(since);
            coverage.longest_from = Some(since);
        }
        last = Some(last.map_or(to, |last| last.max(to)));
    }
    let Some(objective) = objective_ns else { return coverage };
    let met = merged(fresh.iter().map(|(from, to)| (*from, to.saturating_add(objective))).collect());
    coverage.missed = without(span, &met);
    let missed: i128 = coverage.missed.iter().map(|(from, to)| i128::from(*to) - i128::from(*from)).sum();
    let whole = i128::from(span.1) - i128::from(span.0);
    coverage.met_percent = Some(if whole <= 0 { 100.0 } else { 100.0 * (whole - missed) as f64 / whole as f64 });
    coverage
}

/// What of a span none of the merged stretches covers.
pub fn without(span: Span, covered: &[Span]) -> Vec<Span> {
    let mut rest = Vec::new();
    let mut at = span.0;
    for (from, to) in covered {
        if *from > at && at < span.1 {
            rest.push((at, (*from).min(span.1)));
        }
        at = at.max(*to);
    }
    if at < span.1 {
        rest.push((at, span.1));
    }
    rest
}

/// The same stretches in order, those that touch joined.
pub fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|(from, to)| from <= to);
    spans.sort_unstable();
    let mut out: Vec<Span> = Vec::new();
    for (from, to) in spans {
        match out.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => out.push((from, to)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_objective_is_missed_where_nothing_was_fresh() {
        let points = [(0, 0), (10, 10), (50, 50), (55, 80)];
        let c = cover((0, 100), &points, Some(20));
        assert_eq!((c.longest_ns, c.longest_from), (40, Some(10)));
        assert_eq!(c.missed, [(30, 50)]);
        assert_eq!(c.met_percent, Some(80.0));
        let c = cover((0, 200), &points, Some(20));
        assert_eq!((c.longest_ns, c.longest_from, c.missed), (120, Some(80), vec![(30, 50), (100, 200)]));
        let never = cover((0, 100), &[], Some(20));
        assert_eq!((never.longest_ns, never.missed, never.met_percent), (100, vec![(0, 100)], Some(0.0)));
        assert_eq!(cover((0, 100), &points, None).met_percent, None);
    }

    #[test]
    fn what_was_before_the_span_counts() {
        let c = cover((100, 200), &[(90, 90), (150, 150)], Some(60));
        assert_eq!((c.longest_ns, c.longest_from, c.met_percent), (60, Some(90), Some(100.0)));
    }

    proptest! {
        #[test]
        fn it_is_what_looking_at_each_instant_says(
            fresh in prop::collection::vec((0i64..120, 0i64..20), 0..8), objective in 0i64..40, from in 0i64..50, len in 1i64..80,
        ) {
            let fresh: Vec<Span> = fresh.into_iter().map(|(at, len)| (at, at + len)).collect();
            let span = (from, from + len);
            let c = cover(span, &fresh, Some(objective));
            // Each unit of time by its middle, doubled to stay whole.
            let holds = |middle: i64| fresh.iter().any(|(a, b)| middle > 2 * a && middle < 2 * (b + objective));
            let missed = (span.0..span.1).filter(|t| !holds(2 * t + 1)).count() as i64;
            prop_assert_eq!(c.missed.iter().map(|(a, b)| b - a).sum::<i64>(), missed);
        }
    }
}
