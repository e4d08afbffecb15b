//! Tests of where secrets come from.

use super::*;

fn passphrase(from: &KeyFrom) -> String {
    match obtain(from, Purpose::Open) {
        Ok(Secret::Passphrase(text)) => text.to_string(),
        Ok(Secret::KeyFile(_)) => panic!("a key and no passphrase"),
        Err(e) => panic!("{e}"),
    }
}

fn failure(from: &KeyFrom) -> String {
    obtain(from, Purpose::Open).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn a_new_key_file_opens_and_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("below/key");
    let Ok(Secret::KeyFile(made)) = create_key_file(&path, Id([1; 16]), Role::Admin) else { panic!("no key") };
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::metadata(dir.path().join("below")).unwrap().permissions().mode() & 0o7777, 0o700);
    for from in [KeyFrom::File(path.clone()), KeyFrom::PassphraseFile(path.clone())] {
        let Ok(Secret::KeyFile(read)) = obtain(&from, Purpose::Open) else { panic!("no key") };
        assert!(*read == *made);
    }
    let told = create_key_file(&path, Id([1; 16]), Role::Admin).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("is there already"), "{told}");
}

#[test]
fn passphrases_are_first_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    durable::replace(&path, b" two words \nuser: me\n", 0o600).unwrap();
    assert_eq!(passphrase(&KeyFrom::PassphraseFile(path.clone())), " two words ");
    durable::replace(&path, b"\n", 0o600).unwrap();
    assert!(failure(&KeyFrom::PassphraseFile(path.clone())).contains("is empty"));
    durable::replace(&path, b"\xff\n", 0o600).unwrap();
    assert!(failure(&KeyFrom::PassphraseFile(path)).contains("not UTF-8"));
}

#[test]
fn commands_are_run_by_the_shell() {
    assert_eq!(passphrase(&KeyFrom::PassphraseCommand("printf 'a b'; echo; echo c".into())), "a b");
    let told = failure(&KeyFrom::PassphraseCommand("echo x; exit 3".into()));
    assert!(told.contains("exit status: 3"), "{told}");
    let told = failure(&KeyFrom::PassphraseCommand("head -c 100000 /dev/zero".into()));
    assert!(told.contains("longer than any key"), "{told}");
}

#[test]
fn what_is_not_there_is_named() {
    assert!(failure(&KeyFrom::PassphraseEnv("BYGONE_TEST_UNSET".into())).contains("BYGONE_TEST_UNSET"));
    assert!(failure(&KeyFrom::File("/nonexistent/key".into())).contains("copy of the key"));
    assert!(failure(&KeyFrom::PassphraseCredential("../x".into())).contains("can't name"));
}
