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

fn keys(sealing: Sealing) -> Keys {
    Keys::derive(Master::generate().unwrap(), sealing)
}

fn slot_of(keys: &Keys, role: Role) -> Vec<u8> {
    seal_with((keys, role), &phrase("open sesame"), (SlotKind::Passphrase, CHEAP), "mine", REPO, NOW).unwrap().1
}

fn passphrase_slot() -> Vec<u8> {
    slot_of(&keys(Sealing::One), Role::Admin)
}

fn role_slot() -> Vec<u8> {
    slot_of(&keys(Sealing::Apart), Role::Writer)
}

fn open(bytes: &[u8], secret: &Secret, repo: Id) -> Result<Keys, SlotError> {
    let sealing = if bytes.starts_with(b"format = 1") { Sealing::One } else { Sealing::Apart };
    open_slot(bytes, secret, repo, sealing)
}

/// Whether both are keys of the same secret.
fn same(a: &Keys, b: &Keys) -> bool {
    a.authenticate(b"x") == b.authenticate(b"x") && a.chunk_hash(b"x").ok() == b.chunk_hash(b"x").ok()
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
    let key = Secret::generate_key().unwrap();
    for sealing in [Sealing::One, Sealing::Apart] {
        let keys = keys(sealing);
        for (secret, kind) in
            [(&phrase("open sesame"), SlotKind::Passphrase), (&key, SlotKind::KeyFile), (&key, SlotKind::Paper)]
        {
            let (id, bytes) = seal_slot((&keys, Role::Admin), secret, kind, "a \"label\"\n", REPO, NOW).unwrap();
            let opened = open(&bytes, secret, REPO).unwrap();
            assert!(same(&opened, &keys) && opened.role() == Role::Admin && opened.sealing() == sealing);
            let cost = (kind == SlotKind::Passphrase).then_some(Cost::DEFAULT);
            let label = "a \"label\"\n".into();
            let generation = Generation::FIRST;
            let info = SlotInfo { id, kind, role: Role::Admin, generation, label, created: NOW, cost };
            assert_eq!(describe_slot(&bytes).unwrap(), info);
        }
    }
}

#[test]
fn a_slot_gives_its_role_and_no_more() {
    let (old, keys, secret) = (keys(Sealing::One), keys(Sealing::Apart), phrase("open sesame"));
    for role in Role::ALL {
        let bytes = slot_of(&keys, role);
        let opened = open(&bytes, &secret, REPO).unwrap();
        assert_eq!((opened.role(), describe_slot(&bytes).unwrap().role), (role, role));
        // Whoever is no admin makes no slots.
        let more = seal_with((&opened, role), &secret, (SlotKind::Passphrase, CHEAP), "", REPO, NOW).map(|_| ());
        match role {
            Role::Admin => assert!(more.is_ok()),
            _ => assert!(matches!(more, Err(SlotError::Denied(_)))),
        }
        // A slot that says another role does not open.
        for other in Role::ALL.into_iter().filter(|other| *other != role) {
            let claims = forged(&bytes, &format!("role = \"{role}\""), &format!("role = \"{other}\""));
            assert!(matches!(open(&claims, &secret, REPO), Err(SlotError::WrongKey { .. })), "{role} {other}");
        }
    }
    for role in [Role::Writer, Role::Auditor] {
        let made = seal_with((&old, role), &secret, (SlotKind::Passphrase, CHEAP), "", REPO, NOW).map(|_| ());
        assert!(matches!(made, Err(SlotError::NoRole(r)) if r == role));
    }
    let reader = open_slot(&slot_of(&old, Role::Reader), &secret, REPO, Sealing::One).unwrap();
    assert!(same(&reader, &old) && reader.role() == Role::Reader);
}

#[test]
fn an_admin_tells_slots_that_none_has_made() {
    let (keys, others, old) = (keys(Sealing::Apart), keys(Sealing::Apart), keys(Sealing::One));
    let genuine = |bytes: &[u8], keys: &Keys| is_genuine(bytes, keys, REPO).unwrap();
    for role in Role::ALL {
        let bytes = slot_of(&keys, role);
        assert_eq!(genuine(&bytes, &keys), Some(true));
        let opened = open(&bytes, &phrase("open sesame"), REPO).unwrap();
        assert_eq!(genuine(&bytes, &opened), (role == Role::Admin).then_some(true));
        assert_eq!(genuine(&forged(&bytes, "mine", "thine"), &keys), Some(false));
        assert_eq!(genuine(&slot_of(&others, role), &keys), Some(false));
    }
    assert_eq!(genuine(&slot_of(&old, Role::Admin), &old), None);
}

#[test]
fn wrong_secrets_are_told_apart() {
    for slot in [passphrase_slot(), role_slot()] {
        assert!(matches!(open(&slot, &phrase("open sesame "), REPO), Err(SlotError::WrongKey { .. })));
        assert!(matches!(open(&slot, &phrase("open sesame"), Id([4; 16])), Err(SlotError::WrongKey { .. })));
        let key = Secret::generate_key().unwrap();
        assert!(matches!(open(&slot, &key, REPO), Err(SlotError::WrongKind { .. })));
    }
    for sealing in [Sealing::One, Sealing::Apart] {
        let key = Secret::generate_key().unwrap();
        let of = (&keys(sealing), Role::Admin);
        let (_, other) = seal_slot(of, &key, SlotKind::KeyFile, "", REPO, NOW).unwrap();
        assert!(matches!(open(&other, &Secret::generate_key().unwrap(), REPO), Err(SlotError::WrongKey { .. })));
        assert!(matches!(open(&other, &phrase("open sesame"), REPO), Err(SlotError::WrongKind { .. })));
    }
}

#[test]
fn what_cannot_be_sealed_is_refused() {
    let keys = keys(Sealing::Apart);
    let seal = |secret: &Secret, kind, label: &str| {
        seal_slot((&keys, Role::Admin), secret, kind, label, REPO, NOW).map(|_| ())
    };
    assert!(matches!(seal(&phrase(""), SlotKind::Passphrase, ""), Err(SlotError::Empty)));
    assert!(matches!(seal(&phrase("x"), SlotKind::KeyFile, ""), Err(SlotError::WrongKind { .. })));
    assert!(matches!(seal(&phrase("x"), SlotKind::Passphrase, &"x".repeat(201)), Err(SlotError::Label(201))));
}

#[test]
fn every_flipped_bit_is_damage() {
    for slot in [passphrase_slot(), role_slot()] {
        for at in 0..slot.len() {
            for bit in 0..8 {
                let mut bytes = slot.clone();
                bytes[at] ^= 1 << bit;
                let error = open(&bytes, &phrase("open sesame"), REPO).map(|_| ()).unwrap_err();
                assert!(matches!(error, SlotError::Damaged { .. }), "byte {at} bit {bit}: {error}");
            }
            assert!(matches!(describe_slot(&slot[..at]), Err(SlotError::Damaged { .. })), "cut at {at}");
        }
    }
}

#[test]
fn every_field_is_bound() {
    for (slot, fields) in
        [(passphrase_slot(), &["salt", "nonce", "wrapped"]), (role_slot(), &["salt", "public", "wrapped"])]
    {
        let id = field(&slot, "id");
        let other_id = Id([5; 16]).to_string();
        let forgeries = [
            ("mine", "thine"),
            (id.as_str(), other_id.as_str()),
            ("argon2-memory-kib = 8", "argon2-memory-kib = 16"),
            ("argon2-passes = 1", "argon2-passes = 2"),
            ("created = 1795440000", "created = 1795440001"),
        ];
        for (from, to) in forgeries {
            let error = open(&forged(&slot, from, to), &phrase("open sesame"), REPO).map(|_| ()).unwrap_err();
            assert!(matches!(error, SlotError::WrongKey { .. }), "{from}: {error}");
        }
        for name in fields {
            let value = field(&slot, name);
            let first = if value.starts_with('A') { "B" } else { "A" };
            let bytes = forged(&slot, &value, &format!("{first}{}", &value[1..]));
            let error = open(&bytes, &phrase("open sesame"), REPO).map(|_| ()).unwrap_err();
            assert!(matches!(error, SlotError::WrongKey { .. }), "{name}: {error}");
        }
    }
    let key = Secret::generate_key().unwrap();
    for sealing in [Sealing::One, Sealing::Apart] {
        let (_, bytes) = seal_slot((&keys(sealing), Role::Admin), &key, SlotKind::KeyFile, "", REPO, NOW).unwrap();
        let paper = forged(&bytes, "kind = \"keyfile\"", "kind = \"paper\"");
        assert!(matches!(open(&paper, &key, REPO), Err(SlotError::WrongKey { .. })));
    }
}

#[test]
fn costs_above_the_ceiling_are_refused_before_they_are_paid() {
    let slot = passphrase_slot();
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
    let slot = passphrase_slot();
    let later = forged(&slot, "format = 1", "format = 4\nnew = true");
    assert!(matches!(describe_slot(&later), Err(SlotError::Newer { format: 4 })));
    // Fields of one format are damage in the other.
    assert!(matches!(describe_slot(&forged(&slot, "format = 1", "format = 2")), Err(SlotError::Damaged { .. })));
    assert!(matches!(describe_slot(&forged(&role_slot(), "format = 2", "format = 1")), Err(SlotError::Damaged { .. })));
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
