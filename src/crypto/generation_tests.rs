//! Tests of generations: who opens them, and what a thief of an older one can't make.

use super::*;
use crate::crypto::{
    keys::KeyError,
    seal::ObjectKind,
    slots::{Secret, SlotKind, open_slot, seal_slot},
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

const REPO: Id = Id([3; 16]);
const NOW: Instant = Instant(1_795_440_000_000_000_000);

/// Slots, the secrets that open them, and the objects that state generations.
struct Lab {
    slots: Vec<(Id, Vec<u8>)>,
    secrets: BTreeMap<Id, Secret>,
    stated: Arc<Mutex<BTreeMap<Generation, Vec<u8>>>>,
}

impl Lab {
    /// With a slot of each role; the first is an admin's.
    fn new() -> Lab {
        let keys = Keys::derive(Master::generate().unwrap(), Sealing::Apart);
        let mut lab = Lab { slots: Vec::new(), secrets: BTreeMap::new(), stated: Arc::default() };
        for role in Role::ALL {
            lab.add(&keys, role);
        }
        lab
    }

    fn add(&mut self, keys: &Keys, role: Role) -> Id {
        let secret = Secret::generate_key().unwrap();
        let (id, bytes) = seal_slot((keys, role), &secret, SlotKind::KeyFile, "", REPO, NOW).unwrap();
        self.slots.push((id, bytes));
        self.secrets.insert(id, secret);
        id
    }

    fn of(&self, role: Role) -> Id {
        self.slots[Role::ALL.iter().position(|of| *of == role).unwrap()].0
    }

    fn open(&self, id: Id) -> Keys {
        let (_, bytes) = self.slots.iter().find(|(slot, _)| *slot == id).unwrap();
        let keys = open_slot(bytes, &self.secrets[&id], REPO, Sealing::Apart).unwrap();
        let stated = self.stated.clone();
        keys.find_with(Box::new(move |of| stated.lock().unwrap().get(&of).cloned().ok_or("it is missing".into())));
        let there: Vec<Generation> = self.stated.lock().unwrap().keys().copied().collect();
        there.into_iter().for_each(|generation| keys.meet(generation));
        keys
    }

    fn rotate(&self, keys: &Keys) -> Rotated {
        self.rotate_for(keys, &self.slots)
    }

    fn rotate_for(&self, keys: &Keys, slots: &[(Id, Vec<u8>)]) -> Rotated {
        let in_force = self.stated.lock().unwrap().get(&keys.in_force().unwrap()).cloned();
        let rotated = rotate(keys, REPO, in_force.as_deref(), slots, NOW).unwrap();
        self.stated.lock().unwrap().insert(rotated.generation, rotated.bytes.clone());
        keys.meet(rotated.generation);
        rotated
    }
}

/// A piece of structure under the generation in force.
fn piece(keys: &Keys) -> (Generation, Vec<u8>) {
    let generation = keys.in_force().unwrap();
    let mut piece = b"plain".to_vec();
    keys.object(generation, ObjectKind::Journal, Id([1; 16]), "x").unwrap().seal(0, &mut piece, 0);
    (generation, piece)
}

fn opens(keys: &Keys, (generation, piece): &(Generation, Vec<u8>)) -> bool {
    let key = keys.object(*generation, ObjectKind::Journal, Id([1; 16]), "x");
    key.is_ok_and(|key| key.open(0, &mut piece.clone()).is_ok())
}

/// A frame under the generation in force, with what leads to its key.
fn frame(keys: &Keys) -> (Generation, [u8; 48], Vec<u8>) {
    let pack = keys.pack(Id([2; 16]), "p").unwrap();
    let mut frame = b"content".to_vec();
    pack.frames.seal(0, &mut frame, 0);
    (pack.generation, pack.key_data.unwrap(), frame)
}

fn reads(keys: &Keys, (generation, data, frame): &(Generation, [u8; 48], Vec<u8>)) -> bool {
    let key = keys.frames(*generation, Id([2; 16]), "p", data);
    key.is_ok_and(|key| key.open(0, &mut frame.clone()).is_ok())
}

#[test]
fn each_role_has_of_a_new_generation_what_it_had_of_the_old() {
    let mut lab = Lab::new();
    let admin = lab.open(lab.of(Role::Admin));
    let (old, old_frame) = (piece(&admin), frame(&admin));
    let rotated = lab.rotate(&admin);
    assert!(rotated.left_out.is_empty() && rotated.slots.len() == 4 && rotated.generation.number() == 1);
    assert_eq!(admin.in_force(), Ok(rotated.generation));
    let (new, new_frame) = (piece(&admin), frame(&lab.open(lab.of(Role::Writer))));
    let mut ids: Vec<Id> = lab.slots.iter().map(|(id, _)| *id).collect();
    // Those that are added later have both too.
    ids.extend(Role::ALL.map(|role| lab.add(&admin, role)));
    assert!(lab.rotate(&admin).left_out.is_empty());
    for id in ids {
        let keys = lab.open(id);
        assert!(opens(&keys, &old) && opens(&keys, &new) && opens(&keys, &piece(&admin)), "{}", keys.role());
        let may = keys.role().may(Need::Content);
        assert_eq!((reads(&keys, &old_frame), reads(&keys, &new_frame)), (may, may), "{}", keys.role());
        assert_eq!(keys.in_force().unwrap().number(), 2);
        // Chunks have the same names in all generations.
        assert_eq!(keys.chunk_hash(b"x").is_ok(), keys.role() != Role::Auditor);
    }
    assert_eq!(lab.open(lab.of(Role::Writer)).chunk_hash(b"x"), admin.chunk_hash(b"x"));
}

#[test]
fn who_was_left_out_reads_what_is_old_and_nothing_new() {
    let lab = Lab::new();
    let admin = lab.open(lab.of(Role::Admin));
    // Opened before: the thief has all that his slot gave, and that slot's secrets.
    let thief = lab.open(lab.of(Role::Reader));
    let (old, old_frame) = (piece(&admin), frame(&admin));
    let others: Vec<_> = lab.slots.iter().filter(|(id, _)| *id != lab.of(Role::Reader)).cloned().collect();
    let rotated = lab.rotate_for(&admin, &others);
    let (new, new_frame) = (piece(&admin), frame(&admin));
    assert!(opens(&thief, &old) && reads(&thief, &old_frame));
    assert!(!opens(&thief, &new) && !reads(&thief, &new_frame));
    // The number in the header is no way around: with another one, another key opens nothing.
    assert!(!opens(&thief, &(Generation::FIRST, new.1.clone())) && !opens(&admin, &(Generation::FIRST, new.1)));
    assert!(!opens(&admin, &(rotated.generation, old.1)));
    thief.meet(rotated.generation);
    assert!(
        matches!(thief.in_force(), Err(KeyError::Superseded { generation, .. }) if generation == rotated.generation)
    );
    let told = thief.check_generation(rotated.generation).unwrap_err().to_string();
    assert!(told.contains("it is not for the slot"), "{told}");
}

#[test]
fn an_admin_of_an_older_generation_gets_no_slot_into_the_next() {
    let mut lab = Lab::new();
    let admin = lab.open(lab.of(Role::Admin));
    let stolen = lab.add(&admin, Role::Admin);
    let thief = lab.open(stolen);
    lab.slots.retain(|(id, _)| *id != stolen);
    lab.rotate(&admin);
    // He knows the first master secret, and makes a slot that looks as if an admin had.
    let planted = lab.add(&thief, Role::Admin);
    let again = lab.rotate(&admin);
    assert_eq!(again.left_out.len(), 1);
    assert!(again.left_out[0].0 == planted && again.left_out[0].1.contains("knew the generation in force"));
    assert!(!again.slots.contains(&planted) && again.slots.len() == 4);
    // What he makes behind the first generation is not what others build on that know a later one.
    let own = rotate(&thief, REPO, None, &lab.slots, NOW).err();
    assert!(own.is_some(), "the slot he opened is not there");
    let Generation([_, _, tag @ ..]) = again.generation;
    lab.stated.lock().unwrap().insert(Generation::new(1, tag), again.bytes.clone());
    assert!(lab.open(lab.of(Role::Reader)).check_generation(Generation::new(1, tag)).is_err());
}

#[test]
fn no_key_below_admin_makes_a_generation() {
    let lab = Lab::new();
    for role in [Role::Reader, Role::Writer, Role::Auditor] {
        let made = rotate(&lab.open(lab.of(role)), REPO, None, &lab.slots, NOW).map(|_| ());
        assert!(matches!(made, Err(SlotError::Denied(denied)) if denied.role == role));
    }
    let old = Keys::derive(Master::generate().unwrap(), Sealing::One);
    assert!(matches!(rotate(&old, REPO, None, &lab.slots, NOW).map(|_| ()), Err(SlotError::NoGenerations)));
}

#[test]
fn two_of_the_same_number_are_both_kept() {
    let lab = Lab::new();
    let (a, b) = (lab.open(lab.of(Role::Admin)), lab.open(lab.of(Role::Admin)));
    lab.rotate(&a);
    let of_a = piece(&a);
    lab.rotate(&b);
    let of_b = piece(&b);
    for role in Role::ALL {
        let keys = lab.open(lab.of(role));
        assert!(opens(&keys, &of_a) && opens(&keys, &of_b));
        assert_eq!(keys.in_force(), Ok(of_a.0.max(of_b.0)));
    }
    assert_eq!(lab.rotate(&lab.open(lab.of(Role::Admin))).generation.number(), 2);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let lab = Lab::new();
    let admin = lab.open(lab.of(Role::Admin));
    let Rotated { generation, bytes, .. } = lab.rotate(&admin);
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(describe(&bad).is_err(), "byte {at}");
        assert!(describe(&bytes[..at]).is_err());
        // The same by whoever makes the check fit again.
        let end = bad.len() - CHECK_LEN;
        let check = blake3::hash(&bad[..end]);
        bad[end..].copy_from_slice(&check.as_bytes()[..CHECK_LEN]);
        if at < end {
            lab.stated.lock().unwrap().insert(generation, bad);
            assert!(lab.open(lab.of(Role::Admin)).check_generation(generation).is_err(), "byte {at}");
        }
    }
}

proptest! {
    #[test]
    fn hostile_bytes_are_survived(mut body in proptest::collection::vec(any::<u8>(), 0..400), head: bool) {
        if head {
            body = [MAGIC, &[FORMAT, 0, 1, 7, 7, 7, 0, 0, 0, 0, 0], &body].concat();
        }
        let check = blake3::hash(&body);
        body.extend_from_slice(&check.as_bytes()[..CHECK_LEN]);
        let _ = describe(&body);
    }
}
