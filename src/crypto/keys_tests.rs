//! Tests of the keys: what a piece is bound to, and what each role can't open.

use super::*;
use crate::crypto::seal::TAG_LEN;

const FIRST: Generation = Generation::FIRST;
const ALL_KINDS: [ObjectKind; 5] =
    [ObjectKind::Pack, ObjectKind::Journal, ObjectKind::Hold, ObjectKind::Audit, ObjectKind::Collection];

fn keys(sealing: Sealing) -> Keys {
    Keys::derive(Master::generate().unwrap(), sealing)
}

/// The keys that a key with this role gives.
fn of_role(admin: &Keys, role: Role) -> Keys {
    Keys::of_bundle(&admin.bundle(role).unwrap(), role, admin.sealing()).unwrap()
}

#[test]
fn a_piece_opens_only_where_it_was_sealed() {
    let keys = keys(Sealing::One);
    let id = Id([1; 16]);
    let key = keys.object(FIRST, ObjectKind::Pack, id, "packs/01/x").unwrap();
    let mut piece = b"content".to_vec();
    key.seal(3, &mut piece, 0);
    assert_eq!(piece.len(), 7 + TAG_LEN);
    let mut same = piece.clone();
    key.open(3, &mut same).unwrap();
    assert_eq!(same, b"content");
    assert!(key.open(4, &mut piece.clone()).is_err());
    assert!(keys.object(FIRST, ObjectKind::Journal, id, "packs/01/x").unwrap().open(3, &mut piece.clone()).is_err());
    assert!(keys.object(FIRST, ObjectKind::Pack, id, "packs/01/y").unwrap().open(3, &mut piece.clone()).is_err());
    assert!(
        keys.object(FIRST, ObjectKind::Pack, Id([2; 16]), "packs/01/x").unwrap().open(3, &mut piece.clone()).is_err()
    );
    for i in 0..piece.len() {
        let mut bad = piece.clone();
        bad[i] ^= 1;
        assert!(key.open(3, &mut bad).is_err());
        assert!(key.open(3, &mut piece[..i].to_vec()).is_err());
    }
}

#[test]
fn other_masters_give_other_keys() {
    let (a, b) = (keys(Sealing::Apart), keys(Sealing::Apart));
    assert_ne!(a.chunk_hash(b"x"), b.chunk_hash(b"x"));
    assert_ne!(a.gear_table(), b.gear_table());
    assert_ne!(Ok(a.authenticate(b"x")), a.chunk_hash(b"x"));
}

#[test]
fn roles_share_what_they_need_and_nothing_else() {
    let admin = keys(Sealing::Apart);
    let (id, name) = (Id([1; 16]), "packs/01/x");
    for role in Role::ALL {
        let of = of_role(&admin, role);
        assert_eq!((of.role(), of.sealing()), (role, Sealing::Apart));
        assert_eq!(of.authenticate(b"x"), admin.authenticate(b"x"));
        // Structure opens for all, whoever sealed it.
        let mut piece = b"structure".to_vec();
        of.object(FIRST, ObjectKind::Journal, id, name).unwrap().seal(0, &mut piece, 0);
        admin.object(FIRST, ObjectKind::Journal, id, name).unwrap().open(0, &mut piece).unwrap();
        match role {
            Role::Auditor => assert_eq!(of.chunk_hash(b"x"), Err(Denied { role, need: Need::Known })),
            _ => assert_eq!(of.chunk_hash(b"x"), admin.chunk_hash(b"x")),
        }
        assert_eq!(of.bundle(Role::Admin).is_some(), role == Role::Admin);
        assert_eq!(of.bundle(Role::Reader).is_some(), role.may(Need::Content));
    }
}

#[test]
fn content_opens_with_the_private_key_and_with_nothing_else_that_a_role_has() {
    let admin = keys(Sealing::Apart);
    let (id, name) = (Id([1; 16]), "packs/01/x");
    let writer = of_role(&admin, Role::Writer);
    let pack = writer.pack(id, name).unwrap();
    let data = pack.key_data.unwrap();
    let mut frame = b"what is in the file".to_vec();
    pack.frames.seal(0, &mut frame, 0);
    for role in [Role::Admin, Role::Reader] {
        let mut plain = frame.clone();
        of_role(&admin, role).frames(FIRST, id, name, &data).unwrap().open(0, &mut plain).unwrap();
        assert_eq!(plain, b"what is in the file");
    }
    for role in [Role::Writer, Role::Auditor] {
        let of = of_role(&admin, role);
        assert_eq!(
            of.frames(FIRST, id, name, &data).err(),
            Some(KeyError::Denied(Denied { role, need: Need::Content }))
        );
        of.check_key_data(FIRST, id, &data).unwrap();
        for kind in ALL_KINDS {
            assert!(of.object(FIRST, kind, id, name).unwrap().open(0, &mut frame.clone()).is_err());
        }
        // Every key in the bundle, as it is, as a private key, and as what keys of objects are derived from.
        for key in of.bundle(role).unwrap().chunks_exact(33).map(|item| <&[u8; 32]>::try_from(&item[1..]).unwrap()) {
            let of_object = object_key(key, ObjectKind::Pack, id);
            let shared = shared(&object_key(&apart(&of).structure, ObjectKind::Pack, id));
            let (seeded, _) = content::pair(key);
            let mut tried = vec![Zeroizing::new(*key), of_object];
            for private in [key, &*seeded] {
                tried.extend(content::decapsulate(private, &shared, name.as_bytes(), &data[..32]));
            }
            for key in tried {
                assert!(
                    ObjectKey::new(&key, ObjectKind::Pack, id, name).open(0, &mut frame.clone()).is_err(),
                    "{role}"
                );
            }
        }
    }
    // An auditor can't make a pack either.
    assert!(of_role(&admin, Role::Auditor).pack(id, name).is_err());
}

fn apart(keys: &Keys) -> &Apart {
    match &keys.secrets {
        Secrets::Apart(apart) => apart,
        Secrets::One(_) => panic!("one key seals all"),
    }
}

#[test]
fn key_data_is_bound_to_its_pack() {
    let admin = keys(Sealing::Apart);
    let (id, name) = (Id([1; 16]), "packs/01/x");
    let data = admin.pack(id, name).unwrap().key_data.unwrap();
    assert!(admin.frames(FIRST, id, name, &data).is_ok());
    assert_eq!(admin.frames(FIRST, Id([2; 16]), name, &data).err(), Some(KeyError::NotOurs(NotOurs)));
    for at in 0..data.len() {
        let mut bad = data;
        bad[at] ^= 1;
        assert_eq!(admin.frames(FIRST, id, name, &bad).err(), Some(KeyError::NotOurs(NotOurs)));
        assert!(admin.frames(FIRST, id, name, &data[..at]).is_err());
    }
}

#[test]
fn where_one_key_seals_all_there_are_two_roles() {
    let admin = keys(Sealing::One);
    assert!(admin.bundle(Role::Writer).is_none() && admin.bundle(Role::Auditor).is_none());
    let reader = of_role(&admin, Role::Reader);
    let (id, name) = (Id([1; 16]), "packs/01/x");
    let mut frame = b"old".to_vec();
    admin.pack(id, name).unwrap().frames.seal(0, &mut frame, 0);
    reader.frames(FIRST, id, name, b"").unwrap().open(0, &mut frame).unwrap();
    assert!(reader.bundle(Role::Admin).is_none());
}

#[test]
fn a_bundle_of_another_role_or_cut_short_is_none() {
    let admin = keys(Sealing::Apart);
    for role in Role::ALL {
        let bundle = admin.bundle(role).unwrap();
        assert!((0..bundle.len()).all(|at| Keys::of_bundle(&bundle[..at], role, Sealing::Apart).is_none()));
        for other in Role::ALL.into_iter().filter(|other| *other != role) {
            assert!(Keys::of_bundle(&bundle, other, Sealing::Apart).is_none(), "{role} {other}");
        }
        assert!(Keys::of_bundle(&[&bundle[..], &[0; 33]].concat(), role, Sealing::Apart).is_none());
    }
}
