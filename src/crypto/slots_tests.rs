//! Tests of the slots: round trips, damage, wrong secrets, hostile bytes.

use proptest::prelude::*;

use super::*;

const REPO: Id = Id([3; 16]);
const NOW: Instant = Instant(1_795_440_000_000_000_000);
/// The least that Argon2 can do: guessing is not what these tests are about.
const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

fn phrase(text: &str) -> Secret {
    Secret::Passphrase(Zeroizing::new(text.to_owned()))
}

fn passphrase_slot(master: &Master) -> Vec<u8> {
    seal_with(master, &phrase("open sesame"), (SlotKind::Passphrase, CHEAP), "mine", REPO, NOW).unwrap().1
}

/// The slot with `from` replaced by `to`, and the check made to fit again: what an attacker would store.
fn forged(slot: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(slot).unwrap();
    assert!(text.contains(from), "{text} has no {from}");
    let body = text[..text.rfind("check").unwrap()].replacen(from, to, 1);
    let hash = data_encoding::HEXLOWER.encode(&blake3::hash(body.as_bytes()).as_bytes()[..8]);
    format!("{body}check = \"{hash}\"\n").into_bytes()
}

/// The value of a string field.
fn field(slot: &[u8], name: &str) -> String {
    let text = std::str::from_utf8(slot).unwrap();
    let line = text.lines().find(|l| l.starts_with(&format!("{name} = "))).unwrap();
    line.split_once(" = ").unwrap().1.trim_matches('"').to_owned()
}

#[test]
fn every_kind_opens_again() {
    let master = Master::generate().unwrap();
    let key = Secret::generate_key().unwrap();
    for (secret, kind) in
        [(&phrase("open sesame"), SlotKind::Passphrase), (&key, SlotKind::KeyFile), (&key, SlotKind::Paper)]
    {
        let (id, bytes) = seal_slot(&master, secret, kind, "a \"label\"\n", REPO, NOW).unwrap();
        assert_eq!(open_slot(&bytes, secret, REPO).unwrap().expose(), master.expose());
        let info = describe_slot(&bytes).unwrap();
        let cost = (kind == SlotKind::Passphrase).then_some(Cost::DEFAULT);
        assert_eq!(info, SlotInfo { id, kind, label: "a \"label\"\n".into(), created: NOW, cost });
    }
}

#[test]
fn wrong_secrets_are_told_apart() {
    let master = Master::generate().unwrap();
    let slot = passphrase_slot(&master);
    assert!(matches!(open_slot(&slot, &phrase("open sesame "), REPO), Err(SlotError::WrongKey { .. })));
    assert!(matches!(open_slot(&slot, &phrase("open sesame"), Id([4; 16])), Err(SlotError::WrongKey { .. })));
    let key = Secret::generate_key().unwrap();
    assert!(matches!(open_slot(&slot, &key, REPO), Err(SlotError::WrongKind { .. })));
    let (_, other) = seal_slot(&master, &key, SlotKind::KeyFile, "", REPO, NOW).unwrap();
    assert!(matches!(open_slot(&other, &Secret::generate_key().unwrap(), REPO), Err(SlotError::WrongKey { .. })));
    assert!(matches!(open_slot(&other, &phrase("open sesame"), REPO), Err(SlotError::WrongKind { .. })));
}

#[test]
fn what_cannot_be_sealed_is_refused() {
    let master = Master::generate().unwrap();
    let seal = |secret: &Secret, kind, label: &str| seal_slot(&master, secret, kind, label, REPO, NOW).map(|_| ());
    assert!(matches!(seal(&phrase(""), SlotKind::Passphrase, ""), Err(SlotError::Empty)));
    assert!(matches!(seal(&phrase("x"), SlotKind::KeyFile, ""), Err(SlotError::WrongKind { .. })));
    assert!(matches!(seal(&phrase("x"), SlotKind::Passphrase, &"x".repeat(201)), Err(SlotError::Label(201))));
}

#[test]
fn every_flipped_bit_is_damage() {
    let master = Master::generate().unwrap();
    let slot = passphrase_slot(&master);
    for at in 0..slot.len() {
        for bit in 0..8 {
            let mut bytes = slot.clone();
            bytes[at] ^= 1 << bit;
            let error = open_slot(&bytes, &phrase("open sesame"), REPO).map(|_| ()).unwrap_err();
            assert!(matches!(error, SlotError::Damaged { .. }), "byte {at} bit {bit}: {error}");
        }
        assert!(matches!(describe_slot(&slot[..at]), Err(SlotError::Damaged { .. })), "cut at {at}");
    }
}

#[test]
fn every_field_is_bound() {
    let master = Master::generate().unwrap();
    let slot = passphrase_slot(&master);
    let id = field(&slot, "id");
    let other_id = Id([5; 16]).to_string();
    for (from, to) in [
        ("mine", "thine"),
        (id.as_str(), other_id.as_str()),
        ("argon2-memory-kib = 8", "argon2-memory-kib = 16"),
        ("argon2-passes = 1", "argon2-passes = 2"),
        ("created = 1795440000", "created = 1795440001"),
    ] {
        let error = open_slot(&forged(&slot, from, to), &phrase("open sesame"), REPO).map(|_| ()).unwrap_err();
        assert!(matches!(error, SlotError::WrongKey { .. }), "{from}: {error}");
    }
    for name in ["salt", "nonce", "wrapped"] {
        let value = field(&slot, name);
        let first = if value.starts_with('A') { "B" } else { "A" };
        let bytes = forged(&slot, &value, &format!("{first}{}", &value[1..]));
        let error = open_slot(&bytes, &phrase("open sesame"), REPO).map(|_| ()).unwrap_err();
        assert!(matches!(error, SlotError::WrongKey { .. }), "{name}: {error}");
    }
    let key = Secret::generate_key().unwrap();
    let (_, bytes) = seal_slot(&master, &key, SlotKind::KeyFile, "", REPO, NOW).unwrap();
    let paper = forged(&bytes, "kind = \"keyfile\"", "kind = \"paper\"");
    assert!(matches!(open_slot(&paper, &key, REPO), Err(SlotError::WrongKey { .. })));
}

#[test]
fn costs_above_the_ceiling_are_refused_before_they_are_paid() {
    let slot = passphrase_slot(&Master::generate().unwrap());
    for (from, to) in [
        ("argon2-memory-kib = 8", "argon2-memory-kib = 1048577"),
        ("argon2-passes = 1", "argon2-passes = 21"),
        ("argon2-lanes = 1", "argon2-lanes = 17"),
    ] {
        assert!(matches!(describe_slot(&forged(&slot, from, to)), Err(SlotError::Cost(_))), "{to}");
    }
    for to in ["argon2-memory-kib = 7", "argon2-memory-kib = -8", "argon2-memory-kib = 99999999999"] {
        let error = describe_slot(&forged(&slot, "argon2-memory-kib = 8", to)).unwrap_err();
        assert!(matches!(error, SlotError::Damaged { .. }), "{to}: {error}");
    }
}

#[test]
fn a_later_format_is_named() {
    let slot = passphrase_slot(&Master::generate().unwrap());
    let later = forged(&slot, "format = 1", "format = 2\nnew = true");
    assert!(matches!(describe_slot(&later), Err(SlotError::Newer { format: 2 })));
    let unknown = forged(&slot, "format = 1", "format = 1\nnew = true");
    assert!(matches!(describe_slot(&unknown), Err(SlotError::Damaged { .. })));
}

#[test]
fn typed_text_is_a_key_or_a_passphrase() {
    let Ok(Secret::KeyFile(key)) = Secret::generate_key() else { panic!("a key is a key") };
    let line = keytext::encode(&key);
    assert!(matches!(Secret::from_typed(line.clone()), Ok(Secret::KeyFile(k)) if *k == *key));
    let typed = Secret::from_typed(Zeroizing::new("bygone".into()));
    assert!(matches!(typed, Ok(Secret::Passphrase(t)) if *t == "bygone"));
    let cut = Zeroizing::new(line[..line.len() - 1].to_owned());
    assert!(Secret::from_typed(cut).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(describe_slot(&bytes).is_err());
    }

    #[test]
    fn any_toml_with_a_fitting_check_is_survived(body in "([a-z0-9]{1,7} ?= ?[0-9\"\\[\\]{}a-z]{0,20}\n){0,12}") {
        let hash = data_encoding::HEXLOWER.encode(&blake3::hash(body.as_bytes()).as_bytes()[..8]);
        let text = format!("{body}check = \"{hash}\"\n");
        prop_assert!(describe_slot(text.as_bytes()).is_err());
    }

    #[test]
    fn nesting_is_survived(n in 1usize..1900) {
        let body = format!("format = {}{}\n", "[".repeat(n), "]".repeat(n));
        let hash = data_encoding::HEXLOWER.encode(&blake3::hash(body.as_bytes()).as_bytes()[..8]);
        let text = format!("{body}check = \"{hash}\"\n");
        prop_assert!(describe_slot(text.as_bytes()).is_err());
    }
}
