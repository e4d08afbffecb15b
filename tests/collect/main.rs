//! Collection against a reference: hosts capture, rename, revert, forget, hold, merge, mark, sweep, crash, lose their indexes and have
//! clocks that jump, over stores that fail and lie. After each step every promised instant reads whole.

mod faulty;
mod world;

use bygone::progress::Quiet;
use bygone::repo::{collect::sweep::Collector, error::RepoError};
use bygone::types::{ids::Node, ids::Snap, snapshot::Tier};
use std::sync::Arc;
use world::{Host, ROOTS, Tree};

/// Random numbers that a failure names.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

struct World {
    dir: tempfile::TempDir,
    hosts: Vec<Host>,
    dice: Dice,
    /// Contents that were there once: they come back.
    contents: Vec<Arc<Vec<u8>>>,
    nodes: [[u64; 2]; 3],
    deleted: u64,
    steps: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        world::create(dir.path());
        let hosts = (0..3).map(|n| Host::new(&format!("host{n}"), dir.path(), seed ^ n << 32)).collect();
        World { dir, hosts, dice: Dice(seed), contents: Vec::new(), nodes: [[1; 2]; 3], deleted: 0, steps: 0 }
    }

    fn content(&mut self) -> Arc<Vec<u8>> {
        if !self.contents.is_empty() && self.dice.roll(3) > 0 {
            return self.contents[self.dice.roll(self.contents.len() as u64) as usize].clone();
        }
        let len = 1 + self.dice.roll(3000);
        let bytes: Vec<u8> = (0..len).map(|_| self.dice.roll(256) as u8).collect();
        let content = Arc::new(bytes);
        self.contents.push(content.clone());
        content
    }

    /// What a source may hold next.
    fn changed(&mut self, host: usize, which: usize) -> Tree {
        let mut tree = self.hosts[host].sources[which].tree.clone();
        for _ in 0..1 + self.dice.roll(3) {
            let name = vec![b'a' + self.dice.roll(6) as u8];
            match (self.dice.roll(4), tree.get(&name).cloned()) {
                (0, Some(_)) => drop(tree.remove(&name)),
                (1, Some((node, content))) => {
                    let to = vec![b'a' + self.dice.roll(6) as u8];
                    let captured = self.hosts[host].sources[which]
                        .tree
                        .get(&name)
                        .is_some_and(|(n, c)| *n == node && *c == content);
                    if captured && !tree.contains_key(&to) && !self.hosts[host].sources[which].tree.contains_key(&to) {
                        tree.remove(&name);
                        tree.insert(to, (node, content));
                    }
                }
                (_, Some((node, _))) => {
                    // What has just been renamed is not changed as well.
                    if self.hosts[host].sources[which].tree.get(&name).is_some_and(|(n, _)| *n == node) {
                        let content = self.content();
                        tree.insert(name, (node, content));
                    }
                }
                (_, None) => {
                    let serial = &mut self.nodes[host][which];
                    *serial += 1;
                    let node = Node::other(*serial);
                    let content = self.content();
                    tree.insert(name, (node, content));
                }
            }
        }
        tree
    }

    fn step(&mut self) {
        self.steps += 1;
        let host = self.dice.roll(3) as usize;
        let which = self.dice.roll(2) as usize;
        let rate = if self.dice.roll(4) == 0 { 60 } else { 0 };
        self.hosts[host].faults.set(rate);
        let what = self.dice.roll(100);
        let result = match what {
            0..40 => self.capture(host, which),
            40..46 => self.slow_capture(host, which),
            46..62 => self.forget(host, which),
            62..72 => self.merge(host, which),
            72..80 => self.mark(host),
            80..90 => self.sweep(host),
            90..93 => {
                self.hosts[host].crash();
                Ok(())
            }
            93..95 => {
                self.hosts[host].lose_index();
                Ok(())
            }
            95..97 => {
                let by = self.dice.roll(7_200_000_000_000) as i64 - 3_600_000_000_000;
                self.hosts[host].clock.advance(by);
                Ok(())
            }
            _ => {
                let held = &mut self.hosts[host].sources[which];
                let numbers: Vec<u64> = held.promised.keys().copied().collect();
                if let Some(number) = numbers.get(self.dice.roll(numbers.len().max(1) as u64) as usize)
                    && !held.held.remove(number)
                {
                    held.held.insert(*number);
                }
                Ok(())
            }
        };
        if let Err(e) = result {
            assert!(rate > 0, "step {}: what {what}: {e}", self.steps);
            self.hosts[host].crash();
        }
        self.hosts[host].faults.set(0);
        self.check(what);
    }

    fn capture(&mut self, host: usize, which: usize) -> Result<(), RepoError> {
        self.hosts[host].catch_up()?;
        let tree = self.changed(host, which);
        let tier = [Tier::Incremental, Tier::Incremental, Tier::Differential, Tier::Full][self.dice.roll(4) as usize];
        self.hosts[host].clock.advance(1_000_000);
        self.hosts[host].capture(which, &tree, tier, || ())
    }

    /// A capture that reads, sleeps while others collect, and is recorded then.
    fn slow_capture(&mut self, host: usize, which: usize) -> Result<(), RepoError> {
        self.hosts[host].catch_up()?;
        let tree = self.changed(host, which);
        let other = (host + 1 + self.dice.roll(2) as usize) % 3;
        let mut slow = std::mem::replace(&mut self.hosts[host], Host::new("nobody", self.dir.path(), 1));
        let result = slow.capture(which, &tree, Tier::Incremental, || {
            for _ in 0..3 {
                let which = self.dice.roll(2) as usize;
                self.forget(other, which).unwrap();
                self.merge(other, which).unwrap();
                self.mark(other).unwrap();
                self.sweep(other).unwrap();
            }
        });
        self.hosts[host] = slow;
        result
    }

    /// Some of what was promised is released: by the index, and by the promise.
    fn forget(&mut self, host: usize, which: usize) -> Result<(), RepoError> {
        self.hosts[host].catch_up()?;
        let at = self.hosts[host].at()?;
        let reader = at.reader()?;
        let name = self.hosts[host].name.clone();
        let known = reader.sources()?.into_iter().find(|s| s.host == name && s.root == ROOTS[which]);
        let Some(known) = known else { return Ok(()) };
        let newest = reader.head(known.num)?.number;
        let source = &mut self.hosts[host].sources[which];
        let keep = 1 + self.dice.roll(5);
        let dice = &mut self.dice;
        let held = &source.held;
        source.promised.retain(|n, _| *n == newest.0 || held.contains(n) || dice.roll(6) < keep);
        let kept: Vec<Snap> = source.promised.keys().copied().map(Snap).collect();
        if newest > Snap(0) {
            at.index().release(known.num, (newest, &kept), std::time::Duration::from_secs(5))?;
        }
        Ok(())
    }

    fn merge(&mut self, host: usize, which: usize) -> Result<(), RepoError> {
        let at = self.hosts[host].at()?;
        let name = self.hosts[host].name.clone();
        self.hosts[host].catch_up()?;
        let collector = Collector::begin(&at, &name, &Quiet)?;
        let known = at.reader()?.sources()?.into_iter().find(|s| s.host == name && s.root == ROOTS[which]);
        known.map_or(Ok(()), |known| collector.merge(&known).map(drop))
    }

    fn mark(&mut self, host: usize) -> Result<(), RepoError> {
        let at = self.hosts[host].at()?;
        let name = self.hosts[host].name.clone();
        self.hosts[host].catch_up()?;
        let mut collector = Collector::begin(&at, &name, &Quiet)?;
        let thorough = self.dice.roll(2) == 0;
        collector.mark(thorough, &Quiet).map(drop)
    }

    fn sweep(&mut self, host: usize) -> Result<(), RepoError> {
        let at = self.hosts[host].at()?;
        let name = self.hosts[host].name.clone();
        self.hosts[host].catch_up()?;
        let mut collector = Collector::begin(&at, &name, &Quiet)?;
        self.deleted += collector.sweep(&Quiet)?.packs;
        // As maintenance does it: marking goes on from what was swept in between.
        if self.dice.roll(2) == 0 {
            collector.mark(self.dice.roll(2) == 0, &Quiet)?;
            self.deleted += collector.sweep(&Quiet)?.packs;
        }
        Ok(())
    }

    /// Every promise, by the index of some host; now and then by one that is made from the repository alone.
    fn check(&mut self, what: u64) {
        let by = self.dice.roll(3) as usize;
        let why = format!("step {}, {what}, by host {by}", self.steps);
        self.hosts[by].catch_up().unwrap_or_else(|e| panic!("{why}: {e}"));
        let at = self.hosts[by].at().unwrap();
        for host in &self.hosts {
            for (source, root) in host.sources.iter().zip(ROOTS) {
                world::check(&at, &host.name, root, &source.promised, &why);
            }
        }
        drop(at);
        if self.steps.is_multiple_of(50) {
            let state = format!("fresh{}", self.steps);
            let mut fresh = Host::new(&state, self.dir.path(), 3);
            fresh.catch_up().unwrap();
            let at = fresh.at().unwrap();
            for host in &self.hosts {
                for (source, root) in host.sources.iter().zip(ROOTS) {
                    world::check(&at, &host.name, root, &source.promised, &format!("{why}, from the repository alone"));
                }
            }
            drop((fresh, at));
            std::fs::remove_dir_all(self.dir.path().join(state)).unwrap();
        }
    }
}

fn run(seed: u64, steps: u64) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    assert!(steps < 100 || world.deleted > 0, "nothing was ever deleted");
}

/// So many steps each of four tests makes, which run at the same time where there are processors for them; the variable
/// `BYGONE_COLLECT_STEPS` says otherwise.
fn steps() -> u64 {
    std::env::var("BYGONE_COLLECT_STEPS").ok().and_then(|n| n.parse().ok()).unwrap_or(500)
}

#[test]
fn promises_are_kept_1() {
    run(1, steps());
}

#[test]
fn promises_are_kept_2() {
    run(2, steps());
}

#[test]
fn promises_are_kept_3() {
    run(3, steps());
}

#[test]
fn promises_are_kept_4() {
    run(4, steps());
}
